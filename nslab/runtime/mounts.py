"""Mounts of this mount namespace: which there are, and letting go of some."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys

from nslab import rundir, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def mount_points() -> Iterator[str]:
    """Where something is mounted, each mount after the one that it lies on."""
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            # A space in a path is written \040, and so on.
            text = re.sub(rb"\\([0-7]{3})", lambda found: bytes((int(found[1], 8),)), line.split(b" ")[4])
            yield text.decode("utf-8", "surrogateescape")


def detach_below(*roots: str) -> None:
    """Take away every mount below these folders (not at them); what lies on a mount goes with it."""
    gone: list[str] = []
    for point in list(mount_points()):
        below = any(point.startswith(f"{root}/") for root in roots)
        if below and not any(point == other or point.startswith(f"{other}/") for other in gone):
            # What lies hidden under a later mount cannot be reached by its path any more; it does no harm there.
            with contextlib.suppress(OSError):
                syscall.umount(point)
                gone.append(point)


def tmpfs(target: str, mode: str = "755", flags: int = syscall.MS_NOSUID | syscall.MS_NODEV, size: str = "64m") -> None:
    """A fresh file system in memory at `target`, of so many bytes, and no more files than fit a page each."""
    syscall.mount("tmpfs", target, "tmpfs", flags, f"mode={mode},size={size},nr_inodes=16k")


VOLUME = 64 << 20
"""Bytes that a volume in memory holds, unless it says otherwise."""
_SHARED_MEMORY = "/dev/shm"


def is_own(path: str) -> bool:
    """Whether a path is of what each container has of its own: /, /proc, /sys, /dev. No volume is mounted there."""
    if f"{path}/".startswith(f"{_SHARED_MEMORY}/"):
        return False
    return path.split("/")[1:2] in ([""], ["proc"], ["sys"], ["dev"], [])


def own_run(run: str, tree: int) -> None:
    """A /run of our own, with nothing in it but the lab's folder `run`, of which `tree` is a copy of the mount."""
    # iptables' lock, and whatever else tools write there, are not the machine's.
    tmpfs("/run")
    os.mkdir("/run/lock")
    os.chmod("/run/lock", 0o1777)  # noqa: S103 - whoever is in the node, as on every machine
    os.makedirs(run)
    syscall.move_mount(tree, run)
    # On a machine where /run is shared, so was the mount that this was copied from.
    syscall.mount("none", run, flags=syscall.MS_PRIVATE)


LAYERED = ("etc", "opt", "srv", "var")
"""A node's own, on top of the machine's."""
FRESH = ("home", "root", "tmp")
"""A node's own, with nothing in them at first."""
DEVICES = (
    ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
)  # fmt: skip
"""What every program may expect to find below /dev: none that holds anything of anybody's."""
TERMINALS = "newinstance,ptmxmode=0666,mode=620,max=1024"
"""Of a file system of terminals: its own, and whoever is in it may make them."""
_TUN = ("net/tun", 10, 200)
IMPORTED = (os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), sys.base_prefix)
"""Where modules lie that are imported later: this package's, and those of an interpreter that is nobody's package."""
_FROZEN = ("sys", "sysrq-trigger", "bus", "fs", "irq")


def own_machine(node: str, run: str, tree: int) -> None:
    """Everything that a node or a client has of its own; the rest of the machine's files it can only read.

    What is written goes into `run`, the lab's folder, of which `tree` is a copy of the mount.
    """
    kept = hidden(IMPORTED)
    syscall.mount_setattr("/", syscall.MOUNT_ATTR_RDONLY, recursive=True)
    own_run(run, tree)
    folder = f"{run}/{rundir.node(node)}/{rundir.FILES}"
    lowers = [name for name in LAYERED if os.path.isdir(f"/{name}")]
    for name in (*FRESH, *(f"{name}/{part}" for name in lowers for part in ("upper", "work"))):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        os.chmod(f"{folder}/{name}", 0o1777 if name == "tmp" else 0o755)
    layers = [f"lowerdir=/{name},upperdir={folder}/{name}/upper,workdir={folder}/{name}/work" for name in lowers]
    for name, layer in zip(lowers, layers, strict=True):
        try:
            syscall.mount("overlay", f"/{name}", "overlay", syscall.MS_NODEV, layer)
        except OSError:
            # This kernel has no overlay, or not over this file system: what is written is seen, the machine's is not.
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
    """Of the machine's folders those that a node does not see, each with a copy of its mount."""
    below = tuple(f"/{name}/" for name in FRESH)
    return {path: syscall.open_tree(path) for path in paths if f"{path}/".startswith(below) and os.path.isdir(path)}


def show(trees: Mapping[str, int], attributes: int = syscall.MOUNT_ATTR_RDONLY) -> None:
    """Put what is `hidden` where it is on the machine, to be read unless `attributes` say otherwise."""
    for path, tree in trees.items():
        os.makedirs(path, exist_ok=True)
        syscall.seal(tree, attributes)
        syscall.move_mount(tree, path)
        os.close(tree)


def _own_devices() -> None:
    """No disk among them. (To make one takes a file system with devices, and this is the only one.)"""
    there = [device for device in (*DEVICES, _TUN) if os.path.exists(f"/dev/{device[0]}")]
    tmpfs("/dev", flags=syscall.MS_NOSUID | syscall.MS_NOEXEC, size="64k")
    mask = os.umask(0)
    for folder in ("net", "pts", "shm"):
        os.mkdir(f"/dev/{folder}", 0o755)
    for name, major, minor in there:
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for name, to in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{to}", f"/dev/{name}")
    os.symlink("pts/ptmx", "/dev/ptmx")
    os.umask(mask)
    syscall.mount_setattr("/dev", syscall.MOUNT_ATTR_RDONLY)
    tmpfs("/dev/shm", "1777")
    syscall.mount("devpts", "/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, TERMINALS)


def _own_proc() -> None:
    """The machine's processes; of the kernel's settings only those of the network, which is the node's own."""
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
