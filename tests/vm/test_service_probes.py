"""The Services of a whole lab in ipvs mode, asked by everybody."""

from __future__ import annotations

import subprocess
import sys

LAB = "services-ipvs"


def nslab(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "nslab", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_everybody_is_served_in_turns() -> None:
    nslab("up", LAB)
    try:
        said = nslab("probe", LAB)
        assert "all 97 pairs right" in said
        assert "all 95 calls right" in said
        # Every client's 200 connections went to the four endpoints in exact turns.
        assert said.count("in turns: ") == said.count(" 50, ") // 3 == 2
        assert "is as it should be" in nslab("diff", LAB)
    finally:
        nslab("down", LAB)
