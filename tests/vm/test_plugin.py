"""The pytest plugin under this kernel: the checks of two labs that need its drivers, run as a person does it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["calico-two-node", "services-ipvs"])
def test_a_shipped_lab_s_checks(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "nslab", "-q", f"labs/{name}"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout + done.stderr
