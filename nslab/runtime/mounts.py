"""The mounts of this mount namespace: list, detach and create them."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys

from nslab import rundir, syscall
from nslab.runtime.folders import make_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def mount_points() -> Iterator[str]:
    """Yield the mount points, each after its parent mount's."""
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            # mountinfo writes a space in a path as \040, and so on.
            text = re.sub(rb"\\([0-7]{3})", lambda found: bytes((int(found[1], 8),)), line.split(b" ")[4])
            yield text.decode("utf-8", "surrogateescape")


def detach_below(*roots: str) -> None:
    """Unmount every mount below these folders (not at them), each with its submounts."""
    gone: list[str] = []
    for point in list(mount_points()):
        below = any(point.startswith(f"{root}/") for root in roots)
        if below and not any(point == other or point.startswith(f"{other}/") for other in gone):
            # A mount under a later one cannot be reached by its path; it does no harm.
            with contextlib.suppress(OSError):
                syscall.umount(point)
                gone.append(point)


def tmpfs(target: str, mode: str = "755", flags: int = syscall.MS_NOSUID | syscall.MS_NODEV, size: str = "64m") -> None:
    """Mount a new tmpfs at `target`, limited to `size` and to 16k inodes."""
    syscall.mount("tmpfs", target, "tmpfs", flags, f"mode={mode},size={size},nr_inodes=16k")


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where containers look for programs."""
BIRD = "/run/bird"
"""A node's folder of BIRD: birdc(8) looks for its socket there, and a command on the node for birdc."""
APPLETS = "/opt/busybox"
"""The folder with a link for each of busybox's applets, if busybox is installed; its images have it first on PATH."""
VOLUME = 64 << 20
"""Bytes that a volume in memory holds, unless it says otherwise."""
_SHARED_MEMORY = "/dev/shm"


def is_own(path: str) -> bool:
    """Whether a path is of what each container has of its own: /, /proc, /sys, /dev. No volume is mounted there."""
    if f"{path}/".startswith(f"{_SHARED_MEMORY}/"):
        return False
    return path.split("/")[1:2] in ([""], ["proc"], ["sys"], ["dev"], [])


def own_run(run: str, tree: int) -> None:
    """Mount a new /run that contains only the lab's folder `run`, from its detached mount `tree`."""
    # So that iptables' lock, and other files that tools write there, are not the machine's.
    tmpfs("/run")
    os.mkdir("/run/lock")
    os.chmod("/run/lock", 0o1777)  # noqa: S103 - whoever is in the node, as on every machine
    make_tree(run)
    syscall.move_mount(tree, run)
    # Where the machine's /run is a shared mount, the copied mount is shared, too.
    syscall.mount("none", run, flags=syscall.MS_PRIVATE)


LAYERED = ("etc", "opt", "srv", "var")
"""Folders with a node's own files on top of the machine's."""
FRESH = ("home", "root", "tmp")
"""A node's own folders, empty at first."""
DEVICES = (
    ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
)  # fmt: skip
"""The devices that every program expects in /dev; none of them stores data."""
TERMINALS = "newinstance,ptmxmode=0666,mode=620,max=1024"
"""Options of a devpts: its own instance, in which everybody may open terminals."""
_TUN = ("net/tun", 10, 200)
IMPORTED = (
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    sys.base_prefix,
    os.path.dirname(os.path.dirname(sys.executable)),
)
"""Folders of modules imported later: this package's, those of an interpreter that no package installed, and those of
the virtual environment, from which a node's process executes programs.
"""
_FROZEN = ("sys", "sysrq-trigger", "bus", "fs", "irq")


def own_machine(node: str, run: str, tree: int) -> None:
    """Make the mounts of a node or a client: its own folders, and the rest of the machine's files read-only.

    Writes go into `run`, the lab's folder, whose detached mount is `tree`.
    """
    kept = hidden(IMPORTED)
    syscall.mount_setattr("/", syscall.MOUNT_ATTR_RDONLY, recursive=True)
    own_run(run, tree)
    folder = f"{run}/{rundir.node(node)}/{rundir.FILES}"
    lowers = [name for name in LAYERED if os.path.isdir(f"/{name}")]
    for name in (*FRESH, *(f"{name}/{part}" for name in lowers for part in ("upper", "work"))):
        make_tree(f"{folder}/{name}")
        os.chmod(f"{folder}/{name}", 0o1777 if name == "tmp" else 0o755)
    layers = [f"lowerdir=/{name},upperdir={folder}/{name}/upper,workdir={folder}/{name}/work" for name in lowers]
    for name, layer in zip(lowers, layers, strict=True):
        try:
            syscall.mount("overlay", f"/{name}", "overlay", syscall.MS_NODEV, layer)
        except OSError:
            # This kernel has no overlayfs, or not on this file system: show only the node's own files.
            if name != "etc":
                syscall.mount(f"{folder}/{name}/upper", f"/{name}", flags=syscall.MS_BIND)
    for name in FRESH:
        if os.path.isdir(f"/{name}"):
            syscall.mount(f"{folder}/{name}", f"/{name}", flags=syscall.MS_BIND)
    show(kept)
    _own_devices()
    _own_proc()
    # /sys shows the devices of the network namespace from which it was mounted.
    hard = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
    syscall.mount("sysfs", "/sys", "sysfs", hard | syscall.MS_RDONLY)


def hidden(paths: Iterable[str]) -> dict[str, int]:
    """The folders among `paths` that a node's own folders hide, each with a detached copy of its mount."""
    below = tuple(f"/{name}/" for name in FRESH)
    return {path: syscall.open_tree(path) for path in paths if f"{path}/".startswith(below) and os.path.isdir(path)}


def show(trees: Mapping[str, int], attributes: int = syscall.MOUNT_ATTR_RDONLY) -> None:
    """Attach `hidden` folders where they are on the machine, by default read-only."""
    for path, tree in trees.items():
        os.makedirs(path, exist_ok=True)
        syscall.seal(tree, attributes)
        syscall.move_mount(tree, path)
        os.close(tree)


def _own_devices() -> None:
    """Mount a /dev without disks, and read-only: it is the only file system here in which devices work."""
    existing = [device for device in (*DEVICES, _TUN) if os.path.exists(f"/dev/{device[0]}")]
    tmpfs("/dev", flags=syscall.MS_NOSUID | syscall.MS_NOEXEC, size="64k")
    mask = os.umask(0)
    for folder in ("net", "pts", "shm"):
        os.mkdir(f"/dev/{folder}", 0o755)
    for name, major, minor in existing:
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for name, to in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{to}", f"/dev/{name}")
    os.symlink("pts/ptmx", "/dev/ptmx")
    os.umask(mask)
    syscall.mount_setattr("/dev", syscall.MOUNT_ATTR_RDONLY)
    tmpfs("/dev/shm", "1777")
    syscall.mount("devpts", "/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, TERMINALS)


def _own_proc() -> None:
    """Mount a /proc with the machine's processes, in which only the settings of the node's network are writable."""
    syscall.mount("proc", "/proc", "proc", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC)
    network = syscall.open_tree("/proc/sys/net")
    for name in _FROZEN:
        if os.path.exists(f"/proc/{name}"):
            tree = syscall.open_tree(f"/proc/{name}")
            syscall.seal(tree, syscall.MOUNT_ATTR_RDONLY)
            syscall.move_mount(tree, f"/proc/{name}")
            os.close(tree)
    syscall.move_mount(network, "/proc/sys/net")
    os.close(network)
