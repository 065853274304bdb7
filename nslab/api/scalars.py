"""Plain YAML scalars as Kubernetes reads them: sigs.k8s.io/yaml, which is go-yaml v2 and then JSON.

| YAML | value |
|---|---|
| yes, on, True and the like | true (no, off: false) |
| y, n | text, or true and false for a boolean field: kubectl surprisingly refuses a pod with the name y |
| 010, 0o10, 0x8, 1_000 | whole numbers |
| 1.5, 1e3 | numbers; integers where that is exact, as in JSON |
| 22:22, 2024-01-01T00:00:00Z | text: other YAML 1.1 parsers read 1342 and a time |
| .inf, .nan | text: JSON has no such numbers |
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias

from nslab.api.words import quoted, shown
from nslab.dataclass import dataclass

Scalar: TypeAlias = str | int | float | bool | None

YAML = "tag:yaml.org,2002:"
PLAIN, STR = "", YAML + "str"
"""The tags of scalars; PLAIN: an unquoted one, whose text decides its type."""
KINDS = {bool: "a boolean", int: "a number", float: "a number", type(None): "nothing"}
UNREADABLE = "?"
"""Replaces an unreadable value."""
WORDS: dict[str, Scalar] = {
    **dict.fromkeys("yes Yes YES true True TRUE on On ON".split(), True),  # noqa: SIM905
    **dict.fromkeys("no No NO false False FALSE off Off OFF".split(), False),  # noqa: SIM905
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
LETTERS = {"y": True, "Y": True, "n": False, "N": False}
WHOLE = "[-+]?(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)"
FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
EXACT = 2**53
"""The largest float up to which every whole number is exact."""


def value(text: str) -> Scalar:
    """The value of a plain scalar."""
    if text in WORDS:
        return WORDS[text]
    if text[0] not in "0123456789+-." or len(text) > 400:
        return text
    if text.isdecimal() and text.isascii() and text[0] != "0" and len(text) < 19:
        return int(text)
    # A short cut for addresses, which are the most frequent values.
    return _odd(text) if text.count(".") < 2 and ":" not in text else text


def is_text(text: str) -> bool:
    """Whether a text without quotes is still text. (PyYAML would write 1e3 and 0o17 without quotes.)"""
    return isinstance(value(text), str)


def _odd(text: str) -> Scalar:
    """The value of a scalar that begins like a number."""
    plain = text.replace("_", "")
    if re.fullmatch(WHOLE, plain):
        number = int(re.sub("^([-+]?)0([0-7]+)$", r"\g<1>0o\2", plain), 0)
        if -(2**63) <= number < 2**64:
            return number
    if re.fullmatch(FLOAT, plain):
        real = float(plain)
        if abs(real) != float("inf"):
            return int(real) if real.is_integer() and abs(real) <= EXACT else real
    return text


@dataclass(frozen=True, slots=True)
class Written:
    """The part of a YAML node that an error message needs."""

    id: str
    tag: str
    value: Any


def written(value: Any) -> Written:
    """A node for a value that is in no file."""
    if isinstance(value, dict | list):
        return Written("mapping" if isinstance(value, dict) else "sequence", "", value)
    return Written("scalar", STR, value) if isinstance(value, str) else Written("scalar", PLAIN, json.dumps(value))


def what(node: Any) -> str:
    """The type and the value of a YAML node, in words."""
    if node.id != "scalar":
        return "a mapping" if node.id == "mapping" else "a list"
    found = node.value if node.tag == STR else value(node.value)
    if isinstance(found, str):
        return f"the text {quoted(node.value)}"
    return f"{KINDS[type(found)]} ({shown(node.value)})" if node.value else "nothing"


def looks(node: Any) -> str:
    """The type of an unquoted scalar, in words."""
    return KINDS.get(type(value(node.value)), "text")
