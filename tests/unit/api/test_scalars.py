"""Plain scalars, and whole documents, as Kubernetes reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from nslab.api.documents import documents
from nslab.api.scalars import value
from nslab.api.values import Reader, Source
from nslab.api.words import did_you_mean
from nslab.errors import LabFileError
from nslab.lab.dump import dumper


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[("yes", True), ("on", True), ("True", True), ("no", False), ("off", False), ("FALSE", False)],
        *[("y", "y"), ("N", "N"), ("yEs", "yEs"), ("~", None), ("", None), ("Null", None), ("nULL", "nULL")],
        *[("0", 0), ("010", 8), ("0644", 420), ("0o17", 15), ("0x1F", 31), ("0b11", 3), ("-010", -8), ("+12", 12)],
        *[("1_000", 1000), ("09", 9), ("1.0", 1), ("1.5", 1.5), (".5", 0.5), ("5.", 5), ("1e3", 1000), ("1e-2", 0.01)],
        *[("22:22", "22:22"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), (".inf", ".inf"), (".nan", ".nan")],
        *[("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"), ("1e400", "1e400"), ("9" * 5000, "9" * 5000), ("-", "-")],
        *[("18446744073709551615", 2**64 - 1), ("1.2.3", "1.2.3"), ("0x", "0x"), ("<<", "<<"), ("=", "="), ("_", "_")],
    ],
)
def test_plain_scalars(text: str, found: object) -> None:
    made = value(text)
    assert (made, type(made)) == (found, type(found))


@given(st.text(max_size=12) | st.text("0123456789+-._eExXoObB:", max_size=12))
def test_any_scalar_is_something(text: str) -> None:
    made = value(text)
    assert isinstance(made, str | int | float | bool | None)
    assert isinstance(made, bool | None) or str(made) == str(made).strip() or made == text


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT
TREES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=2), below, max_size=3),
    max_leaves=12,
)


@given(TREES)
@example("0E0")
@example(["0o17", "1e3", "0b1"])
def test_what_is_written_is_read(tree: Any) -> None:
    text = yaml.dump(tree, Dumper=dumper(), allow_unicode=True)
    reader = Reader(Source("f", text))
    (found,) = (reader.read(root) for root in documents(text, "f"))
    assert (found, reader.errors) == (tree, [])


def test_a_suggestion_from_a_file_is_safe_to_print() -> None:
    assert did_you_mean("node2", ["n\u2028ode2"]) == '; did you mean "n\\u2028ode2"?'
    assert did_you_mean("x", ["a\x1b", "b"]) == '; known are "a\\x1b" and b'


def read(text: str) -> Any:
    (node,) = documents(text, "some")
    return Reader(Source("some", text)).read(node)


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.dictionaries(WORDS, WORDS | st.lists(WORDS, max_size=3), max_size=4), st.sampled_from([None, 1]))
@example({"a😀": "😀😀", "b": "\\ud83d\\ude00", "c": "\\\\😀"}, None)
def test_json_is_read_as_json_reads_it(found: dict[str, Any], indent: int | None) -> None:
    """json.dumps writes characters outside the basic plane as two escapes."""
    assert read(json.dumps(found, indent=indent)) == found


def test_a_surrogate_pair_in_yaml() -> None:
    text = 'a: "\\ud83d\\ude00 \\\\ud83d\\\\ude00"\nb: \\ud83d\\ude00\nc: \'\\ud83d\\ude00\'\n"\\ud83d\\ude00": d\n'
    same = r"\ud83d\ude00"
    assert read(text) == {"a": f"😀 {same}", "b": same, "c": same, "😀": "d"}


def test_half_a_pair_is_no_character() -> None:
    with pytest.raises(LabFileError, match="invalid Unicode character escape code"):
        read('{"a": "\\ud83d"}')
    reader = Reader(Source("some", text := '{"a": "\\ud83d\\ude00 \\ude00", "b": c}'))
    (node,) = documents(text, "some")
    reader.read(node)
    assert [error.text for error in reader.errors] == ['a: "😀 \\ude00" has a character that no program can be given']


def test_positions_behind_a_pair() -> None:
    (node,) = documents('{"a": "\\ud83d\\ude00",\n "b": 1}', "some")
    _, (key, _) = node.value
    assert (key.start_mark.line, key.start_mark.column) == (1, 1)
