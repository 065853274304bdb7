"""What a container sees as its file system: this machine's, read-only, with a few places of its own.

What is the same for all containers of a node is made once, in a mount namespace that nobody lives in, the template;
a container copies it and adds the rest.
"""

from __future__ import annotations

import os
import stat

from nslab import syscall
from nslab.node.mounts import detach_below, read_only_tree, tmpfs
from nslab.node.place import MNT, Place

OWN = ("/tmp", "/run", "/var")
"""Writable, in memory, each container's own."""
FILES = ("resolv.conf", "hosts", "hostname")
"""Files of /etc that are the pod's."""
PODS = "/sys"
"""Where the template keeps the pods' folders: /sys, since each container covers that with its own."""
TERMINALS = "newinstance,ptmxmode=0666,mode=620"
"""Of a file system of terminals: its own, and whoever is in it may make them."""

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)


def template(place: Place) -> int:
    """A descriptor of a new mount namespace from which containers are cloned. Call it in the node's own."""
    with place.away(MNT):
        syscall.unshare(MNT)
        pods = syscall.open_tree(f"{place.run}/pods")
        # What a container covers anyway would be copied for each.
        detach_below(*OWN, "/proc", "/sys", "/dev")
        if any(_needs_entry(f"/etc/{name}") for name in FILES):
            _cover_etc()
        syscall.move_mount(pods, PODS)
        os.close(pods)
        read_only_tree("/")
        _devices()
        return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def _needs_entry(path: str) -> bool:
    """Whether nothing could be mounted over `path`: it is not there, and not a link into a place of the container."""
    real = os.path.realpath(path)
    return not os.path.exists(real) and not real.startswith(tuple(f"{own}/" for own in OWN))


def _cover_etc() -> None:
    # An overlay of two read-only layers: the machine's /etc, and above it empty files to mount the pod's over.
    tmpfs("/tmp")
    os.mkdir("/tmp/etc", 0o755)
    for name in FILES:
        if _needs_entry(f"/etc/{name}"):
            os.close(os.open(f"/tmp/etc/{name}", os.O_CREAT | os.O_WRONLY, 0o644))
    syscall.mount("overlay", "/etc", "overlay", 0, "lowerdir=/tmp/etc:/etc")
    syscall.umount("/tmp")


def _devices() -> None:
    syscall.mount("tmpfs", "/dev", "tmpfs", syscall.MS_NOSUID, "mode=755,size=64k")
    mask = os.umask(0)
    for name, major, minor in _DEVICES:
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.umask(mask)
    for name, to in _LINKS:
        os.symlink(to, f"/dev/{name}")
    for name in ("shm", "pts"):
        os.mkdir(f"/dev/{name}")
    # Read-only from here: a container has CAP_MKNOD, and must not make itself the machine's disk.
    syscall.mount("none", "/dev", flags=syscall.MS_REMOUNT | syscall.MS_BIND | syscall.MS_RDONLY | syscall.MS_NOSUID)


def enter(template_fd: int, host: str) -> None:
    """Give this process, already in its network and pid namespaces, the file system of a container of pod `host`."""
    syscall.setns(template_fd, MNT)
    syscall.unshare(MNT)
    for own in OWN:
        tmpfs(own, "1777" if own == "/tmp" else "755")
    if os.path.isdir(f"{PODS}/{host}"):
        for name in FILES:
            _cover(f"/etc/{name}", f"{PODS}/{host}/{name}")
    hard = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
    # A file system of its own kind each: /proc shows the pid namespace, /sys the network namespace that mounts it.
    syscall.mount("proc", "/proc", "proc", hard | syscall.MS_RDONLY)
    syscall.mount("sysfs", "/sys", "sysfs", hard | syscall.MS_RDONLY)
    tmpfs("/dev/shm", "1777", hard)
    syscall.mount("devpts", "/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, TERMINALS)


def _cover(path: str, source: str) -> None:
    real = os.path.realpath(path)
    if not os.path.exists(real):
        # A link into /run, as systemd-resolved makes it: the new /run is ours, so the file can be made.
        os.makedirs(os.path.dirname(real), exist_ok=True)
        os.close(os.open(real, os.O_CREAT | os.O_WRONLY, 0o644))
    # Read-only because `source` is on a read-only mount: a bind mount takes after the mount that it is made from.
    syscall.mount(source, real, flags=syscall.MS_BIND)
