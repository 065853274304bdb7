"""Volumes in a mount namespace: what is taken of them, and that nothing in them leads out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import of_child

from nslab import syscall
from nslab.components.runtime import volumes

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.components.runtime.volumes import Mount

pytestmark = pytest.mark.root


def with_volumes(call: Callable[[], object], *made: volumes.Volume) -> object:
    """What a call returns in a mount namespace that has these volumes."""

    def child() -> object:
        syscall.unshare(syscall.CLONE_NEWNS)
        syscall.mount("none", "/", flags=syscall.MS_REC | syscall.MS_PRIVATE)
        volumes.make(made)
        return call()

    return of_child(child)


def refused(mount: Mount) -> str:
    try:
        volumes.take([mount])
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "taken"


@pytest.mark.parametrize("target", ["/", "/etc", "../..", "inner", "/proc/self/root", "/dev/shm"])
def test_no_link_of_a_container_leads_out_of_a_volume(target: str) -> None:
    def plant() -> object:
        os.mkdir("/proc/0/inner")
        os.symlink(target, "/proc/0/link")
        os.symlink(target, "/proc/0/inner/link")
        return [refused((0, "/in", inside, False)) for inside in ("link", "link/a/b", "inner/link/x")]

    assert with_volumes(plant, (1 << 20, -1, None)) == ["Too many levels of symbolic links"] * 3


def test_no_way_up_either() -> None:
    found = with_volumes(
        lambda: [refused((0, "/in", inside, False)) for inside in ("..", "a/../..")], (1 << 20, -1, None)
    )
    assert "taken" not in str(found)
    assert with_volumes(lambda: os.path.lexists("/proc/0/../a"), (1 << 20, -1, None)) is False


def test_a_part_that_is_not_there_is_made_and_of_files_it_is_empty() -> None:
    def look() -> object:
        for folder in volumes.SCRATCH:
            syscall.mount("tmpfs", folder, "tmpfs")
        trees = volumes.take([(0, "/srv/a", "x/y", False), (1, "/srv/b", "gone", True), (1, "/srv/c", "d/e", True)])
        volumes.place(trees, [])
        return [os.listdir("/srv/a"), os.listdir("/srv/b"), Path("/srv/c").read_text()]

    assert with_volumes(look, (1 << 20, -1, None), (1 << 20, -1, [("d/e", 0o644, "text")])) == [[], [], "text"]


def test_files_are_nobodys_to_change_and_no_name_of_theirs_leads_out() -> None:
    def write() -> object:
        try:
            open("/proc/0/new", "w").close()
        except OSError as error:
            return [os.strerror(error.errno or 0), oct(os.stat("/proc/0/d/e").st_mode), os.stat("/proc/0/d/e").st_gid]
        return "written"

    files = [("d/e", 0o4750, "text")]
    assert with_volumes(write, (1 << 20, 2000, files)) == ["Read-only file system", "0o100750", 2000]
    for path in ("../x", "d/../../x", "/x/../../y"):
        with pytest.raises(AssertionError, match=r"leads out"):
            with_volumes(bool, (1 << 20, -1, [(path, 0o644, "")]))
