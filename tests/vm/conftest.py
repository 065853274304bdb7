"""Tests of this folder run under the kernel that `nslab vm` boots, all of them in one boot.

Outside, each test is a stand-in that shows how the real one went inside, where the same pytest runs the same tests: so
the closing line of the run outside counts them all. Inside (NSLAB_VM is set) they are ordinary tests, as root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from nslab.errors import Missing
from nslab.linux.vm import boot as vm

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
UNIT = HERE.parent / "unit"
REPORT = "NSLAB_VM_REPORT"
"""Where the run inside writes, line by line: a kernel that dies says so by what is not there."""
DEADLINE = 900
"""Seconds for all of them: three times what they take on two quiet cores, twice what they take beside the rest."""


class Seen(NamedTuple):
    """How one test went inside."""

    outcome: str
    text: str


class StandIn(pytest.Item):
    """Outside: the name of a test, and how it went inside."""

    boot: Boot

    def runtest(self) -> None:
        seen = self.boot.results().get(self.nodeid) or Seen("lost", self.boot.words())
        if seen.outcome == "skipped":
            pytest.skip(seen.text)
        if seen.outcome != "passed":
            pytest.fail(seen.text, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class Boot:
    """The one boot of a run of the tests, made when its first result is asked for, or before."""

    def __init__(self, tests: Sequence[str], *, early: bool) -> None:
        self.tests, self._early, self._words = tests, early, ""
        self._results: dict[str, Seen] = {}
        self._thread: Thread | None = None
        self._process: subprocess.Popen[str] | None = None

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Tests of tests/unit time nothing and keep one processor busy: the other may boot meanwhile."""
        if self._early and item.path.is_relative_to(UNIT):
            self._begin()

    def pytest_sessionfinish(self) -> None:
        """Nobody waits for it any more, however the run ended."""
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def results(self) -> dict[str, Seen]:
        self._begin().join()
        return self._results

    def words(self) -> str:
        """What was said instead of a result; once, since it is the same for all."""
        words, self._words = self._words, "nslab vm ended before this test did (see the first that is lost)"
        return words

    def _begin(self) -> Thread:
        if self._thread is None:
            self._thread = Thread(target=self._run)
            self._thread.start()
        return self._thread

    def _run(self) -> None:
        try:
            vm.kernel_here()
        except Missing as missing:
            self._results = dict.fromkeys(self.tests, Seen("skipped", str(missing)))
            return
        # Of this machine's files the working directory alone is writable in there.
        with tempfile.TemporaryDirectory(prefix=".vm-", dir=ROOT) as folder:
            report = Path(folder, "report")
            pytest_inside = [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", *self.tests]
            command = [sys.executable, "-m", "nslab", "vm", "--", *pytest_inside]
            with report.open("w"), Path(folder, "words").open("w+") as words:
                how = "nslab vm ended before this test did"
                with subprocess.Popen(
                    command,
                    cwd=ROOT,
                    # Beside the rest of the suite it has less than a processor.
                    env={
                        "NSLAB_TIMEOUT_FACTOR": "3",
                        **os.environ,
                        REPORT: str(report),
                        "PYTHONDONTWRITEBYTECODE": "1",
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=words,
                    stderr=words,
                    text=True,
                ) as self._process:
                    try:
                        self._process.wait(DEADLINE)
                    except subprocess.TimeoutExpired:
                        how = f"nslab vm did not end within {DEADLINE} s"
                        self._process.terminate()
                words.seek(0)
                self._words = f"{how}; it said:\n{words.read()}"
            lines = map(json.loads, report.read_text().splitlines())
            self._results = {line["test"]: Seen(line["outcome"], line["text"]) for line in lines}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Mark what is ours and, outside, put a stand-in in the place of each test that is left after deselection."""
    ours = [place for place, item in enumerate(items) if item.path.is_relative_to(HERE)]
    for place in ours:
        items[place].add_marker("vm")
    if vm.INSIDE in os.environ:
        return
    # Among workers of pytest-xdist one has all of ours, and nothing before them.
    boot = Boot([items[place].nodeid for place in ours], early=not hasattr(session.config, "workerinput"))
    if ours:
        session.config.pluginmanager.register(boot)
    for place in ours:
        item = items[place]
        items[place] = StandIn.from_parent(item.parent, name=item.name, nodeid=item.nodeid)
        items[place].boot = boot


@pytest.hookimpl
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Inside: one line per test, and one more if its clearing up failed."""
    if REPORT not in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    text: Any = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    line = {"test": report.nodeid, "outcome": report.outcome, "text": text}
    with Path(os.environ[REPORT]).open("a") as file:
        file.write(json.dumps(line) + "\n")
