"""Volumes: file systems in memory that live as long as the mount namespace of their pod's pause process.

A container starts from a copy of that mount namespace, copies its mounts out of it, and attaches each at its path. Its
tree is read-only: a folder that lacks a mount point is replaced by one that has it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from nslab import syscall
from nslab.runtime.mounts import is_own, mount_points, tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    Volume: TypeAlias = tuple[int, int, list[tuple[str, int, str]] | None]
    """Capacity in bytes, group (-1: root's), and files (path, mode, bytes as latin-1); None: containers write it."""
    Mount: TypeAlias = tuple[int, str, str, bool]
    """The number of a volume, the mountPath, the subPath, and whether it is read-only."""
    Tree: TypeAlias = tuple[str, int, bool]
    """The mountPath, the descriptor of a detached copy of the mount, and whether it is a folder."""

STAGE = "/proc"
"""Where a pause process mounts its pod's volumes, by number; each container covers it with its own /proc."""
SCRATCH = ("/mnt", "/srv")
"""Where a folder is assembled: in the first of these that is not inside it."""
_FLAGS = syscall.MS_NOSUID | syscall.MS_NODEV
_BENEATH = syscall.RESOLVE_BENEATH | syscall.RESOLVE_NO_SYMLINKS
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def make(volumes: Iterable[Volume]) -> None:
    """Mount a pod's volumes in the mount namespace of its pause process."""
    tmpfs(STAGE, size="64k")
    for number, (size, group, files) in enumerate(volumes):
        folder = f"{STAGE}/{number}"
        os.mkdir(folder)
        tmpfs(folder, "777" if files is None else "755", size=str(size))
        if group >= 0:
            os.chown(folder, 0, group)
            os.chmod(folder, 0o2777 if files is None else 0o2755)
        for path, mode, data in files or ():
            _write(folder, path, mode, group, data.encode("latin-1"))
        if files is not None:
            syscall.mount_setattr(folder, syscall.MOUNT_ATTR_RDONLY)


def _write(folder: str, path: str, mode: int, group: int, data: bytes) -> None:
    *folders, name = path.split("/")
    if ".." in (*folders, name):
        raise ValueError(f"{path} leads out of its volume")
    for part in filter(None, folders):
        folder = f"{folder}/{part}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
            os.chmod(folder, 0o755)  # noqa: S103 - a container's user need not be root
    descriptor = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        os.fchown(descriptor, 0, group)
        os.fchmod(descriptor, mode & 0o777)


def take(mounts: Iterable[Mount]) -> list[Tree]:
    """Copy a container's mounts, outermost first, and unmount the stage, so that it sees no other volume of its pod."""
    wanted = [mount for mount in mounts if not is_own(mount[1])]
    mask = os.umask(0)
    trees = [_taken(*mount) for mount in sorted(wanted, key=lambda mount: mount[1].count("/"))]
    os.umask(mask)
    syscall.umount(STAGE)
    return trees


def _taken(number: int, path: str, inside: str, read_only: bool) -> Tree:
    volume = os.open(f"{STAGE}/{number}", _FOLDER)
    part = _part(volume, inside) if inside else os.dup(volume)
    tree = syscall.copy_mount(part)
    if read_only:
        syscall.seal(tree, syscall.MOUNT_ATTR_RDONLY)
    is_folder = stat.S_ISDIR(os.fstat(part).st_mode)
    os.close(volume)
    os.close(part)
    return path, tree, is_folder


def _part(volume: int, inside: str) -> int:
    """Open a file or folder of a volume; create a missing folder. No symlink in the volume leads out of it."""
    with contextlib.suppress(FileNotFoundError):
        return syscall.openat2(volume, inside, os.O_PATH | os.O_CLOEXEC, _BENEATH)
    folder = os.dup(volume)
    for part in filter(None, inside.split("/")):
        try:
            os.mkdir(part, dir_fd=folder)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno == errno.EROFS:  # a volume of files, without one of this name
                return os.open(SCRATCH[0], _FOLDER)
            raise
        above, folder = folder, syscall.openat2(folder, part, _FOLDER, _BENEATH)
        os.close(above)
    return folder


def widen(trees: Iterable[Tree]) -> list[str]:
    """Replace the root if it lacks a top-level mount point; return what was replaced, which is still writable."""
    wanted = {path.split("/")[1]: is_folder or path.count("/") > 1 for path, _, is_folder in trees}
    missing = {name: is_folder for name, is_folder in wanted.items() if not os.path.lexists(f"/{name}")}
    if not missing:
        return []
    _copy("/", SCRATCH[0])
    for name, is_folder in missing.items():
        _create(f"{SCRATCH[0]}/{name}", is_folder)
    os.chdir(SCRATCH[0])
    syscall.pivot_root(".", ".")
    syscall.umount(".")
    os.chdir("/")
    return ["/"]


def place(trees: Iterable[Tree], made: list[str]) -> None:
    """Attach the copies at their paths, then seal all replaced folders. `made`: those replaced before."""
    for path, tree, is_folder in trees:
        target = os.path.realpath(path)  # in this tree, of which nothing leads out
        if not is_own(target):
            _ensure(target, is_folder, made)
            syscall.move_mount(tree, target)
        os.close(tree)
    for folder in made:
        syscall.mount_setattr(folder, syscall.MOUNT_ATTR_RDONLY | syscall.MOUNT_ATTR_NOSUID)


def _ensure(target: str, is_folder: bool, made: list[str]) -> None:
    """Create a mount point, a file or a folder, if it is missing."""
    if os.path.lexists(target):
        return
    above = os.path.dirname(target)
    if not os.path.isdir(above):
        _ensure(above, True, made)
    try:
        _create(target, is_folder)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        _make_room(above)
        made.append(above)
        _create(target, is_folder)


def _make_room(folder: str) -> None:
    """Replace a read-only folder, in this mount namespace, by a writable one with the same contents."""
    scratch = SCRATCH[folder.startswith(SCRATCH[0])]
    plain = not {*",:\\"} & {*folder}  # separators of overlay's options
    if plain and not any(point.startswith(f"{folder}/") for point in mount_points()):
        with contextlib.suppress(OSError):  # a kernel without overlay
            _overlay(folder, scratch)
            return
    _copy(folder, scratch)
    syscall.mount(scratch, folder, flags=syscall.MS_MOVE)


def _overlay(folder: str, scratch: str) -> None:
    tmpfs(scratch, size="1m")
    try:
        for name in ("upper", "work"):
            os.mkdir(f"{scratch}/{name}")
        os.chmod(f"{scratch}/upper", stat.S_IMODE(os.stat(folder).st_mode))
        layers = f"lowerdir={folder},upperdir={scratch}/upper,workdir={scratch}/work"
        syscall.mount("overlay", folder, "overlay", _FLAGS, layers)
    finally:
        syscall.umount(scratch)


def _create(path: str, is_folder: bool) -> None:
    if is_folder:
        os.mkdir(path)
        os.chmod(path, 0o755)  # noqa: S103 - a container's user need not be root
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))


def _copy(folder: str, to: str) -> None:
    """Mount a writable folder with the contents of `folder` at `to`."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False)) for entry in entries]
    tmpfs(to, f"{stat.S_IMODE(os.stat(folder).st_mode):o}", _FLAGS, "1m")
    for name, is_link, is_folder in found:
        source, target = f"{folder.rstrip('/')}/{name}", f"{to}/{name}"
        if is_link:
            os.symlink(os.readlink(source), target)
            continue
        _create(target, is_folder)
        if source != to:
            syscall.mount(source, target, flags=syscall.MS_BIND | syscall.MS_REC)
