"""NSLAB_TIMEOUT_FACTOR multiplies the times after which nslab gives up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nslab.errors import UsageError
from nslab.linux.timeouts import OLD, VARIABLE, scaled

SHOW = (
    "from nslab.linux.processes.connection import TIMEOUT;"
    "from nslab.app import transition; from nslab.linux.prober import hosts;"
    "print(TIMEOUT, transition.READY_SECONDS, hosts.DEFAULT)"
)


def times(factor: str) -> str:
    """The deadlines of a process that was told to be so patient."""
    return subprocess.run(
        [sys.executable, "-c", SHOW], env={VARIABLE: factor}, capture_output=True, text=True, check=True
    ).stdout


def test_as_usual_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(OLD, raising=False)
    assert scaled(0.3) == 0.3


def test_the_old_name_is_taken_where_the_new_one_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv(OLD, "2")
    assert scaled(0.5) == 1.0
    monkeypatch.setenv(VARIABLE, "4")
    assert scaled(0.5) == 2.0


def test_one_measure_for_all_deadlines() -> None:
    assert times("1") == "10.0 10.0 Timing(deadline=1.0, retry=0.3, lost_after=0.03, goodbye=0.1, at_once=512)\n"
    assert times("20") == "200.0 200.0 Timing(deadline=20.0, retry=6.0, lost_after=0.6, goodbye=2.0, at_once=512)\n"


@pytest.mark.parametrize("text", ["", "much", "0", "-1", "nan", "inf", "0.009", "1001", "1e300"])
def test_what_is_no_measure_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UsageError, match=f"{VARIABLE} is '{text}': expected a factor by which all timeouts grow"):
        scaled(1)
