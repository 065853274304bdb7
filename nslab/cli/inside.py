"""Inside a lab's machines and pods: exec, shell, logs; and a kernel that has everything: vm."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.complete import hosts
from nslab.cli.output import need_root, note, raw
from nslab.errors import UsageError
from nslab.net.names import pod_host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.lab.types import Pod

Host = Annotated[str, typer.Argument(metavar="LAB/HOST", help="A node, a client, or a pod.", autocompletion=hosts)]
ContainerOption = Annotated[
    str | None,
    typer.Option("--container", "-c", help="A pod's container; the first one unless told."),
]
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND", help="What to run there.")]


def exec_(host: Host, command: Command, container: ContainerOption = None) -> int:
    """Run a command inside a node, a client, or a pod's container; its exit status is the command's own.

    In a container it has the container's namespaces, root and capabilities, no more.

    Example: nslab exec calico-two-node/pod-d -- curl -s http://20.111.156.7:8080/hostname
    """
    need_root("exec")
    lab, name = _split(host)
    return _enter(lab, name, container, command)


def shell(host: Host, container: ContainerOption = None) -> int:
    """Open a shell inside a node, a client, or a pod's container.

    Example: nslab shell calico-two-node/node1
    """
    need_root("shell")
    lab, name = _split(host)
    return _enter(lab, name, container, ["bash" if os.path.exists("/bin/bash") else "sh"])


def logs(
    host: Host,
    container: ContainerOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come in.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="Only so many of the last lines; -1 for all.")] = -1,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Each line with its time.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the run before, that ended.")] = False,
) -> None:
    """Print what a container wrote to stdout and stderr, since it was last started.

    Example: nslab logs calico-two-node/pod-b -f
    """
    need_root("logs")
    from nslab.linux import lifecycle, logs, netns, status

    lab, name = _split(host)
    pod = _find(lifecycle.wished(lab).pods, name)
    if pod is None:
        raise UsageError(f"{lab} has no pod {name!r}")
    chosen = _container(pod, container)
    folder = logs.folder(netns.folder(lab), pod.node, f"{pod.namespace}_{pod.name}_{pod.uid}", chosen)
    files = logs.attempts(folder)
    if previous and status.runs(lab, pod.namespace, pod.name, chosen):
        files = files[1:]  # of one that waits to be started again, the run before is the last one
    if not files:
        which = "previous terminated container" if previous else "container"
        raise UsageError(f"{which} {chosen!r} in pod {pod.name!r} not found")

    def newest() -> bool:
        return logs.attempts(folder)[:1] == files[:1]

    for entry in logs.read(files[0], follow=follow, tail=None if tail < 0 else tail, going=newest):
        raw(f"{entry.timestamp} {entry.text}" if timestamps else entry.text)


def vm(
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND", help="What to run in it.")] = None,
    memory: Annotated[str, typer.Option("--memory", help="How much the kernel gets.")] = "1G",
) -> int:
    """Boot a second kernel in a few seconds (User-Mode Linux: it has ipip, ip_vs, netem), and run a command in it.

    Its root is this machine's, read-only; the working directory alone is writable. Needs no root. It is no boundary:
    root in there can have whatever you have.

    Example: nslab vm -- nslab up calico-two-node
    """
    from nslab.linux import vm

    return vm.run(command or [], memory=memory)


def _enter(lab: str, name: str, container: str | None, command: list[str]) -> int:
    from nslab.linux import lifecycle, netns, restore
    from nslab.linux.exec import PASSED_ON, Absent, Command, attach
    from nslab.net.names import netns as name_of
    from nslab.trust import PROGRAMS

    os.umask(0o022)  # as a container's: what is run there is not nslab's own
    ns = name_of(lab, name)
    wished = lifecycle.wished(lab)
    if ns not in netns.named(lab):
        known = ", ".join(there.removeprefix(name_of(lab, "")) for there in netns.named(lab))
        raise UsageError(f"{lab} has no host {name!r}; it has {known}")
    pod = _find(wished.pods, name)
    machines = {one.name for some in (wished.nodes, wished.clients, wished.routers) for one in some}
    if not pod and name not in machines:
        ip = restore.program("ip")  # the switch is a network namespace and nothing more
        told = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        os.execve(ip, [ip, "netns", "exec", ns, *command], {**told, "PATH": PROGRAMS})
    node, inside = (pod.node, _container(pod, container)) if pod else (name, "")
    try:
        return attach(netns.folder(lab), Command(lab, name, node, inside, command))
    except Absent as absent:
        raise UsageError(f"{absent}; `nslab up {lab}` brings it back") from None


def _split(host: str) -> tuple[str, str]:
    """Lab and host; a pod may also be NAMESPACE/POD, as pictures write it."""
    lab, slash, name = host.partition("/")
    if not (lab and slash and name):
        raise UsageError(f"say LAB/HOST, as in calico-two-node/pod-b; {host!r} has no host")
    namespace, slash, pod = name.partition("/")
    return lab, pod_host(namespace, pod) if slash else name


def _find(pods: Iterable[Pod], name: str) -> Pod | None:
    return next((pod for pod in pods if pod_host(pod.namespace, pod.name) == name), None)


def _container(pod: Pod, wanted: str | None) -> str:
    names = [container.name for container in pod.containers]
    if wanted and wanted not in names:
        raise UsageError(f"pod {pod.name} has no container {wanted!r}; it has {', '.join(names)}")
    if not wanted and len(names) > 1:
        note(f"Defaulted container {names[0]!r} out of: {', '.join(names)}")  # as kubectl says it
    return wanted or names[0]
