"""The sdist and the wheel: what is in them, and that the same tree gives the same bytes."""

from __future__ import annotations

import filecmp
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from typing import TYPE_CHECKING

import pytest

from nslab.cli.complete import SHELLS
from nslab.exercises.types import Language
from nslab.lab.course import filled_file, guide_file
from nslab.lab.find import names
from nslab.version import UNKNOWN, of_sources
from tests.package import ROOT, Built, build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("hatchling")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = {str(path.relative_to(ROOT)) for path in (ROOT / "nslab").rglob("*") if path.is_file()}
LABS = {str(path.relative_to(ROOT)) for path in (ROOT / "labs").rglob("*") if path.is_file()}
DATA = {"share/man/man1/nslab.1", *SHELLS.values()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def wheel(built: Built) -> dict[str, bytes]:
    """What is in the wheel."""
    with zipfile.ZipFile(built.wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def kept(path: str) -> bool:
    return "__pycache__" not in path


def test_the_wheel_has_every_module_and_every_file_of_each_lab(built: Built, wheel: dict[str, bytes]) -> None:
    inside = {name for name in wheel if name.startswith("nslab/")}
    assert inside == {*filter(kept, SOURCES), *(f"nslab/{path}" for path in filter(kept, LABS))}
    for lab in names():
        files = {name.rpartition("/")[2] for name in inside if name.startswith(f"nslab/labs/{lab}/")}
        guides = {*map(guide_file, Language), *map(filled_file, Language)}
        assert {"lab.yaml", *guides, f"test_{lab.replace('-', '_')}.py"} <= files


def test_the_wheel_has_the_manual_and_the_completion_scripts(built: Built, wheel: dict[str, bytes]) -> None:
    data = f"nslab-{built.version}.data/data/"
    assert {name.removeprefix(data) for name in wheel if name.startswith(data)} == DATA
    page = wheel[f"{data}share/man/man1/nslab.1"].decode()
    assert f'"nslab {built.version}"'.replace("-", r"\-") in page
    for place in SHELLS.values():
        assert b"_NSLAB_COMPLETE=complete_" in wheel[data + place]


def test_the_wheel_says_what_it_is(built: Built, wheel: dict[str, bytes]) -> None:
    about = Parser().parsestr(wheel[f"nslab-{built.version}.dist-info/METADATA"].decode())
    assert (about["Name"], about["Version"], about["License-Expression"]) == ("nslab", built.version, "Apache-2.0")
    if not (ROOT / "PKG-INFO").exists():  # an sdist, unpacked, stays what it is
        assert built.version == (of_sources(ROOT) or UNKNOWN)
    assert about.get_payload() == (ROOT / "README.md").read_text()
    doors = wheel[f"nslab-{built.version}.dist-info/entry_points.txt"].decode().split("\n\n")
    assert [door.split() for door in doors] == [
        ["[console_scripts]", "nslab", "=", "nslab.__main__:main"],
        ["[pytest11]", "nslab", "=", "nslab.pytest_plugin"],
    ]


def test_the_sdist_has_what_builds_and_tests_it(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True).stdout.split()
    wanted = {path for path in listed if not path.startswith((".ci/", ".github/")) and (ROOT / path).exists()}
    assert inside >= {*wanted, "PKG-INFO", "pyproject.toml", "scripts/build_hook.py", *filter(kept, SOURCES | LABS)}
    assert [path for path in inside if "__pycache__" in path or path.startswith((".git/", ".venv"))] == []


def test_an_sdist_keeps_its_version_without_git(built: Built, tmp_path: Path) -> None:
    assert not (built.unpacked / ".git").exists()
    assert Parser().parsestr((built.unpacked / "PKG-INFO").read_text())["Version"] == built.version


@pytest.mark.parametrize("file", [lambda built: built.sdist, lambda built: built.wheel], ids=["sdist", "wheel"])
def test_built_again_it_is_the_same(built: Built, file: Callable[[Built], Path], tmp_path: Path) -> None:
    assert filecmp.cmp(file(built), file(build(tmp_path)), shallow=False)


def test_what_the_build_asks_for_is_what_nslab_asks_for() -> None:
    asked = [need for need in PROJECT["build-system"]["requires"] if not need.startswith("hatchling")]
    assert asked
    assert set(asked) <= set(PROJECT["project"]["dependencies"])
