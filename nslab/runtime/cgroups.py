"""Control groups: what the processes of a lab may take of the machine, and one place from which all of them are killed.

Version 1 (a hierarchy each for pids, memory, freezer) or version 2, whichever the machine has. A lab's groups are named
after it and the number of its folder's file system, which no two labs on a machine share at the same time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "/sys/fs/cgroup"
PIDS, MEMORY = 1024, 512 << 20
"""What a container may have, unless its limits say otherwise: processes, and bytes of memory."""
LAB_PIDS, LAB_MEMORY = 0.5, 0.75
"""What a lab may have as a whole, in parts of the machine's."""
CONTROLLERS = ("pids", "memory", "freezer")
FREEZE = 0.5
"""Seconds that a group may take to stand still."""
HOME = "lab"
"""The group of the lab's own processes; version 2 wants none where there are groups below."""


def name(run: str) -> str:
    """The name of a lab's groups, by its folder."""
    device = os.stat(run).st_dev
    return f"nslab.{os.path.basename(run)}.{os.major(device)}-{os.minor(device)}"


def hierarchies() -> dict[str, str]:
    """Where groups can be made: controller to folder; of version 2 one folder for all. Nothing, if nowhere."""
    with contextlib.suppress(OSError):
        on = _read(f"{ROOT}/cgroup.subtree_control").split()
        # Switching them on would change the machine's own groups.
        return {"unified": ROOT} if {"pids", "memory"} <= {*on} and os.access(ROOT, os.W_OK) else {}
    found = {kind: f"{ROOT}/{kind}" for kind in CONTROLLERS if os.path.exists(f"{ROOT}/{kind}/cgroup.procs")}
    return {kind: root for kind, root in found.items() if os.access(root, os.W_OK)}


class Groups:
    """A lab's groups, by descriptors: they are used where /sys shows none."""

    def __init__(self, run: str) -> None:
        """Make them where that can be done; `run` is the lab's folder."""
        self._folders: dict[str, int] = {}
        own = name(run)
        for kind, root in hierarchies().items():
            with contextlib.suppress(OSError):
                self._folders[kind] = self._made(kind, f"{root}/{own}")

    def _made(self, kind: str, path: str) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
        folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _limit(kind, folder, int(_pid_max() * LAB_PIDS), int(machine_memory() * LAB_MEMORY))
        if kind == "unified":
            _write(folder, "cgroup.subtree_control", "+pids +memory")
        with contextlib.suppress(FileExistsError):
            os.mkdir(HOME, 0o755, dir_fd=folder)
        return folder

    @property
    def bounds_pids(self) -> bool:
        """Whether the number of a container's processes is limited."""
        return "pids" in self._folders or "unified" in self._folders

    def join(self, pid: int = 0) -> None:
        """Put a process (0: this one) among the lab's own; what it starts is there, too."""
        for folder in self._folders.values():
            with contextlib.suppress(OSError):
                _write(folder, f"{HOME}/cgroup.procs", str(pid))

    def hold(self, container: str, pid: int, pids: int = 0, memory: int = 0) -> None:
        """Put a process into the group of a container, which may have so many processes and bytes (0: as usual)."""
        for kind, folder in self._bounding():
            with contextlib.suppress(OSError):
                self._group(kind, folder, container, pids, memory)
                _write(folder, f"{container}/cgroup.procs", str(pid))

    def _bounding(self) -> Iterator[tuple[str, int]]:
        # Who is killed together is frozen together: of the freezer one group is enough.
        return ((kind, folder) for kind, folder in self._folders.items() if kind != "freezer")

    def _group(self, kind: str, folder: int, container: str, pids: int, memory: int) -> None:
        try:
            os.mkdir(container, 0o755, dir_fd=folder)
        except FileExistsError:
            return  # of a run before this one
        group = os.open(container, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            most = machine_memory()
            _limit(kind, group, pids or PIDS, min(memory, most) or min(MEMORY, most // 4))
        finally:
            os.close(group)

    def enter(self, container: str) -> None:
        """Put this process into the group of a container that runs; OSError if there is one and that cannot be done.

        A neighbour may see to it that it cannot: prlimit takes descriptors away from whoever has the same user.
        """
        for _, folder in self._bounding():
            with contextlib.suppress(FileNotFoundError):
                _write(folder, f"{container}/cgroup.procs", "0")

    def oom_kills(self, container: str) -> int:
        """How often the kernel killed in the group of a container, as it had no more memory; 0 where nobody counts."""
        for kind, file in (("unified", "memory.events"), ("memory", "memory.oom_control")):
            with contextlib.suppress(OSError, KeyError):
                descriptor = os.open(f"{container}/{file}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folders[kind])
                with open(descriptor, encoding="ascii") as counts:
                    return int(dict(line.split() for line in counts).get("oom_kill", 0))
        return 0

    def let_go(self, container: str) -> None:
        """A container is no more. What is still dying keeps its group, until the lab goes or it starts again."""
        for _, folder in self._bounding():
            with contextlib.suppress(OSError):
                os.rmdir(container, dir_fd=folder)


def kill(run: str) -> bool:
    """Kill all that is in a lab's groups. Nothing that forks on gets away: all at once, or frozen first.

    Whether there is a group in which that can be done.
    """
    done = False
    for folder in _folders_of(run):
        with contextlib.suppress(OSError):
            _put(f"{folder}/cgroup.kill", "1")
            done = True
        with contextlib.suppress(OSError):
            _freeze(folder)
            for pid in _pids(folder):
                with contextlib.suppress(OSError):
                    _kill(pid, os.path.basename(folder))
            _put(f"{folder}/freezer.state", "THAWED")
            done = True
    return done


def _kill(pid: int, own: str) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        # Asked after the pidfd was opened: who did not stand still in time may be gone, and its number another's.
        if f"/{own}/" in _read(f"/proc/{pid}/cgroup"):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _freeze(folder: str) -> None:
    """Return when all in a group of version 1 stand still, or do not within a moment."""
    _put(f"{folder}/freezer.state", "FROZEN")
    deadline = time.monotonic() + FREEZE
    while _read(f"{folder}/freezer.state").strip() != "FROZEN" and time.monotonic() < deadline:
        _put(f"{folder}/freezer.state", "FROZEN")  # who was just born is asked as well


def pids(run: str) -> set[int]:
    """The numbers of all that is in a lab's groups, as far as they have one in our pid namespace."""
    return {pid for folder in _folders_of(run) for pid in _pids(folder)}


def _pids(folder: str) -> set[int]:
    found: set[int] = set()
    for group, _, _ in os.walk(folder):
        # 0 is somebody in another pid namespace, as seen from here.
        found |= {int(line) for line in _read(f"{group}/cgroup.procs").split() if line != "0"}
    return found


def remove(own: str, seconds: float = 0.0) -> None:
    """Take away the groups of that name; those in which anything lives stay.

    So do those of the dead that nobody has collected yet: that is waited for, so long at most.
    """
    deadline = time.monotonic() + seconds
    folders = [f"{root}/{own}" for root in hierarchies().values()]
    while folders := [folder for folder in folders if not _removed(folder)]:
        if time.monotonic() >= deadline:
            return
        time.sleep(0.005)


def _removed(folder: str) -> bool:
    for group, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(group)
    return not os.path.exists(folder)


def left(lab: str) -> Iterator[str]:
    """The names of groups that a lab has or once had."""
    seen = set()
    for root in hierarchies().values():
        with contextlib.suppress(OSError):
            seen |= {entry for entry in os.listdir(root) if entry.startswith(f"nslab.{lab}.")}
    yield from sorted(seen)


def _folders_of(run: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        own = name(run)
        yield from (f"{root}/{own}" for root in hierarchies().values() if os.path.isdir(f"{root}/{own}"))


def _limit(kind: str, group: int, pids: int, memory: int) -> None:
    if kind in ("pids", "unified"):
        _write(group, "pids.max", str(pids))
    if kind == "memory":
        _write(group, "memory.limit_in_bytes", str(memory))
        with contextlib.suppress(OSError):  # a kernel that does not count swap; or a machine that has none
            _write(group, "memory.memsw.limit_in_bytes", str(memory))
    if kind == "unified":
        _write(group, "memory.max", str(memory))
        with contextlib.suppress(OSError):
            _write(group, "memory.swap.max", "0")


def _pid_max() -> int:
    return int(_read("/proc/sys/kernel/pid_max"))


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _write(folder: int, path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
