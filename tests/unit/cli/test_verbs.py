"""`nslab --help` is written without click; it is what click would write."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from nslab.cli.commands import tree
from nslab.cli.verbs import VERBS, overview

ROOT = Path(__file__).parents[3]
TREE = tree()


@pytest.mark.parametrize("columns", range(1, 140))
def test_the_overview_is_what_click_writes(columns: int) -> None:
    formatter = click.HelpFormatter(width=max(min(columns, 120) - 2, 50))
    TREE.format_help(click.Context(TREE, info_name="nslab", **TREE.context_settings), formatter)
    assert overview(columns).splitlines() == formatter.getvalue().rstrip("\n").splitlines()


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_summarized_by_the_first_sentence_of_its_help(verb: str) -> None:
    text = " ".join(str(TREE.commands[verb].help).split())
    assert re.split(r"(?<=\.) ", text)[0] == VERBS[verb][1]


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_the_overview_loads_neither_click_nor_typer(words: list[str]) -> None:
    call = [sys.executable, "-P", "-X", "importtime", "-m", "nslab", *words]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "nslab.cli.app" in loaded
    assert loaded & {"click", "typer", "rich", "inspect", "json", "ctypes", "hashlib", "nslab.lab"} == set()
    assert done.stdout.startswith("Usage: nslab ")
