"""Words for a shell, there and back through the shells; texts for a reader."""

from __future__ import annotations

import os
import subprocess
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nslab.quote import fill, quote, visible
from tests.slow import often

BYTES = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, exclude_categories=())
"""Bytes that are not UTF-8, as Python has them in file names and arguments."""
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=("Cs",)) | BYTES
ACTIVE = st.sampled_from([*"\n\t\r\x01\x07\x1b\x7f\x85\u202e\u2066\u200b\ufeff\"'`$\\!#&;|<>(){}[]*?~=%, abf019"])
WORDS = st.lists(st.text(ACTIVE | CHARACTERS, max_size=12), min_size=1, max_size=8)
HOSTILE = [
    "X;touch /tmp/x;Y",
    "a\nrm -rf /",
    "$(id)",
    "`id`",
    "-n",
    "",
    "\x1b[2J",
    "\u202egnp.exe",
    "'",
    "\\'",
    "\udcff",
]


def argv(shell: str, line: str) -> list[str]:
    """The words that a program is given of a line, by a shell in the C locale."""
    script = os.fsencode(f"printf '%s\\0' {line}\n")
    output = subprocess.run(
        [shell], input=script, capture_output=True, check=True, env={"LC_ALL": "C", "PATH": os.defpath}
    )
    assert output.stderr == b""
    return [os.fsdecode(word) for word in output.stdout.split(b"\0")[:-1]]


@given(WORDS)
@example(HOSTILE)
@settings(max_examples=often(150), deadline=None)
def test_words_come_back_out_of_bash(words: list[str]) -> None:
    line = " ".join(map(quote, words))
    assert line.isprintable()
    assert argv("bash", line) == words


@given(WORDS)
@example([word for word in HOSTILE if word.isprintable()])
@settings(max_examples=often(150), deadline=None)
def test_printable_words_come_back_out_of_every_shell(words: list[str]) -> None:
    printable = ["".join(filter(str.isprintable, word)) for word in words]
    assert argv("sh", " ".join(map(quote, printable))) == printable


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_every_byte_comes_back_whatever_the_locale(locale: str) -> None:
    words = [bytes([number]) for number in range(1, 256)]
    line = f"printf '%s\\0' {' '.join(quote(os.fsdecode(word)) for word in words)}"
    environment = {"LC_ALL": locale, "PATH": os.defpath}
    output = subprocess.run(["bash"], input=line.encode(), capture_output=True, check=True, env=environment)
    assert output.stdout.split(b"\0")[:-1] == words


def test_what_no_program_can_be_told_is_no_word() -> None:
    for word in ("a\0b", "\ud800"):
        with pytest.raises(ValueError, match=r"NUL|surrogates"):
            quote(word)


def test_plain_words_stay_as_they_are() -> None:
    assert fill("ip -n {} link del {}", "nslab.a.n1", "eth0") == "ip -n nslab.a.n1 link del eth0"
    assert fill("ip netns exec {} {}", "{}", "a b") == "ip netns exec '{}' 'a b'"


@given(st.text(st.characters(exclude_categories=()) | BYTES))
def test_a_terminal_has_nothing_to_obey(text: str) -> None:
    shown = visible(text)
    assert {unicodedata.category(char) for char in shown.replace("\n", "").replace("\t", "")}.isdisjoint(
        {"Cc", "Cf", "Cs", "Zl", "Zp"}
    )
    assert visible(shown) == shown


def test_what_is_shown_of_it() -> None:
    assert (
        visible("\x1b[2J\u202e\x7f\x9b\r\n\t\udcff\U000e0001") == "\\x1b[2J\\u202e\\x7f\\x9b\\x0d\n\t\\xff\\U000e0001"
    )
    assert visible("포드 a b 日") == "포드 a b 日"
