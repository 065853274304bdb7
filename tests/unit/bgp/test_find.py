"""Which BIRD is run: the machine's, or what scripts/bird unpacked, if nobody but root can have written it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import parse
from nslab.errors import Missing, NslabError
from nslab.linux import bird
from nslab.linux.rules import restore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAB = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: a}\nspec: {cni: {bgp: bird}, nodes: [{name: n}]}"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unpacked BIRD, on a machine without another."""
    folder = tmp_path / "bird"
    (folder / "lib").mkdir(parents=True)
    for name in ("bird", "lib/libssh.so"):
        (folder / name).write_text("")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(bird, "UNPACKED_BIRD", str(folder / "bird"))
    monkeypatch.setattr(restore, "PROGRAMS", "/nowhere")
    restore.program.cache_clear()
    yield folder
    restore.program.cache_clear()


def test_a_lab_without_bgp_asks_for_none(unpacked: Path) -> None:
    assert bird.find_bird(parse(LAB.replace("cni: {bgp: bird}, ", ""), "f")) == ""


def test_without_bird_the_sentence_says_how_to_get_it(unpacked: Path) -> None:
    (unpacked / "bird").unlink()
    with pytest.raises(Missing, match=r"bird is not installed; .*or run scripts/bird, which starts no service"):
        bird.find_bird(parse(LAB, "f"))


@pytest.mark.parametrize(("version", "taken"), [("2.17.1", True), ("1.6.8", False)])
def test_the_machines_own_is_taken_if_it_is_bird_2(
    unpacked: Path, version: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = unpacked / "sbin" / "bird"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho BIRD version {version} >&2\n")
    program.chmod(0o755)
    (unpacked / "bird").unlink()
    monkeypatch.setattr(restore, "PROGRAMS", str(program.parent))
    if taken:
        assert bird.find_bird(parse(LAB, "f")) == str(program)
    else:
        with pytest.raises(Missing, match=r"is not BIRD 2 \(BIRD version 1.6.8\); or run scripts/bird"):
            bird.find_bird(parse(LAB, "f"))


@needs_root
@pytest.mark.parametrize("name", ["..", "", "bird", "lib", "lib/libssh.so"])
def test_what_somebody_else_can_write_is_not_run(unpacked: Path, name: str) -> None:
    """Also a folder above: whoever can write to it could put another one in the place."""
    assert bird.find_bird(parse(LAB, "f")) == str(unpacked / "bird")
    (unpacked / name).chmod(0o777)
    with pytest.raises(NslabError, match="is not root's alone"):
        bird.find_bird(parse(LAB, "f"))


@needs_root
def test_what_is_another_users_is_not_run(unpacked: Path) -> None:
    os.chown(unpacked / "bird", 65534, 65534)
    with pytest.raises(NslabError, match="is not root's alone"):
        bird.find_bird(parse(LAB, "f"))


@needs_root
@pytest.mark.parametrize("name", ["", "bird", "lib"])
def test_what_a_link_leads_to_is_nobody_elses_either(unpacked: Path, name: str, tmp_path: Path) -> None:
    """Nor a folder above that, which the path itself does not name."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (unpacked / name).rename(elsewhere / "it")
    (unpacked / name).symlink_to(elsewhere / "it")
    assert bird.find_bird(parse(LAB, "f")) == str(unpacked / "bird")
    os.chown(elsewhere, 65534, 65534)
    with pytest.raises(NslabError, match=f"{elsewhere} is not root's alone"):
        bird.find_bird(parse(LAB, "f"))


@pytest.mark.parametrize("make", [lambda path: path.touch(0o644), lambda path: path.mkdir()])
def test_what_cannot_be_executed_is_no_bird(unpacked: Path, make: Callable[[Path], None]) -> None:
    (unpacked / "bird").unlink()
    make(unpacked / "bird")
    with pytest.raises(Missing, match="run scripts/bird"):
        bird.find_bird(parse(LAB, "f"))


def test_a_configuration_that_is_no_file_is_another_one(tmp_path: Path) -> None:
    for make in (lambda path: path.mkdir(), lambda path: path.symlink_to("/etc/passwd"), os.mkfifo):
        path = tmp_path / make.__name__ / "nodes/n/bird"
        path.mkdir(parents=True, exist_ok=True)
        file = path / "bird.conf"
        make(file)
        assert bird.configuration(path.parents[2], "n") == ""
        file.rmdir() if file.is_dir() else file.unlink()
