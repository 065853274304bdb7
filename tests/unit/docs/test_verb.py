"""`nslab docs`: the list of documents, one of them, and what is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nslab.cli.commands import build
from nslab.cli.docs import topics
from nslab.errors import UsageError
from nslab.views.markdown import lines
from nslab.views.table import width
from tests.documents import ROOT, TEXTS


def test_without_a_topic_each_has_a_line_that_says_what_it_is_about() -> None:
    printed = CliRunner().invoke(build(), ["docs"], env={"COLUMNS": "120"}).output.splitlines()
    assert [line.split()[0] for line in printed[1:]] == topics()
    assert max(map(width, printed)) <= 120
    assert "changelog     What has changed, by release" in printed


def test_the_list_is_to_be_had_as_json() -> None:
    rows = json.loads(CliRunner().invoke(build(), ["docs", "-o", "json"]).output)
    assert [row["topic"] for row in rows] == topics()
    assert [row for row in rows if not 20 < len(row["about"]) < 110 or "\n" in row["about"]] == []


def test_a_topic_is_to_be_had_as_json() -> None:
    answer = json.loads(CliRunner().invoke(build(), ["docs", "install", "-o", "json"]).output)
    assert answer == {"topic": "install", "about": answer["about"], "text": TEXTS["install"]}
    assert answer["about"].startswith("You can run nslab")


@pytest.mark.parametrize("topic", topics())
def test_a_topic_is_shown_as_plain_text_into_a_pipe(topic: str) -> None:
    printed = CliRunner().invoke(build(), ["docs", topic])
    assert printed.exit_code == 0
    assert printed.output.splitlines()[0] == TEXTS[topic].splitlines()[0].removeprefix("# ")
    assert "\033" not in printed.output
    assert "](" not in printed.output
    assert "|---|" not in printed.output


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("servces", "there is no document servces; did you mean services?"),
        ("x/../../secret", "there is no document x/../../secret; `nslab docs` lists what there is"),
    ],
)
def test_a_topic_that_is_not_there_gets_one_sentence(typed: str, why: str) -> None:
    printed = CliRunner().invoke(build(), ["docs", typed])
    assert isinstance(printed.exception, UsageError)
    assert str(printed.exception) == why


def test_a_shell_completes_topics() -> None:
    asked = {"_NSLAB_COMPLETE": "complete_bash", "COMP_WORDS": "nslab docs c", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "nslab"], env={**os.environ, **asked}, cwd=ROOT, text=True, capture_output=True
    )
    assert done.stdout.split() == ["changelog", "cni-authors", "commands", "contributing"]


@pytest.mark.parametrize("topic", topics())
def test_nothing_but_what_is_typed_or_printed_is_wider_than_the_terminal(topic: str) -> None:
    text = [line for kind, line in lines(TEXTS[topic], 90) if kind == "text"]
    assert [line for line in text if width(line) > 90 and not line.startswith("- `")] == []


TABLE = "| a | what |\n|---|---|\n| `x\\|y` | one two three four |\n| z | |\n"
HEADLESS = "| | |\n|---|---|\n| a | b |\n"


@pytest.mark.parametrize(
    ("table", "columns", "shown"),
    [
        (TABLE, 40, ["a      what", "-----  ------------------", "`x|y`  one two three four", "z"]),
        (TABLE, 20, ["a      what", "-----  -------------", "`x|y`  one two three", "       four", "z"]),
        (TABLE, 1, ["a      what", "-----  -----", "`x|y`  one", "       two", "       three", "       four", "z"]),
        (HEADLESS, 40, ["a  b"]),
    ],
)
def test_a_table_gives_way_to_a_narrow_terminal(table: str, columns: int, shown: list[str]) -> None:
    assert [line for _, line in lines(table, columns)] == shown
