"""What is given to people, built as it is given: the sdist out of the clone, the wheel out of the sdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Built(NamedTuple):
    """The two files, and the folder that the sdist was unpacked to."""

    sdist: Path
    wheel: Path
    unpacked: Path

    @property
    def version(self) -> str:
        """Which one, as both names say."""
        return self.wheel.name.split("-")[1]


def build(folder: Path) -> Built:
    """Build both, by the build tools of this environment; no network is asked."""
    sdist = _hatchling(ROOT, "sdist", folder)
    subprocess.run(["tar", "-C", folder, "-xf", sdist], check=True)
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    return Built(sdist, _hatchling(unpacked, "wheel", folder), unpacked)


def _hatchling(tree: Path, target: str, folder: Path) -> Path:
    # Written byte code would be in the next archive; what pytest was told of paths is nobody's business here.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    argv = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(
        argv, cwd=tree, env={**environment, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.tar.gz" if target == "sdist" else "*.whl")
    return made
