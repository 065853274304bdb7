"""Each lab's guide, walked as a learner walks it: every command in order, each output held to what is shown."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.compiler.addresses import place
from nslab.lab.find import folder, names
from nslab.lab.load import load
from nslab.views.guide import render
from tests.guidebook import Command, commands, matches, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
GUIDES = [name for name in names() if (folder() / name / "README.md").exists()]


class Learner:
    """Types a guide's commands, in as many terminals as it wants."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.others: dict[int, tuple[subprocess.Popen[bytes], Path, tuple[str, ...]]] = {}
        shim = home / "bin" / "nslab"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m nslab "$@"\n')
        shim.chmod(0o755)
        path = f"{shim.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "LC_ALL": "C.UTF-8"}

    def types(self, command: Command) -> str:
        """Type one command; what is wrong with what it says, or nothing."""
        if command.terminal > 1:
            return self._elsewhere(command)
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=self.home, env=self.environment, text=True, stdout=-1, stderr=-2, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode != command.status:
            return f"ended with {done.returncode}: {done.stdout}"
        return wrong(command.shown, done.stdout)

    def _elsewhere(self, command: Command) -> str:
        """In another terminal: wait until it has said what is shown."""
        if command.text:
            self.leave(command.terminal)
            said = Path(tempfile.mkstemp(dir=self.home)[1])
            with said.open("w") as file:
                argv = ["bash", "-c", command.text]
                runs = subprocess.Popen(
                    argv, cwd=self.home, env=self.environment, stdout=file, stderr=file, start_new_session=True
                )
            self.others[command.terminal] = (runs, said, command.shown)
        else:
            runs, said, before = self.others[command.terminal]
            self.others[command.terminal] = (runs, said, (*before, *command.shown))
        _, said, shown = self.others[command.terminal]
        deadline = time.monotonic() + 10
        while not matches(shown, said.read_text()):
            if time.monotonic() > deadline:
                return wrong(shown, said.read_text())
            os.sched_yield()
        return ""

    def leave(self, terminal: int) -> None:
        """Press ^C there, and close it."""
        if terminal in self.others:
            runs = self.others.pop(terminal)[0]
            if runs.poll() is None:
                os.killpg(runs.pid, 15)
            runs.wait(10)


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Learner]:
    somebody = Learner(tmp_path)
    yield somebody
    for terminal in list(somebody.others):
        somebody.leave(terminal)


@pytest.mark.slow
@pytest.mark.parametrize("shipped", GUIDES)
def test_a_guide_shows_what_is_seen(shipped: str, learner: Learner, lab_name: Callable[[], str]) -> None:
    name = lab_name()
    file = learner.home / name / "lab.yaml"
    file.parent.mkdir()
    file.write_text((folder() / shipped / "lab.yaml").read_text().replace(f"name: {shipped}", f"name: {name}"))
    guide = folder() / shipped / "README.md"
    typed = commands(render(guide.read_text(encoding="utf-8"), place(load(file)), str(guide)))
    missing = learner.types(Command(f"nslab doctor {name} >&2", ("…",), 1, 0))
    if missing:
        pytest.skip(missing)
    for command in typed:
        why = learner.types(command)
        if why:
            pytest.fail(f"{shipped}, line {command.line}: {command.text}\n{why}", pytrace=False)
