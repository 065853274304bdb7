"""Control groups: they limit the resources of a lab's processes, and kill all of them at once.

cgroup v1 (with hierarchies for pids, memory, freezer) or v2, whichever the machine has. The name of a lab's groups has
the lab's name and the device number of its folder's file system, which is unique on the machine.
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
"""A container's default limits: processes, and bytes of memory."""
LAB_PIDS, LAB_MEMORY = 0.5, 0.75
"""The limits of a whole lab, as fractions of the machine's."""
CONTROLLERS = ("pids", "memory", "freezer")
FREEZE = 0.5
"""Timeout in seconds for freezing a group."""
HOME = "lab"
"""The group of the lab's own processes: in v2, a group with subgroups must have no processes itself."""


def name(run: str) -> str:
    """The name of the groups of the lab with this folder."""
    device = os.stat(run).st_dev
    return f"nslab.{os.path.basename(run)}.{os.major(device)}-{os.minor(device)}"


def hierarchies() -> dict[str, str]:
    """The usable hierarchies: controller to folder; for v2 one folder, `unified`. Empty without any."""
    with contextlib.suppress(OSError):
        on = _read(f"{ROOT}/cgroup.subtree_control").split()
        # Enabling the controllers would change the machine's own groups.
        return {"unified": ROOT} if {"pids", "memory"} <= {*on} and os.access(ROOT, os.W_OK) else {}
    found = {kind: f"{ROOT}/{kind}" for kind in CONTROLLERS if os.path.exists(f"{ROOT}/{kind}/cgroup.procs")}
    return {kind: root for kind, root in found.items() if os.access(root, os.W_OK)}


class Groups:
    """A lab's groups, by descriptors: processes without the machine's /sys use them."""

    def __init__(self, run: str) -> None:
        """Create them in all usable hierarchies; `run` is the lab's folder."""
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
        """Move a process (0: this one) into the group of the lab's own processes; its children inherit it."""
        for folder in self._folders.values():
            with contextlib.suppress(OSError):
                _write(folder, f"{HOME}/cgroup.procs", str(pid))

    def hold(self, container: str, pid: int, pids: int = 0, memory: int = 0) -> None:
        """Move a process into a container's group, with limits of processes and bytes (0: the defaults)."""
        for kind, folder in self._bounding():
            with contextlib.suppress(OSError):
                self._group(kind, folder, container, pids, memory)
                _write(folder, f"{container}/cgroup.procs", str(pid))

    def _bounding(self) -> Iterator[tuple[str, int]]:
        # A lab is frozen and killed as a whole, so containers need no freezer group.
        return ((kind, folder) for kind, folder in self._folders.items() if kind != "freezer")

    def _group(self, kind: str, folder: int, container: str, pids: int, memory: int) -> None:
        try:
            os.mkdir(container, 0o755, dir_fd=folder)
        except FileExistsError:
            return  # from an earlier run
        group = os.open(container, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            most = machine_memory()
            _limit(kind, group, pids or PIDS, min(memory, most) or min(MEMORY, most // 4))
        finally:
            os.close(group)

    def enter(self, container: str) -> None:
        """Move this process into the group of a running container; OSError if the group exists and that fails.

        A process of the same user can cause the failure: with prlimit it can lower this one's limit of descriptors.
        """
        for _, folder in self._bounding():
            with contextlib.suppress(FileNotFoundError):
                _write(folder, f"{container}/cgroup.procs", "0")

    def oom_kills(self, container: str) -> int:
        """The number of OOM kills in a container's group; 0 without a counter."""
        for kind, file in (("unified", "memory.events"), ("memory", "memory.oom_control")):
            with contextlib.suppress(OSError, KeyError):
                descriptor = os.open(f"{container}/{file}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folders[kind])
                with open(descriptor, encoding="ascii") as counts:
                    return int(dict(line.split() for line in counts).get("oom_kill", 0))
        return 0

    def let_go(self, container: str) -> None:
        """Remove a container's group. Dying processes keep it until the lab is removed, or for the next run."""
        for _, folder in self._bounding():
            with contextlib.suppress(OSError):
                os.rmdir(container, dir_fd=folder)


def kill(run: str) -> bool:
    """Kill all processes in a lab's groups, atomically (v2) or after freezing (v1), so that no fork escapes.

    Returns whether a group exists that supports it.
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
        # Checked after pidfd_open: a process that was not frozen in time may have ended, and its pid been reused.
        if f"/{own}/" in _read(f"/proc/{pid}/cgroup"):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _freeze(folder: str) -> None:
    """Freeze a v1 group; return when it is frozen, or at the timeout."""
    _put(f"{folder}/freezer.state", "FROZEN")
    deadline = time.monotonic() + FREEZE
    while _read(f"{folder}/freezer.state").strip() != "FROZEN" and time.monotonic() < deadline:
        _put(f"{folder}/freezer.state", "FROZEN")  # for processes forked meanwhile


def pids(run: str) -> set[int]:
    """The pids of all processes in a lab's groups that are visible in our pid namespace."""
    return {pid for folder in _folders_of(run) for pid in _pids(folder)}


def _pids(folder: str) -> set[int]:
    found: set[int] = set()
    for group, _, _ in os.walk(folder):
        # A group may be removed while we walk, before it is opened (ENOENT) or after (ENODEV): it has no processes.
        with contextlib.suppress(OSError):
            # 0 stands for a process outside of our pid namespace.
            found |= {int(line) for line in _read(f"{group}/cgroup.procs").split() if line != "0"}
    return found


def remove(own: str, seconds: float = 0.0) -> None:
    """Remove the groups named `own`, except those with processes.

    Waits at most `seconds` for zombies, which keep their group until they are reaped.
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
    """Yield the names of a lab's groups, also of those left by an earlier lab of the same name."""
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
        with contextlib.suppress(OSError):  # a kernel without swap accounting, or without swap
            _write(group, "memory.memsw.limit_in_bytes", str(memory))
    if kind == "unified":
        _write(group, "memory.max", str(memory))
        with contextlib.suppress(OSError):
            _write(group, "memory.swap.max", "0")


def _pid_max() -> int:
    return int(_read("/proc/sys/kernel/pid_max"))


def machine_memory() -> int:
    """Bytes of memory of this machine."""
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
