"""The README is held to the command line: each verb stands in its table, each link and lab exists."""

from __future__ import annotations

import re
from pathlib import Path

from nslab.cli.app import VERBS
from nslab.lab.find import names

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_each_verb_is_documented() -> None:
    section = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `nslab (\w+)", section, re.MULTILINE)
    assert rows == [verb for verb, _ in VERBS]


def test_each_lab_is_documented() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", README, re.MULTILINE)
    assert sorted(rows) == names()


def test_each_verb_has_an_example_in_its_help() -> None:
    for verb, function in VERBS:
        assert f"Example: nslab {verb}" in (function.__doc__ or ""), verb
