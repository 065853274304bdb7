"""Finding again what an earlier process of a node started: what that one wrote down, as far as it is still there."""

from __future__ import annotations

import os
import select

from nslab.components.kubelet import fdstore
from nslab.components.kubelet.container import Spec
from nslab.components.kubelet.sandbox import Sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.components.kubelet.fdstore import Kept, Pipes
    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.trust import Started


class Found:
    """What runs of a node: pods with their pause, containers (which run of theirs it is) and tunnels, with numbers.

    `held`: a pidfd of each. Their numbers alone may become others': it is not we who collect them.
    """

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.sandboxes: list[Sandbox] = []
        self.containers: list[tuple[Spec, int, int]] = []
        self.tunnels: list[tuple[str, int]] = []
        self.proxy = 0


def find(context: NodeContext, alive: Iterable[tuple[Started, int]]) -> Found:
    """What is what of those that are `alive` by the journal of this node (a pidfd of each)."""
    found = Found()
    for record, pidfd in alive:
        if not _is_in(context, record.net, record.ns):
            os.close(pidfd)
            continue
        found.held[record.pid] = pidfd
        match record.role:
            case "pause":
                found.sandboxes.append(Sandbox(ns=record.ns, pid=record.pid, **record.more))
            case "tunnel":
                found.tunnels.append((record.ns, record.pid))
            case "kube-proxy" if record.ns == context.ns:
                found.proxy = record.pid
            case role if role.startswith("container/"):
                # As much as there is to know of one that is in no other journal: enough to see to it, not to start it.
                port, number = record.more["port"], record.more["number"]
                name, security = role.removeprefix("container/"), record.more["security"]
                spec = Spec(record.ns, name, [""], [], "/", port, number, security=security)
                found.containers.append((spec, record.more["attempt"], record.pid))
            case _:
                pass
    return found


def _is_in(context: NodeContext, net: int, ns: str) -> bool:
    """Whether it is in the namespace of that name. Somebody may have deleted that one by hand, and we made another."""
    try:
        return os.stat(ns, dir_fd=context.ns_dir).st_ino == net
    except OSError:
        return False


def kept(found: Found) -> dict[tuple[str, str], Kept]:
    """What pods' pause processes keep, by namespace and container; some of these may have ended meanwhile."""
    runs: dict[tuple[str, str], Kept] = {}
    for pod in found.sandboxes:
        pod.store = fdstore.of(found.held[pod.pid])
        if pod.store:
            runs |= {(pod.ns, container): run for container, run in pod.store.found().items()}
    return runs


def let_go(sandboxes: Mapping[str, Sandbox], unwanted: Mapping[tuple[str, str], Kept]) -> None:
    """Keep nothing of these: they were removed while there was no process of the node."""
    for (ns, container), (_, (out, err, _)) in unwanted.items():
        os.close(out)
        os.close(err)
        if store := sandboxes[ns].store:
            store.drop(container)


def pipes(pid: int) -> Pipes:
    """For what nobody kept: new read ends of what a process has as stdout and stderr; -1 where that is no pipe."""
    return _reopen(pid, 1), _reopen(pid, 2), -1


def _reopen(pid: int, number: int) -> int:
    # Held first and then looked at: a process may put something else in its place meanwhile, such as a terminal, which
    # would become ours, and whose other end could end us.
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
    """Wait until the process of `pidfd` has ended, so long at most; whether it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
