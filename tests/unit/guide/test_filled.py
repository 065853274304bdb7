"""The guides as they are committed: each is its template, filled in from the shipped lab by scripts/guides."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nslab.lab.find import names
from tests.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILLED = sorted((ROOT / "labs").glob("*/README*.md"))


def called(root: Path, *arguments: str) -> tuple[int, list[str]]:
    """Call a tree's scripts/guides, but for its set-up; how it ends, and what it names."""
    argv = [sys.executable, "-P", root / "scripts/guides.py", *arguments]
    done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(root)}, text=True, capture_output=True)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_the_committed_guides_are_those_that_the_templates_make() -> None:
    assert [(path.parent.name, path.name) for path in FILLED] == [
        (name, file) for name in sorted(names()) for file in ("README.ko.md", "README.md")
    ]
    assert called(ROOT, "--check") == (0, []), "scripts/guides writes them anew"


def test_what_differs_is_named_and_written_anew(tmp_path: Path) -> None:
    for folder in ("nslab", "labs", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    changed, gone = tmp_path / "labs/kube-dns/README.ko.md", tmp_path / "labs/pause-pod/README.md"
    was = changed.read_text()
    changed.write_text(was.replace("10.96.0.10", "10.96.0.11"))
    gone.unlink()
    named = ["labs/kube-dns/README.ko.md", "labs/pause-pod/README.md"]
    status, output = called(tmp_path, "--check")
    assert (status, sorted(output), gone.exists()) == (1, named, False)
    status, output = called(tmp_path)
    assert (status, sorted(output)) == (0, named)
    assert (changed.read_text(), gone.exists()) == (was, True)
    assert called(tmp_path, "--check") == (0, [])


@pytest.mark.parametrize("path", FILLED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_who_browses_reads_addresses_and_can_paste_commands(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"\{%|\{#|\{\{(?!json)", text) == []
    for kind, block in re.findall(r"^```console(.*?)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        assert [line for line in block.splitlines() if line.startswith("# ")] == [], "a comment, when pasted"
        if kind:
            assert f"]\n\n```console{kind}\n{block}" in text, "where it is typed stands above"
