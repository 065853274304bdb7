"""Somebody who walks through a guide: types its commands in order, in as many terminals as it wants."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

from nslab.admission.load import load
from nslab.compiler.placement import assign_addresses
from nslab.lab.course import guide_file
from nslab.lab.find import check_file, folder
from nslab.linux.timeouts import scaled
from nslab.views.guide import read
from tests import prefork
from tests.guidebook import Command, commands, matches, wrong

ROOT = Path(__file__).parents[1]
PAUSE = 0.01
"""Seconds between two looks at what a terminal says."""
MISSING = 4
"""How `nslab doctor LAB` ends where the kernel lacks something for the lab."""
WAITING = re.compile(r"^waiting for nslab .*\n", re.MULTILINE)
"""Who types as fast as a test meets what the command before left to end by itself: pods of a Deployment scaled down."""
WANTED = {"ipvs": {"ip_vs", "dummy"}, "nftables": {"nftables nat"}}
"""What a kernel must have, by doctor's names, for a guide's fences that are about one proxy mode."""


class Learner:
    """Types commands in a folder of its own, with this interpreter's nslab; its calls start at once."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lab = ""
        self.others: dict[int, tuple[subprocess.Popen[bytes], Path, tuple[str, ...]]] = {}
        program = home / "bin" / "nslab"
        prefork.program(program, prefork.python())
        path = f"{program.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "LC_ALL": "C.UTF-8"}

    def walks(self, shipped: str, name: str) -> str:
        """Walk through a shipped lab's guide, under another name for the lab; what is not as shown, or nothing."""
        file = self.home / name / "lab.yaml"  # so `nslab up NAME` finds it
        file.parent.mkdir()
        file.write_text((folder() / shipped / "lab.yaml").read_text().replace(f"name: {shipped}", f"name: {name}"))
        if goals := check_file(folder() / shipped / "lab.yaml"):
            (file.parent / goals.name).write_text(goals.read_text())
        self.lab = name
        guide = folder() / shipped / guide_file("en")
        typed = commands(read(guide, assign_addresses(load(file)), "en"))
        assert typed, f"{guide} has no commands"
        lacking = self.lacking_modes() if any(command.mode for command in typed) else set()
        try:
            for command in typed:
                why = self.types(command) if command.mode not in lacking else ""
                if why:
                    return f"{shipped}, line {command.line}: {command.text}\n{why}"
        finally:
            for terminal in list(self.others):
                self.leaves(terminal)
        return ""

    def lacks(self, shipped: str) -> str:
        """The sentence in which doctor says that a lab cannot run here; "" if it can."""
        done = self._run(f"nslab doctor {shipped}")
        return done.stdout.splitlines()[-1] if done.returncode == MISSING else ""

    def lacking_modes(self) -> set[str]:
        """The proxy modes that this kernel does not have."""
        found = {row["primitive"] for row in json.loads(self._run("nslab doctor -o json").stdout) if not row["works"]}
        return {mode for mode, wanted in WANTED.items() if wanted & found}

    def types(self, command: Command) -> str:
        """Type one command; what is wrong with what it says, or nothing."""
        if command.terminal > 1:
            return self._elsewhere(command)
        done = self._run(self._typed(command))
        if done.returncode != command.status:
            return f"ended with {done.returncode}: {done.stdout}"
        return wrong(command.shown, WAITING.sub("", done.stdout))

    def leaves(self, terminal: int) -> None:
        """Press ^C there, and close it."""
        if terminal in self.others:
            runs = self.others.pop(terminal)[0]
            if runs.poll() is None:
                os.killpg(runs.pid, 15)
            runs.wait(10)

    def _typed(self, command: Command) -> str:
        """The command for a shell of one's own: what is typed on a host goes there."""
        if not command.host:
            return command.text
        return shlex.join(["nslab", "exec", f"{self.lab}/{command.host}", "--", "bash", "-c", command.text])

    def _run(self, line: str) -> subprocess.CompletedProcess[str]:
        argv = ["bash", "-c", line]
        return subprocess.run(argv, cwd=self.home, env=self.environment, text=True, stdout=-1, stderr=-2, timeout=180)

    def _elsewhere(self, command: Command) -> str:
        """In another terminal: wait until it has said what is shown."""
        if command.text:
            self.leaves(command.terminal)
            self.others[command.terminal] = (*self._start(self._typed(command)), command.shown)
        else:
            runs, output, before = self.others[command.terminal]
            self.others[command.terminal] = (runs, output, (*before, *command.shown))
        _, output, shown = self.others[command.terminal]
        deadline = time.monotonic() + scaled(20)
        while not matches(shown, output.read_text()):
            if time.monotonic() > deadline:
                return wrong(shown, output.read_text())
            time.sleep(PAUSE)
        return ""

    def _start(self, line: str) -> tuple[subprocess.Popen[bytes], Path]:
        output = Path(tempfile.mkstemp(dir=self.home)[1])
        with output.open("w") as file:
            argv = ["bash", "-c", line]
            return subprocess.Popen(
                argv, cwd=self.home, env=self.environment, stdout=file, stderr=file, start_new_session=True
            ), output
