"""What is printed of a container that is not ready."""

from __future__ import annotations

import pytest

from nslab.linux.packages import how_to_install
from nslab.linux.processes.agents import NotReady


@pytest.mark.parametrize(
    ("reason", "output"),
    [
        ("exec nc: No such file or directory", ""),
        ("exited with 127", "sh: 1: nc: not found"),
        ("exited with 127", "trying\nbash: line 1: nc: command not found"),
    ],
)
def test_a_missing_program_is_named_with_its_package(reason: str, output: str) -> None:
    first = str(NotReady("n1", "a", "app", reason, output)).splitlines()[0]
    assert first == f"a/app on n1: {reason} ({how_to_install('nc')})"


@pytest.mark.parametrize(
    "reason", ["exec frobnicate: No such file or directory", "exec /bin/nc: No such file", "killed"]
)
def test_what_nobody_knows_has_no_package(reason: str) -> None:
    assert str(NotReady("n1", "a", "app", reason, "")) == f"a/app on n1: {reason}"
