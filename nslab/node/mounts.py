"""Mounts of this mount namespace: which there are, and letting go of some."""

from __future__ import annotations

import contextlib
import errno
import os
import re

from nslab import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.node.place import Place


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


def tmpfs(target: str, mode: str = "755", flags: int = syscall.MS_NOSUID | syscall.MS_NODEV, size: str = "25%") -> None:
    """A fresh file system in memory at `target`."""
    syscall.mount("tmpfs", target, "tmpfs", flags, f"mode={mode},size={size}")


def own_run(place: Place) -> None:
    """A /run of our own, with nothing in it but the lab's folder."""
    # iptables' lock, and whatever else tools write there, are not the machine's.
    tmpfs("/run")
    os.mkdir("/run/lock", 0o1777)
    os.makedirs(place.run)
    syscall.move_mount(place.run_fd, place.run)
    # On a machine where /run is shared, so was the mount that this was copied from.
    syscall.mount("none", place.run, flags=syscall.MS_PRIVATE)


def read_only_tree(path: str) -> None:
    """Make every mount from `path` down read-only, and keep devices on them from being opened."""
    try:
        syscall.mount_setattr(path, syscall.MOUNT_ATTR_RDONLY | syscall.MOUNT_ATTR_NODEV, recursive=True)
    except OSError:
        # Before 5.12, or a sandbox that does not know the call: one by one, each keeping what flags it has.
        for point in list(mount_points()):
            if point == path or point.startswith(f"{path.rstrip('/')}/"):
                _remount_read_only(point)


def _remount_read_only(point: str) -> None:
    kept = 0
    try:
        flags = os.statvfs(point).f_flag
    except (FileNotFoundError, NotADirectoryError):
        return  # hidden as well
    for there, ours in ((os.ST_NOSUID, syscall.MS_NOSUID), (os.ST_NOEXEC, syscall.MS_NOEXEC)):
        kept |= ours if flags & there else 0
    everything = syscall.MS_REMOUNT | syscall.MS_BIND | syscall.MS_RDONLY | syscall.MS_NODEV | kept
    try:
        syscall.mount("none", point, flags=everything)
    except OSError as error:
        # No mount there: it lies hidden under a later one, where a container does not reach it either.
        if error.errno != errno.EINVAL:
            raise
