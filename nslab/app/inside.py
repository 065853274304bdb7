"""Where in a lab a command runs: on which host, in which container, started by which node's kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import host_used
from nslab.errors import UsageError
from nslab.linux.netns import named
from nslab.linux.processes.exec import ExecRequest
from nslab.linux.stored_lab import no_such_lab, stored_lab
from nslab.objects.names import namesake, netns, pod_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab


def command(lab: str, host: str, container: str | None, argv: Sequence[str]) -> tuple[ExecRequest, list[str]]:
    """Return a command for a host of a running lab, and the names of the containers if the host is a pod.

    Without `container`, the command runs in the pod's first one.
    """
    desired, names = stored_lab(lab), named(lab)
    if not names:  # `down` has just taken it away
        raise no_such_lab(lab)
    if netns(lab, host_used(desired, host)) not in names:
        within = (pod_host(pod.namespace, pod.name) for pod in desired.pods if pod.host_network)
        known = [*(name.removeprefix(netns(lab, "")) for name in names), *within]
        meant = namesake(host, known) or controller_named(desired, host)
        way_on = f"did you mean {lab}/{meant}?" if meant else f"it has {', '.join(known)}"
        raise UsageError(f"{lab} has no host {host!r}; {way_on}")
    if pod := find_pod(desired.pods, host):
        chosen = container_of(pod, container)
        return ExecRequest(lab, host, pod.node, chosen, argv), [container.name for container in pod.containers]
    if container:
        raise UsageError(f"{host} is not a pod and has no container {container!r}")
    machines = {machine.name for kind in (desired.nodes, desired.clients, desired.routers) for machine in kind}
    # The switch is only a network namespace: no process of the lab runs in it.
    return ExecRequest(lab, host, host, "", argv, "exec" if host in machines else "alone"), []


def absence(wanted: ExecRequest, what: str) -> str:
    """Complete the sentence `what` (something that `wanted` needs does not run) with the reason, or with the remedy."""
    from nslab.linux import owned
    from nslab.linux.processes import status
    from nslab.objects.process import NodeAgent
    from nslab.views.pods import why_absent

    back = f"{what}; `nslab up {wanted.lab}` brings it back"
    pod = find_pod(stored_lab(wanted.lab).pods, wanted.host)
    if not pod or (netns(wanted.lab, wanted.node), NodeAgent.role) not in owned.running(wanted.lab):
        return back
    entry = status.entry(wanted.lab, pod.namespace, pod.name, wanted.container)
    why = why_absent(entry) if entry else ""
    return f"{what}: {why}" if why else back


def controller_named(lab: Lab, name: str) -> str:
    """KIND/NAME of the first controller of that name, whose pods may be meant; "" if there is none."""
    return next((f"{one.kind.lower()}/{one.name}" for one in lab.controllers if one.name == name), "")


def find_pod(pods: Iterable[Pod], host: str) -> Pod | None:
    """Return the pod whose host name is `host`, or None."""
    return next((pod for pod in pods if pod_host(pod.namespace, pod.name) == host), None)


def container_of(pod: Pod, wanted: str | None) -> str:
    """The container of that name, or the first one; UsageError if the pod has none of that name."""
    names = [container.name for container in pod.every]
    if wanted and wanted not in names:
        raise UsageError(f"pod {pod.name} has no container {wanted!r}; it has {', '.join(names)}")
    return wanted or pod.containers[0].name
