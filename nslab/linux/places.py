"""Verify that the folder of all labs, and a lab's folder in it, are nslab's; remove a lab's folder.

Everything goes by descriptor, so that nslab unmounts and removes exactly what it verified.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, TypeAlias

from nslab import rundir
from nslab.errors import NslabError, Refused, error_text
from nslab.linux.netns import RUN, folder
from nslab.runtime import trust
from nslab.syscall import umount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMES = rundir.NAMES
"""The folder in a lab's folder that holds the names of its namespaces."""
SOURCE = "nslab"
Mount: TypeAlias = tuple[str, str, str]
"""A mount as mountinfo has it: root within its file system, type of file system, source."""
OURS: Mount = ("/", "tmpfs", SOURCE)
"""The mount at a lab's folder, and at its folder of names."""


def root_folder() -> int:
    """A descriptor of the folder of all labs; FileNotFoundError without one, NslabError unless only root can write."""
    parent = os.open(RUN.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        run = trust.beneath(parent, RUN.name)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NslabError(f"{RUN} is not a folder; nslab keeps its labs there: remove it by hand") from error
        raise
    finally:
        os.close(parent)
    if trust.is_roots(run):
        return run
    os.close(run)
    raise NslabError(f"{RUN} is not root's alone; nslab keeps its labs there: chown root {RUN}, chmod 755 {RUN}")


def check_run() -> None:
    """NslabError unless the folder of all labs is root's alone or does not exist."""
    with contextlib.suppress(FileNotFoundError), _root():
        pass


def check(lab: str) -> None:
    """NslabError unless the lab's folder, and the folder of names in it, are nslab's or do not exist."""
    with contextlib.suppress(FileNotFoundError), _root() as run:
        for names in ((lab,), (lab, NAMES)):
            with _opened(run, *names) as (_, mount):
                if mount not in (None, OURS):
                    raise NslabError(f"what is mounted at {RUN.joinpath(*names)} is not nslab's; unmount it by hand")


def uncover(lab: str) -> None:
    """Unmount a foreign tmpfs that covers the lab's folder, or its folder of names; nothing else."""
    with contextlib.suppress(FileNotFoundError), _root() as run:
        for names in ((lab,), (lab, NAMES)):
            _unmount(run, *names, which=lambda mount: mount != OURS and mount[:2] == OURS[:2])


def dismantle(lab: str) -> None:
    """Unmount the lab's folder lazily, the names in it first, as often as it is mounted; then remove it.

    A lazy umount removes the names at once, even while a process holds one open.
    """
    try:
        with contextlib.suppress(FileNotFoundError), _root() as run:
            for names in ((lab, NAMES), (lab,)):
                _unmount(run, *names, which=lambda mount: mount == OURS)
            check(lab)
            _empty(run, lab)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise NslabError(f"{folder(lab)} holds files that are not nslab's; remove it by hand") from error
        raise Refused(f"umount -l {folder(lab)}", error_text(error)) from error


@contextlib.contextmanager
def _root() -> Iterator[int]:
    run = root_folder()
    try:
        yield run
    finally:
        os.close(run)


@contextlib.contextmanager
def _opened(run: int, *names: str) -> Iterator[tuple[int, Mount | None]]:
    """A descriptor of a lab's folder, or of a folder in it, and the mount there; None without one."""
    opened = [run]
    try:
        for name in names:
            opened.append(_beneath(opened[-1], name, RUN.joinpath(*names)))
        above, here = map(_number, opened[-2:])
        yield opened[-1], None if here == above else _mount(here)
    finally:
        for descriptor in opened[1:]:
            os.close(descriptor)


def _beneath(here: int, name: str, place: Path) -> int:
    try:
        return trust.beneath(here, name)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NslabError(f"{place} is not a folder, and not nslab's; remove it by hand") from error
        raise


def _number(descriptor: int) -> str:
    """The mount ID of a descriptor. (st_dev does not show a bind mount from the same file system.)"""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        return next(line.split()[1] for line in file if line.startswith("mnt_id:"))


def _mount(number: str) -> Mount | None:
    """The mount with an ID; None if another call of `down` has unmounted it."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            mine, _, _, root, *rest = line.split()
            if mine == number:
                kind, source = rest[rest.index("-") + 1 :][:2]
                return root, kind, source
    return None


def _unmount(run: int, *names: str, which: Callable[[Mount], bool]) -> None:
    """Unmount a lab's folder, or a folder in it, as long as `which` is true of the mount there."""
    with contextlib.suppress(FileNotFoundError):
        while True:
            with _opened(run, *names) as (here, mount):
                if not mount or not which(mount):
                    return
                umount(f"/proc/self/fd/{here}")


def _empty(run: int, lab: str) -> None:
    """Remove a lab's folder with what an `up` killed between mkdir and mount left on the file system below."""
    with _opened(run, lab) as (here, _):
        inside = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
        try:
            for entry in os.scandir(inside):
                if entry.is_file(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=inside)
                elif entry.name == NAMES:
                    os.rmdir(entry.name, dir_fd=inside)
        finally:
            os.close(inside)
    os.rmdir(lab, dir_fd=run)


def write(file: Path, text: str) -> None:
    """Write a file of a lab's folder atomically; a symlink of that name is replaced, not followed."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    new.replace(file)
