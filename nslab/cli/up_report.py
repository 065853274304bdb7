"""What `up` prints when it is done, on less than a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.cli.output import (
    bullets,
    note,
    say,
    terminal_columns,
)
from nslab.objects.names import pod_host
from nslab.quote import fill

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from nslab.api.pod_types import Pod
    from nslab.app.drift import Drift
    from nslab.app.up import Up
    from nslab.lab.types import Lab
    from nslab.objects.unmanaged import Unmanaged


def print_unmanaged(others: Iterable[Unmanaged], heading: str) -> None:
    """What is not nslab's, by host."""
    by_ns: dict[str, list[str]] = {}
    for one in others:
        by_ns.setdefault(one.ns, []).append(one.what)
    for ns, lines in by_ns.items():
        say(f"{heading}, in {ns}:")
        bullets(lines, 20, "more")


def has_guide(file: Path, lab: Lab) -> bool:
    """Whether the course has a guide for the lab: it comes with nslab, and `file` is the shipped one."""
    from nslab.lab.find import shipped

    return any(one.number and one.name == lab.name and one.path == file for one in shipped())


def print_up(done: Up, *, guide: bool, given: Collection[str] = ()) -> None:
    """Print what was done, a picture of the new lab, and the next commands, on less than a screen.

    `given`: the settings that options override.
    """
    from nslab.views.changes import changes, standing_still
    from nslab.views.delta import delta
    from nslab.views.edits import edits
    from nslab.views.tree import count, picture, title

    drift, lab = done.drift, done.drift.lab
    if done.fresh:
        say(f"{title(lab)}; up in {done.seconds:.2f} s, {len(drift.plan)} steps")
    elif edited := edits(done.was, lab, given) if done.was else []:
        say(f"{lab.name}: changed in {done.seconds:.2f} s, {len(drift.plan)} steps")
        bullets([*edited, *standing_still(drift.stopped, drift.ended, idle=drift.idle)], 20, "more changes")
        bullets(delta(drift.plan), 20, "more lines")
    elif drift.plan or drift.stopped or drift.idle:
        say(f"{lab.name}: mended in {done.seconds:.2f} s")
        bullets(
            [*standing_still(drift.stopped, drift.ended, idle=drift.idle), *changes(lab, drift.plan)],
            20,
            "more differences",
        )
    else:
        say(f"{lab.name} is as it should be ({count(lab)})")
    print_unmanaged(drift.others, "not nslab's, left alone")
    for one, why in done.refused.items():
        note(f"nslab: {one.what} is still there: {why}")
    for line in _notes(drift):
        note(line)
    if done.fresh:
        say(f"\n{picture(lab, terminal_columns())}\n\nNext:")
        for command in ([fill("nslab show {} --guide", lab.name)] if guide else []) + next_commands(lab):
            say(f"  {command}")


def _notes(drift: Drift) -> list[str]:
    """What this machine's kernel lacks, and what nslab does instead; once, as it begins."""
    from nslab.objects.container import Workload
    from nslab.objects.namespaces import Netns
    from nslab.objects.plan import Add
    from nslab.objects.process import TunnelAgent

    new = [step.obj for step in drift.plan if isinstance(step, Add)]
    notes = []
    if any(isinstance(obj, TunnelAgent) for obj in new):
        notes.append("this kernel has no ipip driver: a process carries tunl0's packets (the same on the wire, slower)")
    if drift.host.iptables != "iptables" and any(isinstance(obj, Netns) for obj in new):
        notes.append(f"this kernel takes no rules of `iptables` here: list them with `{drift.host.iptables}`")
    if any(isinstance(obj, Workload) and obj.asks("grpc") for obj in new):
        from nslab.components.kubelet import grpc_client
        from nslab.linux.packages import how_to_install

        if not grpc_client.installed():
            notes.append(f"{grpc_client.MISSING}, or {how_to_install('module:h2')}; without it none passes or fails")
    return notes


def _service_of(lab: Lab, pod: Pod) -> str:
    """A Service of `default` of which a pod is an endpoint; else the pod."""
    from nslab.compiler.endpoints import resolve

    name = f"{pod.namespace}/{pod.name}"
    behind = (
        service.name
        for service in resolve(lab)
        if service.cluster_ip and service.namespace == "default"
        if any(end.pod == name for port in service.ports for end in port.endpoints)
    )
    return next(behind, pod_host(pod.namespace, pod.name))


def _enforces_policies(lab: Lab) -> bool:
    """Whether a lab has NetworkPolicies, and a plugin that enforces them."""
    from nslab.lab.network_rules import RULES
    from nslab.lab.policy_views import network_policies

    return RULES[lab.plugin].policies and bool(network_policies(lab.others))


def next_commands(lab: Lab) -> list[str]:
    """Some useful next commands."""
    from nslab.api.pod_types import RestartPolicy
    from nslab.compiler.networks import network
    from nslab.lab.find import FILE, check_file
    from nslab.linux.netns import folder

    goals = check_file(folder(lab.name) / FILE)
    if goals or network(lab).BY_HAND:
        test = fill("nslab {} {}", "check" if goals else "probe", lab.name)
        return [test, fill("nslab shell {}", f"{lab.name}/{lab.nodes[0].name}"), fill("nslab down {}", lab.name)]
    commands = [fill("nslab probe {}", lab.name)]
    lasting = [pod for pod in lab.pods if pod.restart_policy is RestartPolicy.ALWAYS]
    # kube-dns has a port, too, but does not serve HTTP.
    own = [pod for pod in lasting if pod.namespace != "kube-system"]
    servers = [pod for pod in own if any(container.ports for container in pod.containers)]
    pairs = [(near, far) for far in servers for near in reversed(lasting) if near.node != far.node] or [
        (pod, pod) for pod in servers
    ]
    if pairs:
        near, far = pairs[0]
        port = next(port.port for container in far.containers for port in container.ports)
        host, url = f"{lab.name}/{pod_host(near.namespace, near.name)}", f"http://{far.assigned}:{port}/hostname"
        commands.append(fill("nslab exec {} -- curl -s {}", host, url))
        sender = pod_host(near.namespace, near.name)
        commands.append(fill("nslab trace {} {} {}", lab.name, sender, _service_of(lab, far)))
        if _enforces_policies(lab):
            commands.append(fill("nslab policy {} {}", lab.name, pod_host(far.namespace, far.name)))
    else:
        commands.append(fill("nslab inspect {}", lab.name))
    if lab.bgp:
        commands.append(fill("nslab inspect {} --bgp", f"{lab.name}/{lab.nodes[0].name}"))
    return [*commands, fill("nslab down {}", lab.name)]
