"""The pytest plugin under this kernel: the checks of two labs that need its drivers, run as a person does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# With NSLAB_SLOW set, Calico's with the real ipip driver, too: half a minute more.
SLOW = ["calico-two-node"] if os.environ.get("NSLAB_SLOW") else []


@pytest.mark.parametrize("name", ["services-ipvs", *SLOW])
def test_a_shipped_lab_s_checks(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "nslab", "-p", "no:hypothesispytest", "-q", f"labs/{name}"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout + done.stderr
