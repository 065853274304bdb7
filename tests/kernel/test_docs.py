"""README and the documents read from top to bottom: each shown command is run, and each shown output is compared.

Each document in a world that nobody else sees, with the labs' own names: a mount namespace whose /run is empty, and a
pid namespace, with which all of it ends. So the state of the labs is a reader's who types everything as it comes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import prefork
from tests.documents import ROOT, TEXTS, Shown, fences, files, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEEDS = {
    "nslab vm --": "User-Mode Linux",
    "iptables": "iptables",
    "=nftables": "nftables nat",
    "kubenet-two-node": "CNI plugins",
}
"""What a command shown needs beyond what every lab does, as `nslab doctor` calls it."""

pytestmark = pytest.mark.root


COMMANDS = [(topic, command) for topic, text in TEXTS.items() for command in shown(text)]


class World:
    """A place for all labs of a document, and a folder for its files."""

    def __init__(self, folder: Path, text: str = "") -> None:
        self.folder = folder
        for name, content in files(text).items():
            (folder / name).write_text(content)
        path = f"{folder}/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        script = "mount -t tmpfs none /run && echo ready && exec sleep infinity"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", script],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.holder.stdout
        assert self.holder.stdout.readline() == "ready\n"
        self.first = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().strip()
        self._within = ("nsenter", "--target", self.first, "--mount", "--pid")
        self._server = prefork.Server(folder, self._within)
        prefork.program(folder / "bin" / "nslab", self._server.python)

    def run(self, line: str) -> tuple[int, str]:
        """One line as a person types it; `nslab` and `scripts/nslab` are this interpreter's."""
        line = line.replace("scripts/nslab", "nslab")
        inside = [*self._within, f"--wdns={self.folder}", "--", "bash", "-c"]
        done = subprocess.run(
            [*inside, line], env=self.environment, text=True, stdout=-1, stderr=-2, check=False, timeout=90
        )
        return done.returncode, done.stdout

    def end(self) -> None:
        """Labs go, with their control groups; all processes in there end with the first one, and so do namespaces."""
        self.run("nslab down --all")
        self._server.close()
        os.kill(int(self.first), signal.SIGKILL)
        self.holder.wait(30)
        assert self.holder.stdout
        self.holder.stdout.close()


@pytest.fixture(scope="module")
def world_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], World]]:
    """A document's world, with its files; that of the document before ends with it."""
    made: dict[str, World] = {}

    def world(topic: str) -> World:
        if topic not in made:
            while made:
                made.popitem()[1].end()
            made[topic] = World(tmp_path_factory.mktemp(topic), TEXTS[topic])
        return made[topic]

    yield world
    while made:
        made.popitem()[1].end()


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What this machine lacks, and what `nslab doctor` says of it."""
    world = World(tmp_path_factory.mktemp("doctor"))
    found = json.loads(world.run("nslab doctor -o json 2>/dev/null")[1])
    world.end()
    return {row["primitive"]: row["problem"] for row in found if not row["works"]}


@pytest.mark.parametrize(
    ("topic", "command"), COMMANDS, ids=[f"{topic}: {command.line[:70]}" for topic, command in COMMANDS]
)
def test_a_shown_command_does_what_is_shown(
    topic: str, command: Shown, world_of: Callable[[str], World], lacking: dict[str, str]
) -> None:
    for part, need in NEEDS.items():
        if part in command.line and need in lacking:
            pytest.skip(f"{need}: {lacking[need]}")
    status, printed = world_of(topic).run(command.line)
    assert status == command.status, printed
    lines = iter([plain(line) for line in printed.splitlines()])
    # Some lines may be left out, but those that are shown come in this order.
    missing = [line for line in map(plain, command.output) if line not in lines]
    assert missing[:1] == [], printed


def test_the_other_kernel_finds_nslab_where_it_came_from(lacking: dict[str, str]) -> None:
    if "User-Mode Linux" in lacking:
        pytest.skip(lacking["User-Mode Linux"])
    environment = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    line = [sys.executable, "-m", "nslab", "vm", "--", "nslab", "--version"]
    done = subprocess.run(line, env=environment, cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["nslab"]), done.stderr


def test_the_ten_lines_of_pytest_pass(tmp_path: Path) -> None:
    (code,) = (block for kind, block in fences(TEXTS["pytest"]) if kind == "python")
    (tmp_path / "test_shown.py").write_text(code)
    shutil.copy(ROOT / "tests/example/mine.yaml", tmp_path)
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(line, cwd=ROOT, text=True, capture_output=True, timeout=120)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def plain(text: str) -> str:
    """Without what differs from run to run: times, ports, and steps, of which a missing driver costs some."""
    text = re.sub(r"[\d.]+ (m?s\b|steps)", r"… \1", text)
    text = re.sub(r":(3[2-9]\d{3}|[4-6]\d{4})\b", ":…", text)  # ports that the kernel chose
    text = re.sub(r"^\d\d:\d\d:\d\d\.\d+ |(?<=\d\.)(3[2-9]\d{3}|[4-6]\d{4})(?= >)|seq \d+(, ack \d+)?", "…", text)
    text = re.sub(r"^ +\d+ +\d+(?=  [ │├└])", "…", text)  # counters of rules
    return re.sub(r" +\d+[sm] +", " … ", text).rstrip()
