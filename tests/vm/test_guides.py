"""The guides whose labs want a kernel with ip_vs, or look at the ipip driver's own work, walked there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.learner import Learner

if TYPE_CHECKING:
    from pathlib import Path


# With NSLAB_SLOW set, the ipvs steps of the modes compared, and the guides of tunnels with the real ipip driver, too:
# five minutes more.
SLOW = ["proxy-modes", "calico-two-node", "calico-cross-subnet", "node-port"] if os.environ.get("NSLAB_SLOW") else []


@pytest.mark.parametrize("shipped", ["services-ipvs", *SLOW])
def test_a_guide_shows_what_is_seen(shipped: str, tmp_path: Path) -> None:
    try:
        assert not (wrong := Learner(tmp_path).walks(shipped, "tguide")), wrong
    finally:
        subprocess.run([sys.executable, "-m", "nslab", "down", "tguide"], capture_output=True, check=False)
