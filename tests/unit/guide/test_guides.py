"""Guides as text: their holes, their two languages, what a terminal shows of them, and the rule for outputs."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from nslab.admission.load import load
from nslab.cli.commands import build
from nslab.compiler.placement import assign_addresses
from nslab.errors import UsageError
from nslab.lab.course import course, guide_file
from nslab.lab.find import COURSE, find, folder, in_course, names, shipped
from nslab.views.guide import Page, number_of, read, render, step
from nslab.views.markdown import lines
from nslab.views.table import width
from tests.guidebook import commands, matches, wrong

if TYPE_CHECKING:
    from pathlib import Path

GUIDES = sorted(folder().glob("*/guide*.md.j2"))
KOREAN = [path for path in GUIDES if path.name == guide_file("ko")]
HANGUL = re.compile("[가-힣]")


@cache
def shown(path: Path) -> str:
    return read(path, assign_addresses(load(path.parent / "lab.yaml")), "ko" if path in KOREAN else "en")


def rendered(text: str, lab: str = "services-iptables") -> str:
    return render(text, assign_addresses(load(folder() / lab / "lab.yaml")), "guide.md.j2")


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_guide_has_no_open_ends(path: Path) -> None:
    text = shown(path)
    assert text.count("\n```") % 2 == 0
    assert [line for line in lines(text, 100) if line[0] == "heading"]
    for lab in re.findall(r"nslab show (\S+) --guide", text):
        assert (folder() / lab / path.name).exists(), f"{lab} has no guide yet"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_guide_tells_of_its_terminals_and_names_nothing_in_vain(path: Path) -> None:
    text, source = shown(path), path.read_text(encoding="utf-8")
    beginning = text.partition("\n## ")[0]
    marks = re.findall(r"\[(\d)\]", beginning)
    others = {str(command.terminal) for command in commands(text) if command.terminal > 1}
    assert (set(marks) == others) or (marks == ["2"] and others > {"2"})
    named = re.findall(r"^\{% set (\w+)", source, re.MULTILINE)
    assert [name for name in named if len(re.findall(rf"\b{name}\b", source)) < 2] == []


@pytest.mark.parametrize("path", KOREAN, ids=lambda path: path.parent.name)
def test_both_languages_type_the_same_and_see_the_same(path: Path) -> None:
    english, korean = shown(path.with_name(guide_file("en"))), shown(path)
    assert [(c.text, c.shown, c.terminal, c.host, c.mode) for c in commands(korean)] == [
        (c.text, c.shown, c.terminal, c.host, c.mode) for c in commands(english)
    ]
    assert len(re.findall("^#", korean, re.MULTILINE)) == len(re.findall("^#", english, re.MULTILINE))
    assert korean.count("> **질문") == english.count("> **Question")
    assert len(HANGUL.findall(korean)) > 500


@pytest.mark.parametrize("path", KOREAN, ids=lambda path: path.parent.name)
def test_a_particle_goes_by_the_value_before_it(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"\}\}`?(?:이|가|은|는|을|를|과|와|으로|로|이고|이며)(?![가-힣]).*", prose) == []


def test_holes_are_filled_from_the_lab() -> None:
    text = (
        "{{ lab.pods['box-1'].address }} {{ cali('box-1') }} {{ chain('default/web:http') }} "
        "{{ endpoint('default/web:http', '20.111.156.1:8080') }} {{ lab.services.web.node_ports.http }} "
        "{{ lab.replicas.web | length }} {{ ns('node1') }} {{ lab.clients.client }}"
    )
    assert rendered(text) == (
        "20.111.156.7 cali86b19242db8 KUBE-SVC-CDGGSHYLG3RE2FKL KUBE-SEP-4H3C2RANNW6DBWDP 31080 4 "
        "nslab.services-iptables.node1 192.168.59.10"
    )


@pytest.mark.parametrize("text", ["{{ lab.pods['no-such'].address }}", "{{ nothing }}", "{% if %}"])
def test_a_hole_that_nothing_fills_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"guide\.md\.j2"):
        rendered(text)


def test_a_terminal_gets_paragraphs_as_wide_as_it_is() -> None:
    prose = "# One\n\nA `b` **c**\nd.\n\n- 가나다 라마바 사아자\n\n"
    text = f"{prose}```console terminal-2 if ipvs\n$ ls\nx  y\n```\n| a | 가 |\n|--|--|\n| ccc | d |\nend\n"
    assert list(lines(text, 16)) == [
        ("heading", "One"),
        ("text", ""),
        ("text", "A `b` c d."),
        ("text", ""),
        ("text", "- 가나다 라마바"),
        ("text", "  사아자"),
        ("text", ""),
        ("output", "  [2, ipvs]"),
        ("command", "    $ ls"),
        ("output", "    x  y"),
        ("text", "a    가"),
        ("text", "---  --"),
        ("text", "ccc  d"),
        ("text", "end"),
    ]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_paragraph_is_wider_than_the_terminal(path: Path) -> None:
    prose = [line for kind, line in lines(shown(path), 80) if kind == "text" and "  " not in line.strip()]
    assert [line for line in prose if width(line) > 80 and " " in line.strip("> -*0123456789.")] == []


def test_show_prints_a_guide_without_colours_into_a_pipe() -> None:
    printed = CliRunner().invoke(build(), ["show", "pause-pod", "--guide", "--lang", "ko"])
    assert printed.exit_code == 0
    assert printed.output.startswith("2. Pause 컨테이너\n")
    assert "    $ nslab up pause-pod\n" in printed.output
    assert "\033" not in printed.output
    assert "{" not in re.sub(r"{{json[^}]*}}", "", printed.output)


def test_show_tells_of_the_guide() -> None:
    printed = CliRunner().invoke(build(), ["show", "kubenet-two-node"]).output.splitlines()[-1]
    assert printed == "Guide 3 of the course: nslab show kubenet-two-node --guide (in Korean: --lang ko)"


@pytest.mark.parametrize(("no_colour", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_bold_headings_unless_its_user_says_no(no_colour: str, coloured: bool) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NO_COLOR": no_colour, "TERM": "xterm"}
    argv = [sys.executable, "-m", "nslab", "show", "pause-pod", "--guide"]
    with subprocess.Popen(argv, stdout=theirs, stderr=subprocess.DEVNULL, env=environment, cwd=folder().parent):
        printed = os.read(ours, 4096).decode()
        os.close(theirs)
        os.close(ours)  # the rest is not read: whoever writes it may not wait for us
    assert printed.startswith("\033[1m2. Pause containers\033[0m" if coloured else "2. Pause containers\r\n")


def test_a_lab_without_a_guide_says_so(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((folder() / "pause-pod" / "lab.yaml").read_text())
    (tmp_path / guide_file("en")).write_text("# About something else\n")
    printed = CliRunner().invoke(build(), ["show", str(file), "--guide"])
    assert isinstance(printed.exception, UsageError)
    assert "has no guide" in str(printed.exception)


BOOK = """\
```console
$ one
a <n> b
…
$ cat <<EOF
> text
> EOF
text
$ quiet  # exits with 3
```
```console terminal-2
$ tcpdump
listening
```
```console terminal-2
a packet
```
```console if ipvs
$ ipvsadm
```
```console terminal-3 if nftables
$ nft monitor
```
"""


def test_a_guide_is_read_as_commands_with_outputs() -> None:
    assert [(c.text, c.shown, c.terminal, c.line, c.status, c.mode) for c in commands(BOOK)] == [
        ("one", ("a <n> b", "…"), 1, 2, 0, ""),
        ("cat <<EOF\ntext\nEOF", ("text",), 1, 5, 0, ""),
        ("quiet  # exits with 3", (), 1, 9, 3, ""),
        ("tcpdump", ("listening",), 2, 12, 0, ""),
        ("", ("a packet",), 2, 16, 0, ""),
        ("ipvsadm", (), 1, 19, 0, "ipvs"),
        ("nft monitor", (), 3, 22, 0, "nftables"),
    ]


@pytest.mark.parametrize(
    ("line", "printed", "right"),
    [
        ("a", "a", True),
        ("a", "a  ", True),
        ("a", "b", False),
        ("a", "a\na", False),
        ("a.c", "abc", False),
        ("…", "x\ny", True),
        ("…", "", True),
        ("a … z", "a b c z", True),
        ("a … z", "a b\nc z", False),
        ("<n> <port>", "1234567 31080", True),
        ("<n>", "x", False),
        ("<mac> at <time>", "ee:ee:ee:ee:ee:ee at 09:45:26.123", True),
        ("<UP> mtu <n>", "<UP> mtu 1480", True),
    ],
)
def test_the_rule_for_what_is_shown(line: str, printed: str, right: bool) -> None:
    assert matches((line,), printed) is right


def test_nothing_shown_means_that_nothing_is_said() -> None:
    assert matches((), "")
    assert not matches((), "a word")


def test_what_is_wrong_points_at_the_line() -> None:
    assert wrong(("a", "b"), "a\nc") == "shown:\n  a\n! b\nbut it said:\n  a\n  c"


def test_every_lab_has_a_guide_in_both_languages() -> None:
    assert [(path.parent.name, path.name) for path in GUIDES] == [
        (name, file) for name in sorted(names()) for file in ("guide.ko.md.j2", "guide.md.j2")
    ]


def test_the_course_is_all_labs_in_the_order_of_one_list() -> None:
    lines = [line for line in (folder() / COURSE).read_text().splitlines() if not line.startswith("#")]
    assert [lab.name for lab in shipped()] == lines
    assert [lab.number for lab in shipped()] == [*range(1, len(lines) + 1)]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_each_guide_has_its_number_what_comes_before_and_what_comes_next(language: str) -> None:
    chapters = course(language)
    for chapter, following in zip(chapters, [*chapters[1:], None], strict=True):
        text = shown(folder() / chapter.lab / guide_file(language))
        assert text.splitlines()[0] == f"# {chapter.number}. {chapter.title}"
        assert chapter.title != chapter.lab
        headings = [int(number) for number in re.findall(rf"^## {chapter.number}\.(\d+) ", text, re.MULTILINE)]
        assert headings == [*range(1, len(headings) + 1)]
        assert text.count("\n## ") == len(headings) + 1, "all but the answers are numbered"
        wanted = re.search(r"^(?:Read first|먼저 볼 것): .*?$\n\n", text, re.MULTILINE | re.DOTALL)
        assert wanted, chapter.lab
        assert all(int(number) < chapter.number for number in re.findall(r"(?:guide|가이드) (\d+)", wanted[0]))
        last = text.splitlines()[-1]
        assert (f" {following.number}. {following.title}, `nslab show {following.lab} " in last) if following else last


def test_a_guide_outside_the_course_has_no_number_and_no_end() -> None:
    assert rendered("# {{ n }} {{ guide('kube-dns') }}\n") == "# 0 0\n"


def test_a_guide_speaks_of_guides_that_there_are() -> None:
    with pytest.raises(UsageError, match="no guide for no-such"):
        render(
            "{{ guide('no-such') }}", assign_addresses(load(folder() / "pause-pod" / "lab.yaml")), "f", Page(course())
        )


def test_one_step_of_a_guide() -> None:
    guide = "# 6. Title\n\nIntro.\n\n## 6.1 One\n\nfirst\n\n## 6.2 Two\n\nsecond\n\n## Answers\n\n1. x\n"
    assert step(guide, "6", "6.1") == "## 6.1 One\n\nfirst\n\n"
    assert step(guide, "6", "2") == "## 6.2 Two\n\nsecond\n\n"
    for wanted in ("6.3", "7.1", "", "Answers"):
        with pytest.raises(UsageError, match=f"has no step '{wanted}'; it has 6.1, 6.2"):
            step(guide, "6", wanted)


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("lab", in_course())
def test_each_step_of_the_course_is_found_by_its_number(lab: str, language: str) -> None:
    template = folder() / lab / guide_file(language)
    guide = read(template, assign_addresses(load(find(lab))), language)
    steps = re.findall(r"^## (\d+\.\d+)", guide, re.MULTILINE)
    assert steps
    assert {number.partition(".")[0] for number in steps} == {str(number_of(template))}
    assert all(step(guide, "", number).startswith(f"## {number}") for number in steps)


def test_what_goes_on_with_a_command_can_be_pasted() -> None:
    """Behind a prompt `>` a line is no command: a shell writes into a file."""
    fence = "```console\n$ for x in 1 2; do\n>   echo $x\n> done\n1\n2\n> 3\n```\n"
    assert [(kind, line) for kind, line in lines(fence, 80)] == [
        ("command", "    $ for x in 1 2; do"),
        ("command", "        echo $x"),
        ("command", "      done"),
        ("output", "    1"),
        ("output", "    2"),
        ("output", "    > 3"),
    ]
