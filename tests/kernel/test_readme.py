"""Each command that the README shows is run, in order, and each output that it shows is compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LAB = "calico-two-node"
WRONG = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: mine}
spec:
  cnii: {plugin: calico}
  proxy: {mode: none}
  nodes: [{name: node1}]
"""

pytestmark = pytest.mark.root


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the README's files; what its commands leave up is taken down."""
    here = tmp_path_factory.mktemp("readme")
    (here / "mine.yaml").write_text(blocks("yaml")[0])
    (here / "wrong.yaml").write_text(WRONG)
    run("nslab down calico-two-node", here)
    yield here
    for name in (LAB, "mine"):
        run(f"nslab down {name}", here)


def run(line: str, here: Path) -> tuple[int, str]:
    """One line as a person types it; `nslab` and `scripts/nslab` are this interpreter's."""
    bin_folder = here / "bin"
    bin_folder.mkdir(exist_ok=True)
    script = bin_folder / "nslab"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m nslab "$@"\n')
    script.chmod(0o755)
    path = f"{bin_folder}:{os.environ['PATH']}:/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    line = line.replace("scripts/nslab", "nslab")
    done = subprocess.run(
        ["bash", "-c", line], cwd=here, env=environment, text=True, stdout=-1, stderr=-2, check=False, timeout=60
    )
    return done.returncode, done.stdout


def shown_commands() -> list[tuple[str, int]]:
    """Every line of the shell blocks, with the status that its comment promises."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line and line != "scripts/test"]
    return [(line, 1 if "# exits with 1" in line else 0) for line in lines]


@pytest.mark.parametrize(("line", "status"), shown_commands(), ids=lambda value: str(value)[:60])
def test_a_shown_command_runs(line: str, status: int, place: Path) -> None:
    got, said = run(line, place)
    assert got == status, said


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.splitlines()[0])
def test_a_shown_output_is_true(block: str, place: Path) -> None:
    command, *shown = block.removeprefix("$ ").splitlines()
    run(f"nslab {'up' if 'probe' in command else 'down'} {LAB}", place)
    said = plain(run(command, place)[1]).splitlines()
    assert [line for line in map(plain, shown) if line not in said] == []


def plain(text: str) -> str:
    """Without what differs from run to run: seconds, and the steps that a missing driver costs."""
    return re.sub(r"up in [\d.]+ s, \d+ steps", "up in … s, … steps", text)
