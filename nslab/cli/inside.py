"""Verbs inside a lab's nodes and pods: exec, shell, logs; and vm, a kernel with all features."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.complete import hosts
from nslab.cli.output import need_root, note, raw
from nslab.errors import UsageError
from nslab.objects.names import pod_host

if TYPE_CHECKING:
    pass

Host = Annotated[
    str,
    typer.Argument(metavar="LAB/HOST", help="A node, a router, a client, the switch, or a pod.", autocompletion=hosts),
]
PodHost = Annotated[str, typer.Argument(metavar="LAB/POD", help="A pod.", autocompletion=hosts)]
ContainerOption = Annotated[
    str | None,
    typer.Option("--container", "-c", help="The pod's container; default: its first."),
]
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND", help="The command to run.")]


def exec_(host: Host, command: Command, container: ContainerOption = None) -> int:
    """Run a command inside a node, a router, a client, the switch, or a pod's container.

    nslab exits with the command's exit code. In a container, the command has the container's namespaces, root and
    capabilities, no more.

    Example: nslab exec calico-two-node/pod-d -- curl -s http://20.111.156.7:8080/hostname
    """
    need_root("exec")
    lab, name = _split(host)
    return _enter(lab, name, container, command)


def shell(host: Host, container: ContainerOption = None) -> int:
    """Open a shell inside a node, a router, a client, the switch, or a pod's container.

    Example: nslab shell calico-two-node/node1
    """
    need_root("shell")
    lab, name = _split(host)
    return _enter(lab, name, container, ["bash" if os.path.exists("/bin/bash") else "sh"])


def logs(
    pod: PodHost,
    container: ContainerOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print lines as they come in, until the container ends.")
    ] = False,
    tail: Annotated[int, typer.Option("--tail", help="Print only the last N lines; -1 prints all.")] = -1,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Print each line's time.")] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Print the log of the container's previous run.")
    ] = False,
) -> None:
    """Print what a container wrote to stdout and stderr since its last start.

    Example: nslab logs calico-two-node/pod-b -f
    """
    need_root("logs")
    from nslab.app.logs import entries, pod_of

    lab, name = _split(pod)
    found = pod_of(lab, name)
    _defaulted(container, [each.name for each in found.containers])
    for entry in entries(lab, found, container, follow=follow, tail=tail, previous=previous):
        raw(f"{entry.timestamp} {entry.text}" if timestamps else entry.text)


def vm(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND", help="The command to run; default: a shell.")
    ] = None,
    memory: Annotated[str, typer.Option("--memory", help="The kernel's memory.")] = "1G",
) -> int:
    """Boot a second kernel in seconds, and run a command in it.

    The kernel is User-Mode Linux, with ipip, ip_vs and netem. Its root file system is this machine's, read-only; only
    the working directory is writable. It needs no root. It is no security boundary: root in it can get whatever you
    have.

    Example: nslab vm -- nslab up calico-two-node
    """
    from nslab.linux.vm import boot as vm

    return vm.run(command or [], memory=memory)


def _enter(lab: str, name: str, container: str | None, argv: list[str]) -> int:
    from nslab.app.inside import absence, command
    from nslab.linux.netns import folder
    from nslab.linux.processes.exec import NotRunning, attach

    os.umask(0o022)  # a container's umask, instead of nslab's own
    wanted, containers = command(lab, name, container, argv)
    _defaulted(container, containers)
    try:
        return attach(folder(lab), wanted)
    except NotRunning as absent:
        raise UsageError(absence(wanted, f"{absent}")) from None


def _defaulted(wanted: str | None, containers: list[str]) -> None:
    if not wanted and len(containers) > 1:
        note(f"Defaulted container {containers[0]!r} out of: {', '.join(containers)}")  # kubectl's words


def _split(host: str) -> tuple[str, str]:
    """Split LAB/HOST; a pod may also be LAB/NAMESPACE/POD, as pictures write it."""
    lab, slash, name = host.partition("/")
    if not (lab and slash and name):
        raise UsageError(f"say LAB/HOST, as in calico-two-node/pod-b; {host!r} has no host")
    namespace, slash, pod = name.partition("/")
    return lab, pod_host(namespace, pod) if slash else name
