"""Verbs inside a lab's nodes and pods: exec, shell, logs; and vm, a kernel with all features."""

from __future__ import annotations

import os
import time
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.complete import containers, hosts
from nslab.cli.output import need_root, note, raw
from nslab.cli.parsing import running
from nslab.errors import UsageError
from nslab.objects.names import host_of, pod_host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.api.pod_types import Pod

MOST_FOLLOWED = 5
"""Logs at a time, as kubectl has it."""

Host = Annotated[
    str,
    typer.Argument(metavar="LAB/HOST", help="A node, a router, a client, the switch, or a pod.", autocompletion=hosts),
]
ContainerOption = Annotated[
    str | None,
    typer.Option("--container", "-c", help="The pod's container; default: its first.", autocompletion=containers),
]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="The pod's namespace; default: default.")]
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND", help="The command to run.")]


def exec_(
    host: Host,
    command: Command,
    container: ContainerOption = None,
    namespace: NamespaceOption = "",
    _stdin: Annotated[
        bool, typer.Option("--stdin", "-i", help="As with kubectl; the command gets your standard input without it.")
    ] = False,
    _tty: Annotated[
        bool, typer.Option("--tty", "-t", help="As with kubectl; the command gets a terminal if you have one.")
    ] = False,
) -> int:
    """Run a command inside a node, a router, a client, the switch, or a pod's container.

    nslab exits with the command's exit code. In a container, the command has the container's namespaces, root and
    capabilities, no more. You may leave out `--`: options behind the command's first word are the command's own.
    LAB/deployment/NAME, job/NAME or service/NAME is one of its pods.

    Example: nslab exec calico-two-node/pod-d -- curl -s http://20.111.156.7:8080/hostname
    """
    need_root("exec")
    lab, name = _split(host, command, namespace)
    return _enter(lab, name, container, command)


def shell(
    context: typer.Context, host: Host, container: ContainerOption = None, namespace: NamespaceOption = ""
) -> int:
    """Open a shell inside a node, a router, a client, the switch, or a pod's container.

    Example: nslab shell calico-two-node/node1
    """
    need_root("shell")
    lab, name = _split(host, context.args, namespace)
    if context.args:
        context.fail(f"Got unexpected extra argument ({' '.join(context.args)})")  # click's words
    return _enter(lab, name, container, ["bash" if os.path.exists("/bin/bash") else "sh"])


def logs(
    pod: Annotated[str, typer.Argument(metavar="LAB/POD", help="A pod; with -l, the lab.", autocompletion=hosts)],
    second: Annotated[
        str | None,
        typer.Argument(metavar="CONTAINER", help="The same as -c, as kubectl has it.", autocompletion=containers),
    ] = None,
    container: ContainerOption = None,
    namespace: NamespaceOption = "",
    selector: Annotated[str, typer.Option("--selector", "-l", help="All pods with these labels: app=web.")] = "",
    all_containers: Annotated[bool, typer.Option("--all-containers", help="All containers of a pod.")] = False,
    prefix: Annotated[bool, typer.Option("--prefix", help="Print pod and container before each line.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print lines as they come in, until the container ends.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", help="Print only the last N lines; -1: all (default; with -l: 10).")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="Print only lines that are not older: 5s, 2m, 3h.")
    ] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Print each line's time.")] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Print the log of the container's previous run.")
    ] = False,
) -> None:
    """Print what a container wrote to stdout and stderr since its last start.

    LAB/deployment/NAME, job/NAME or service/NAME is one of its pods. With -l, LAB is enough: it prints the logs of all
    pods with these labels, one after the other; with -f as they come.

    Example: nslab logs calico-two-node/pod-b -f
    """
    need_root("logs")
    from nslab.app.logs import as_they_come, entries

    lab, found = _logged(pod, second, selector, namespace)
    wanted = container or second
    chosen = [(one, each) for one in found for each in _containers_of(one, wanted, every=all_containers)]
    if follow and len(chosen) > MOST_FOLLOWED:
        most = f"maximum allowed concurrency is {MOST_FOLLOWED}"
        raise UsageError(f"error: you are attempting to follow {len(chosen)} log streams, but {most}")
    oldest = _oldest(since)
    last = tail if tail is not None else 10 if selector else -1

    def lines(of: Pod, each: str) -> Iterator[str]:
        head = f"[pod/{of.name}/{each}] " if prefix else ""
        for entry in entries(lab, of, each, follow=follow, tail=last, since=oldest, previous=previous):
            yield f"{head}{f'{entry.timestamp} ' if timestamps else ''}{entry.text}"

    streams = [lines(*one) for one in chosen]
    for line in as_they_come(streams) if follow and len(streams) > 1 else chain(*streams):
        raw(line)


def _oldest(since: str) -> float:
    """The time, in seconds since 1970, before which lines are too old; 0: none is."""
    from nslab.api.duration import duration_fault, duration_seconds
    from nslab.api.words import quoted

    if not since:
        return 0.0
    if fault := duration_fault(since):
        raise UsageError(f'error: invalid argument {quoted(since)} for "--since" flag: {fault}')
    return time.time() - duration_seconds(since)


def _logged(word: str, second: str | None, selector: str, namespace: str) -> tuple[str, list[Pod]]:
    """The lab, and the pods whose logs are wanted: one, or those that a selector matches."""
    from nslab.app.logs import pod_of, pods_of

    if not selector:
        lab, name = _split(word, [second] if second else (), namespace)
        return lab, [pod_of(lab, name)]
    if "/" in word or second:
        raise UsageError("error: only a selector (-l) or a POD name is allowed")
    found = pods_of(running(word) or word, selector, namespace or "default")
    if not found:
        note(f"No resources found in {namespace or 'default'} namespace.")
    return running(word) or word, found


def _containers_of(pod: Pod, container: str | None, *, every: bool) -> list[str]:
    names = [each.name for each in pod.containers]
    if every:
        return names
    _defaulted(container, names)
    return [container or names[0]]


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


def _example(lab: str) -> str:
    """A host of the lab that was named, if it is up."""
    known = [one for one in hosts(f"{lab}/") if one.partition("/")[2] not in ("control", "switch")]
    return f"as in {min(known, default='calico-two-node/pod-b')}"


def _split(host: str, more: Sequence[str], namespace: str) -> tuple[str, str]:
    """Lab and host; a pod may also be NAMESPACE/POD, as pictures write it, or KIND/NAME of what has pods.

    `more`: the words behind it.
    """
    lab, _, name = host.partition("/")
    if not (lab and name):
        from nslab.api.words import shown

        advice = f"did you mean {lab}/{more[0]}?" if lab and more and _is_in(lab, more[0]) else _example(lab or host)
        raise UsageError(f"{shown(host)} names no host: write LAB/HOST; {advice}")
    lab = running(lab) or lab
    known = pod_host(namespace, name) if namespace and "/" not in name else host_of(name)
    if "/" in name and f"{lab}/{known}" not in hosts(f"{lab}/{known}"):
        return lab, _first_behind(lab, name, namespace) or known
    return lab, known


def _is_in(lab: str, word: str) -> bool:
    """Whether a word names a host of a running lab, or KIND/NAME of what may have pods there."""
    from nslab.app.workloads import names_pods

    host = f"{lab}/{host_of(word)}"
    return host in hosts(host) or bool(names_pods(word) and hosts(f"{lab}/"))


def _first_behind(lab: str, word: str, namespace: str) -> str:
    """The host name of the first pod of KIND/NAME; "" if the word is none."""
    from nslab.app.workloads import names_pods, pods_behind

    if not names_pods(word):
        return ""
    found = pods_behind(lab, word, namespace)
    if not found:
        raise UsageError(f"{word} has no pods")
    if len(found) > 1:
        note(f"Found {len(found)} pods, using pod/{found[0].partition('/')[2]}")  # kubectl's words
    return host_of(found[0])
