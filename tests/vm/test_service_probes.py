"""The Services of a whole lab in ipvs mode, asked by everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import nslab

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab


@pytest.mark.lab("services-ipvs")
def test_everybody_is_served_in_turns(lab: RunningLab) -> None:
    done = nslab("probe", lab.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 97 pairs right" in done.stdout
    assert "all 95 calls right" in done.stdout
    # Every client's 200 connections went to the four endpoints in exact turns.
    assert done.stdout.count("in turns: ") == done.stdout.count(" 50, ") // 3 == 2
    assert lab.diff() == []
