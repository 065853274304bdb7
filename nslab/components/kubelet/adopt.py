"""Find the processes that an earlier nslab-node of the same node started, from its journal."""

from __future__ import annotations

import contextlib
import os
import select

from nslab.components.kubelet import fdstore
from nslab.components.kubelet.container import Spec
from nslab.components.kubelet.sandbox import PodSandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.components.kubelet.fdstore import Kept, Pipes
    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.trust import Started


class Found:
    """The running processes of a node: pods with their pause process, containers (with attempt and pid), and others.

    `held`: a pidfd of each, because a pid alone may be reused: this process is not the parent that reaps them.
    """

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.sandboxes: list[PodSandbox] = []
        self.containers: list[tuple[Spec, int, int]] = []
        self.tunnels: list[tuple[str, int]] = []
        self.daemons: dict[str, int] = {}


def find(context: NodeContext, alive: Iterable[tuple[Started, int]]) -> Found:
    """Sort the processes that are `alive` by the node's journal (a pidfd of each) by their roles."""
    found = Found()
    for record, pidfd in alive:
        if not _is_in(context, record.net, record.ns):
            os.close(pidfd)
            continue
        found.held[record.pid] = pidfd
        match record.role:
            case "pause":
                found.sandboxes.append(PodSandbox(ns=record.ns, pid=record.pid, **record.more))
            case "tunnel":
                found.tunnels.append((record.ns, record.pid))
            case "kube-proxy" | "felix" | "bird" as role if record.ns == context.ns:
                found.daemons[role] = record.pid
            case role if role.startswith("container/"):
                # For a container without a request in the other journal: enough to manage it, not to start it.
                port, number = record.more["port"], record.more["number"]
                name, security = role.removeprefix("container/"), record.more["security"]
                spec = Spec(record.ns, name, [""], [], "/", port, number, security=security)
                found.containers.append((spec, record.more["attempt"], record.pid))
            case _:
                pass
    return found


def _is_in(context: NodeContext, net: int, ns: str) -> bool:
    """Whether `net` is the namespace of that name (it may have been deleted by hand, and created again) or the node's.

    With hostNetwork, a pod's name is no namespace's, and its processes are in the node's.
    """
    for name in (ns, context.ns):
        with contextlib.suppress(OSError):
            if os.stat(name, dir_fd=context.ns_dir).st_ino == net:
                return True
    return False


def kept(found: Found) -> dict[tuple[str, str], Kept]:
    """The pipes that pods' pause processes keep, by namespace and container; some containers may have ended."""
    runs: dict[tuple[str, str], Kept] = {}
    for pod in found.sandboxes:
        pod.store = fdstore.of(found.held[pod.pid])
        if pod.store:
            runs |= {(pod.ns, container): run for container, run in pod.store.found().items()}
    return runs


def let_go(sandboxes: Mapping[str, PodSandbox], unwanted: Mapping[tuple[str, str], Kept]) -> None:
    """Drop the pipes of containers that were removed while the node had no process."""
    for (ns, container), (_, (out, err, _)) in unwanted.items():
        os.close(out)
        os.close(err)
        if store := sandboxes[ns].store:
            store.drop(container)


def pipes(pid: int) -> Pipes:
    """New read ends of a process's stdout and stderr, if no pause process keeps them; -1 where that is not a pipe."""
    return _reopen(pid, 1), _reopen(pid, 2), -1


def _reopen(pid: int, number: int) -> int:
    # Opened with O_PATH and then checked: meanwhile the process may replace it, for instance with a terminal, which
    # would become our controlling terminal, and its master could hang us up.
    held, path = -1, f"/proc/{pid}/fd/{number}"
    try:
        held = os.open(path, os.O_PATH | os.O_CLOEXEC)
        path = f"/proc/self/fd/{held}"
        is_pipe = os.readlink(path).startswith("pipe:")
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC) if is_pipe else -1
    except OSError:
        return -1
    finally:
        if held >= 0:
            os.close(held)


def wait_exit(pidfd: int, seconds: float) -> bool:
    """Wait at most `seconds` for a process to end; return whether it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
