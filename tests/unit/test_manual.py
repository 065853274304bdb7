"""The manual page against the commands it is of, and against the programs that show it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from nslab.cli.commands import tree
from nslab.cli.manual import DESCRIPTION, ENVIRONMENT, EXAMPLES, page
from nslab.cli.verbs import VERBS

ROOT = Path(__file__).parents[2]
TREE = tree()
PAGE = page(TREE, "1.2.3")


def plain(roff: str) -> str:
    """The text without roff's marks, on one line."""
    text = re.sub(r"^\.[A-Z]{1,2}\b(?: 4)?", "", roff, flags=re.MULTILINE)
    text = re.sub(r"\\\[u([0-9A-F]+)]", lambda code: chr(int(code[1], 16)), re.sub(r"\\f[BIR]", "", text))
    return " ".join(text.replace(r"\(dq", '"').replace(r"\(aq", "'").replace(r"\-", "-").replace(r"\&", "").split())


def words(text: str | None) -> str:
    """What --help says, as the page has it."""
    return " ".join((text or "").replace("`", "").split())


def chapter(verb: str) -> str:
    """What the page has under a verb, and its heading."""
    return plain(re.split(r"^\.S[SH]", PAGE.partition(f'.SS "nslab {verb} ')[2], flags=re.MULTILINE)[0])


@pytest.mark.parametrize("verb", [*VERBS])
def test_each_verb_is_there_as_help_has_it(verb: str) -> None:
    command = TREE.commands[verb]
    context = click.Context(command, info_name=verb, parent=click.Context(TREE, info_name="nslab"))
    output = chapter(verb)
    assert " ".join(command.collect_usage_pieces(context)) in output
    for paragraph in (command.help or "").split("\n\n"):
        assert words(paragraph) in output
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    for option in options:
        assert [name for name in (*option.opts, *option.secondary_opts) if not re.search(f" {name}[ ,]", output)] == []
        assert words(option.help) in output


def test_the_order_is_that_of_help() -> None:
    assert re.findall(r'^\.SS "nslab ([\w-]+)', PAGE, re.MULTILINE) == list(TREE.commands)


def test_what_help_has_no_place_for_is_there() -> None:
    headings = re.findall(r"^\.SH (.*)", PAGE, re.MULTILINE)
    assert headings == [
        "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES",
        "SEE ALSO",
    ]  # fmt: skip
    assert words(TREE.epilog) in plain(PAGE)


def test_environment_variables_are_those_that_are_read() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "nslab").rglob("*.py"))
    assert [name for name, _ in ENVIRONMENT if f'"{name}"' not in sources] == []
    # Those that nslab gives its own processes are not a person's business.
    ours = set(re.findall(r'"(NSLAB_[A-Z_]+)"', sources))
    assert ours - {"NSLAB_VM", "NSLAB_PATIENCE"} <= {name for name, _ in ENVIRONMENT}


def test_verbs_said_to_need_no_root_are_those_that_get_none() -> None:
    case = re.search(r'"" \| -\* \| (.*?)\)', (ROOT / "scripts/nslab").read_text())
    assert case
    output = " ".join(DESCRIPTION.split()).rpartition("takes root; ")[2].partition(" do not")[0]
    assert set(re.split(r", | and ", output)) == set(case[1].split(" | ")) & set(TREE.commands)


def test_examples_are_understood() -> None:
    for _, typed in EXAMPLES:
        for line in typed.splitlines():
            _, verb, *words = line.partition(" | ")[0].split()
            TREE.commands[verb].make_context(verb, words)


@pytest.mark.parametrize(
    "argv",
    [("groff", "-ww", "-man", "-Tutf8", "-z"), ("mandoc", "-Tlint"), ("man", "--warnings=w", "-l")],
    ids=lambda argv: argv[0],
)
def test_those_who_show_it_have_nothing_to_complain_of(argv: tuple[str, ...], tmp_path: Path) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    file = tmp_path / "nslab.1"
    file.write_text(PAGE)
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "HOME": str(tmp_path)}
    done = subprocess.run([*argv, file], capture_output=True, text=True, env=environment)
    shown = done.stdout + done.stderr if argv[0] == "mandoc" else done.stderr
    # It is made anew with each version, so it has no date; mandoc would like one.
    complaints = [line for line in shown.splitlines() if "missing date" not in line]
    assert complaints == []
    if argv[0] == "man":
        assert "nslab up [OPTIONS] [LAB|FILE|DIR|-]" in done.stdout
