"""Where in a lab a command runs: on which host, beside which container, and whose process sees to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.errors import UsageError
from nslab.linux.netns import named
from nslab.linux.processes.exec import Command
from nslab.linux.stored_lab import stored_lab
from nslab.objects.names import netns, pod_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nslab.lab.types import Pod


def command(lab: str, host: str, container: str | None, argv: Sequence[str]) -> tuple[Command, list[str]]:
    """A command for a host of a running lab, and the containers of the pod it is; in the first one unless told."""
    desired, names = stored_lab(lab), named(lab)
    if netns(lab, host) not in names:
        known = ", ".join(there.removeprefix(netns(lab, "")) for there in names)
        raise UsageError(f"{lab} has no host {host!r}; it has {known}")
    if pod := find_pod(desired.pods, host):
        chosen = container_of(pod, container)
        return Command(lab, host, pod.node, chosen, argv), [one.name for one in pod.containers]
    if container:
        raise UsageError(f"{host} is no pod and has no container {container!r}")
    machines = {one.name for some in (desired.nodes, desired.clients, desired.routers) for one in some}
    # The switch is a network namespace and nothing more.
    return Command(lab, host, host, "", argv, "exec" if host in machines else "alone"), []


def absence(wanted: Command, what: str) -> str:
    """Why what a command should run beside, of which is `said` that it does not run, does not; or what mends that."""
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


def find_pod(pods: Iterable[Pod], host: str) -> Pod | None:
    """The pod that a host is, if it is one."""
    return next((pod for pod in pods if pod_host(pod.namespace, pod.name) == host), None)


def container_of(pod: Pod, wanted: str | None) -> str:
    """The container that is meant, the first one unless told; UsageError if the pod has no such one."""
    names = [container.name for container in pod.every]
    if wanted and wanted not in names:
        raise UsageError(f"pod {pod.name} has no container {wanted!r}; it has {', '.join(names)}")
    return wanted or pod.containers[0].name
