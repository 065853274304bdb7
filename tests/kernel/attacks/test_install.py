"""Who can keep a clone from being installed: nobody but those who may write to it, and these not for ever."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.attacks.forgekit import somebody
from tests.kernel.labkit import ROOT, until

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
import fcntl, os, sys
kept = []
for path in sys.argv[1:]:
    try:
        kept.append(os.open(path, os.O_RDONLY))
        fcntl.flock(kept[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        print(path)
    except OSError as error:
        print(path, error.strerror)
print(flush=True)
sys.stdin.read()
"""
PACKAGES = """#!/bin/bash
# In the place of what asks for packages: it says who installs, waits for the gate, and has something missing.
[ "$1" = --tell ] || exit 0
echo begun $PPID >>log
until [ -e gate ]; do /bin/sleep 0.01; done
echo ended $PPID >>log
exit 4
"""
LOCK = ".install.lock"


class Installation:
    """One call of a clone's scripts/install."""

    def __init__(self, script: Path, environment: dict[str, str], file: Path) -> None:
        self._file = file
        with file.open("w") as output:
            self.process = subprocess.Popen([script, "run"], cwd="/", env=environment, stderr=output)
        self.pid = self.process.pid

    def output(self) -> str:
        """All that it has said so far."""
        return self._file.read_text()

    def ended(self) -> tuple[int, str]:
        """Its status when it has ended, and what it said."""
        return self.process.wait(60), self.output()

    def end(self) -> None:
        """However it is."""
        self.process.kill()
        self.process.wait()


class Clone:
    """A clone in which nothing is installed yet, that everybody can read; installing it ends at the packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "nslab").mkdir()
        shutil.copy(ROOT / "nslab/packages.conf", folder / "nslab")
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "scripts/packages").write_text(PACKAGES)
        self.begun: list[Installation] = []

    def install(self, *path: Path) -> Installation:
        """Begin to install, with these folders first on PATH."""
        environment = {**os.environ, "PATH": os.pathsep.join(map(str, (*path, os.environ["PATH"])))}
        output = self.folder / f"said.{len(self.begun)}"
        self.begun.append(Installation(self.folder / "scripts/install", environment, output))
        return self.begun[-1]

    def log(self) -> list[str]:
        """Who has begun, and who has ended."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def open(self) -> None:
        """The gate: whoever installs goes on."""
        (self.folder / "gate").touch()


@pytest.fixture
def clone() -> Iterator[Clone]:
    with tempfile.TemporaryDirectory(prefix="nslab-test-") as folder:
        made = Clone(Path(folder))
        yield made
        made.open()
        for installation in made.begun:
            installation.end()


def test_who_may_only_read_holds_nobody_up(clone: Clone) -> None:
    """An ordinary user with a lock on all that can be had of the clone: folders, the script itself; not on the lock."""
    clone.open()
    assert clone.install().ended() == (4, "")  # from here on all files are there
    (clone.folder / "gate").unlink()
    places = [clone.folder, *clone.folder.rglob("*")]
    user = somebody()
    argv = [sys.executable, "-ISc", HOLD, *map(str, places)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, user=user, group=user, extra_groups=(), cwd="/", **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout
        output = [*iter(holder.stdout.readline, "\n")]
        assert f"{clone.folder}/scripts\n" in output
        process = clone.install()
        until(lambda: f"begun {process.pid}" in clone.log())
        clone.open()
        assert process.ended() == (4, "")
        holder.communicate()
    assert [line for line in output if " " in line] == [f"{clone.folder}/{LOCK} Permission denied\n"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_the_lock_is_its_owners_alone(clone: Clone, umask: int) -> None:
    """Of who owns the clone, also when root was the first to call, whatever his umask."""
    user = somebody()
    os.chown(clone.folder, user, user)
    clone.open()
    before = os.umask(umask)
    try:
        process = clone.install()
    finally:
        os.umask(before)
    assert process.ended() == (4, "")
    status = (clone.folder / LOCK).stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (user, user, 0o600)


def test_two_at_once_are_one_after_the_other(clone: Clone) -> None:
    first = clone.install()
    until(lambda: clone.log() == [f"begun {first.pid}"])
    second = clone.install()
    waiting = f"nslab: waiting for another scripts/install, process {first.pid}\n"
    until(lambda: second.output() == waiting)
    assert clone.log() == [f"begun {first.pid}"]
    clone.open()
    assert [first.ended(), second.ended()] == [(4, ""), (4, waiting)]
    assert clone.log() == [f"{what} {process.pid}" for process in (first, second) for what in ("begun", "ended")]


def test_who_waits_in_vain_says_for_whom(clone: Clone, tmp_path: Path) -> None:
    first = clone.install()
    until(lambda: clone.log() != [])
    (tmp_path / "sleep").write_text("#!/bin/sh\n")  # a quarter of an hour in no time
    (tmp_path / "sleep").chmod(0o755)
    status, output = clone.install(tmp_path).ended()
    held = f"process {first.pid} still holds {clone.folder}/{LOCK}: end it, and call this again"
    waited = f"waiting for another scripts/install, process {first.pid}"
    assert (status, output) == (4, f"nslab: {waited}\nnslab: {held}\n")
    clone.open()
    assert first.ended() == (4, "")


@pytest.mark.parametrize("target", ["there", "absent"])
def test_a_link_in_the_place_of_the_lock_is_not_followed(clone: Clone, tmp_path: Path, target: str) -> None:
    (tmp_path / "there").write_text("dear to somebody\n")
    (clone.folder / LOCK).symlink_to(tmp_path / target)
    output = f"nslab: {clone.folder}/{LOCK} is no file of yours: its owner or root must remove it\n"
    assert clone.install().ended() == (4, output)
    assert (clone.log(), [path.name for path in tmp_path.iterdir()]) == ([], ["there"])
    assert (tmp_path / "there").read_text() == "dear to somebody\n"


def test_who_may_not_write_to_a_clone_is_told(clone: Clone) -> None:
    user = somebody()
    argv = [clone.folder / "scripts/install", "run"]
    done = subprocess.run(argv, cwd="/", user=user, group=user, extra_groups=(), capture_output=True, text=True)
    output = f"nslab: {clone.folder} is not yours: its owner or root must call this once\n"
    assert (done.returncode, done.stdout, done.stderr) == (4, "", output)
    assert not (clone.folder / LOCK).exists()
