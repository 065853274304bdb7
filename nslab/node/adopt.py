"""Finding again what an earlier process of a node started, by its marks."""

from __future__ import annotations

import os
import select

from nslab.node.container import Spec
from nslab.node.marks import marked
from nslab.node.sandbox import Sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.node.place import Place


class Found:
    """What runs of a node: pods with their pause, containers (which run of theirs it is) and tunnels, with numbers."""

    def __init__(self) -> None:
        self.sandboxes: list[Sandbox] = []
        self.containers: list[tuple[Spec, int, int]] = []
        self.tunnels: list[tuple[str, int]] = []
        self.proxy = 0


def find(place: Place) -> Found:
    """Everything that bears a mark of this node."""
    found = Found()
    lab = place.ns.rsplit(".", 1)[0] + "."
    for pid, words in _marks():
        match words:
            case [ns, _, node, *_] if node != place.node or not ns.startswith(lab) or not _is_in(place, pid, ns):
                pass
            case [ns, "pause", _, namespace, pod, uid, hostname, address, share]:
                found.sandboxes.append(Sandbox(ns, namespace, pod, uid, hostname, address, share == "shared", pid))
            case [ns, role, _, number, port, attempt] if role.startswith("container/") and _is_first(pid):
                # As much as there is to know of one that is in no journal: enough to see to it, not to start it again.
                spec = Spec(ns, role.removeprefix("container/"), [""], [], "/", int(port), number)
                found.containers.append((spec, int(attempt), pid))
            case [ns, "tunnel", _]:
                found.tunnels.append((ns, pid))
            case [ns, "kube-proxy", _] if ns == place.ns:
                found.proxy = pid
            case _:
                pass
    return found


def _is_in(place: Place, pid: int, ns: str) -> bool:
    """Whether it is in the namespace of that name. Somebody may have deleted that one by hand, and we made another."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(ns, dir_fd=place.ns_dir).st_ino
    except OSError:
        return False


def _marks() -> Iterator[tuple[int, list[str]]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb", buffering=0) as file:
                    text = marked(file.readall().split(b"\0"))
            except OSError:
                continue  # it ended meanwhile
            if text:
                yield int(entry), text.split(" ")


def _is_first(pid: int) -> bool:
    """Whether it is the container's own process: descendants inherit the mark, but their parents are in there too."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
        with open(f"/proc/{parent}/status", "rb") as file:
            # Its number in each pid namespace from ours inwards: one number, if it is in ours.
            return next(len(line.split()) == 2 for line in file if line.startswith(b"NSpid:"))
    except OSError:
        return False


def pipes(pid: int) -> tuple[int, int, int]:
    """New read ends of what a process has as stdout and stderr; -1 where that is no pipe (any more)."""
    return _reopen(pid, 1), _reopen(pid, 2), -1


def _reopen(pid: int, number: int) -> int:
    path = f"/proc/{pid}/fd/{number}"
    try:
        if os.readlink(path).startswith("pipe:"):
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        pass
    return -1


def wait_exit(pidfd: int, seconds: float) -> bool:
    """Wait until the process of `pidfd` has ended, so long at most; whether it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
