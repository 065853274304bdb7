"""The README read from top to bottom: each command that it shows is run, and each output that it shows is compared.

All in one world that nobody else sees, with the labs' own names: a mount namespace whose /run is empty, and a pid
namespace, with which all of it ends. So the state of the labs is a reader's who types everything as it comes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
NEEDS = {
    "nslab vm --": "User-Mode Linux",
    "iptables": "iptables",
    "=nftables": "nftables nat",
    "kubenet-two-node": "CNI plugins",
}
"""What a command shown needs beyond what every lab does, as `nslab doctor` calls it."""

pytestmark = pytest.mark.root


class Shown(NamedTuple):
    """A command that the README shows, the status that its comment promises, and the lines that it shows below it."""

    line: str
    status: int
    output: tuple[str, ...] = ()


def shown() -> Iterator[Shown]:
    """All of them, in order."""
    for language, block in re.findall(r"^```(sh|console)\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] if language == "console" else block.splitlines()
        for part in parts:
            line, *output = part.splitlines()
            promised = re.search(r"# exits with (\d+)", line)
            if line != "scripts/test":
                yield Shown(line, int(promised[1]) if promised else 0, tuple(output))


class World:
    """A place for all labs of the README, and a folder for its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
            # Its first line stays, as with a reader who copies the block: problems are told with their line.
            (folder / name).write_text(f"# {name}\n{text}")
        program = folder / "bin" / "nslab"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m nslab "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        script = "mount -t tmpfs none /run && echo ready && exec sleep infinity"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", script],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.holder.stdout
        assert self.holder.stdout.readline() == "ready\n"
        self.first = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().strip()

    def run(self, line: str) -> tuple[int, str]:
        """One line as a person types it; `nslab` and `scripts/nslab` are this interpreter's."""
        line = line.replace("scripts/nslab", "nslab")
        inside = ["nsenter", "--target", self.first, "--mount", "--pid", f"--wdns={self.folder}", "--", "bash", "-c"]
        done = subprocess.run(
            [*inside, line], env=self.environment, text=True, stdout=-1, stderr=-2, check=False, timeout=90
        )
        return done.returncode, done.stdout

    def end(self) -> None:
        """All processes in there end with the first one; with them the namespaces."""
        os.kill(int(self.first), signal.SIGKILL)
        self.holder.wait(30)
        assert self.holder.stdout
        self.holder.stdout.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The README's world, and its files."""
    made = World(tmp_path_factory.mktemp("readme"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def lacking(world: World) -> dict[str, str]:
    """What this machine lacks, and what `nslab doctor` says of it."""
    found = json.loads(world.run("nslab doctor -o json 2>/dev/null")[1])
    return {row["primitive"]: row["what is wrong"] for row in found if row["works"] == "no"}


@pytest.mark.parametrize("command", [*shown()], ids=lambda command: command.line[:70])
def test_a_shown_command_does_what_is_shown(command: Shown, world: World, lacking: dict[str, str]) -> None:
    for part, need in NEEDS.items():
        if part in command.line and need in lacking:
            pytest.skip(f"{need}: {lacking[need]}")
    status, said = world.run(command.line)
    assert status == command.status, said
    lines = iter([plain(line) for line in said.splitlines()])
    # Some lines may be left out, but those that are shown come in this order.
    missing = [line for line in map(plain, command.output) if line not in lines]
    assert missing[:1] == [], said


def test_the_other_kernel_finds_nslab_where_it_came_from(lacking: dict[str, str]) -> None:
    if "User-Mode Linux" in lacking:
        pytest.skip(lacking["User-Mode Linux"])
    environment = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    line = [sys.executable, "-m", "nslab", "vm", "--", "nslab", "--version"]
    done = subprocess.run(line, env=environment, cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["nslab"]), done.stderr


def plain(text: str) -> str:
    """Without what differs from run to run: times, and steps, of which a missing driver costs some."""
    text = re.sub(r"[\d.]+ (m?s\b|steps)", r"… \1", text)
    return re.sub(r" +\d+[sm] +", " … ", text).rstrip()
