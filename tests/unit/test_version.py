"""Which version a tree is: in repositories of git's that are made for it, in archives of them, and in neither."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nslab.version import UNKNOWN, of_sources, public

ROOT = Path(__file__).parents[2]
SHA = "[0-9a-f]{7,}"

if shutil.which("git") is None:
    pytest.skip("there is no git here", allow_module_level=True)


class Clone:
    """A repository with a file, as far as a version is concerned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet")
        for name in (".gitattributes", ".git_archival.txt"):
            shutil.copy(ROOT / name, path)
        self.commit()

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=nobody", "-c", "user.email=", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")
        argv = ["git", "-C", str(self.path), *who, *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self) -> str:
        with (self.path / "file").open("a") as file:
            file.write("more\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=more")
        return self.git("rev-parse", "--short", "HEAD")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_without_a_tag_it_is_so_many_commits(clone: Clone) -> None:
    commit = clone.commit()
    assert of_sources(clone.path) == f"0.dev2+g{commit}"


def test_a_tag_is_the_version(clone: Clone) -> None:
    clone.git("tag", "v0.1.0")
    assert of_sources(clone.path) == "0.1.0"


def test_commits_after_a_tag_lead_to_the_next(clone: Clone) -> None:
    clone.git("tag", "v0.1.0")
    clone.commit()
    commit = clone.commit()
    assert of_sources(clone.path) == f"0.1.1.dev2+g{commit}"


def test_what_is_not_committed_is_said(clone: Clone) -> None:
    commit = clone.git("rev-parse", "--short", "HEAD")
    (clone.path / "file").write_text("other\n")
    assert of_sources(clone.path) == f"0.dev1+g{commit}.dirty"
    clone.git("tag", "v0.1.0")
    assert of_sources(clone.path) == "0.1.1.dev0+dirty"


def test_other_tags_do_not_count(clone: Clone) -> None:
    clone.git("tag", "landed")
    assert (of_sources(clone.path) or "").startswith("0.dev1+g")


def test_a_tree_in_somebody_elses_repository_is_not_taken_for_it(clone: Clone) -> None:
    clone.git("tag", "v7.0.0")
    (clone.path / "unpacked").mkdir()
    assert of_sources(clone.path / "unpacked") is None


@pytest.mark.parametrize("tagged", [True, False])
def test_an_archive_knows_its_commit(clone: Clone, tmp_path: Path, *, tagged: bool) -> None:
    if tagged:
        clone.git("tag", "v0.1.0")
    commit = clone.commit()
    archive = tmp_path / "archive.tar"
    clone.git("archive", f"--output={archive}", "HEAD")
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "unpacked", "-xf", archive], check=True)
    wanted = f"0.1.1.dev1+g{commit}" if tagged else f"0.dev0+g{commit}"
    assert of_sources(tmp_path / "unpacked") == wanted


def test_a_bare_copy_does_not_pretend(clone: Clone) -> None:
    clone.git("tag", "v0.1.0")
    shutil.rmtree(clone.path / ".git")
    assert of_sources(clone.path) is None


@pytest.mark.parametrize(
    ("described", "version"),
    [
        ("v1.2.3", "1.2.3"),
        ("v1.2.9-1-gabc1234", "1.2.10.dev1+gabc1234"),
        ("v1.2.3-1-gabc1234-dirty", "1.2.4.dev1+gabc1234.dirty"),
        ("v1.0rc1-4-gabc1234", "1.0rc2.dev4+gabc1234"),
        ("1234567", "0.dev0+g1234567"),
        ("", UNKNOWN),
    ],
)
def test_the_version_is_as_pep_440_wants_it(described: str, version: str) -> None:
    from packaging.version import Version

    assert public(described) == version
    assert str(Version(version)) == version


def test_order_of_versions_is_that_of_their_commits() -> None:
    from packaging.version import Version

    shown = ("abc1234", "v0.1.0", "v0.1.0-1-gfff", "v0.1.0-2-gabc", "v0.1.1rc1", "v0.1.1rc1-3-gabc", "v0.1.1")
    versions = [Version(public(output, "12")) for output in shown]
    assert versions == sorted(versions)


@pytest.mark.skipif(of_sources(ROOT) is None, reason="this tree is no clone of which git would tell")
def test_a_clone_says_what_git_says() -> None:
    argv = [sys.executable, "-m", "nslab", "--version"]
    output = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert output == f"nslab {of_sources(ROOT)}\n"
