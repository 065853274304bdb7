"""Parts of error messages about a lab file: paths, quotes, suggestions."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 60
"""Longer words are truncated, so that a message fits on a line."""
FEW = 8
"""The maximum number of known names that a message lists if none is similar."""
CANDIDATES = 200
"""The maximum number of names to compare: a comparison takes microseconds, and a file may have thousands of names."""


def shown(word: str) -> str:
    """The word, safe to print: files are untrusted, and terminals interpret control characters."""
    return _cut(word) if word.isprintable() and word.strip() else quoted(word)


def printable(text: str) -> str:
    """A text of any length as a terminal may have it: nothing in it is obeyed."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def quoted(word: str) -> str:
    """The word in quotes, as YAML text."""
    plain = _cut(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)}"'


def _cut(word: str) -> str:
    return word if len(word) <= WIDTH else word[: WIDTH - 1] + "…"


def nearest(word: str, names: Iterable[str]) -> str:
    """The most similar known name, or ""."""
    if len(word) > WIDTH:
        return ""
    known = {name.lower(): name for name in islice(names, CANDIDATES)}
    match = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return known[match[0]] if match else ""


def did_you_mean(word: str, names: Sequence[str]) -> str:
    """The end of a message about an unknown name: a suggestion or the known names."""
    if near := nearest(word, names):
        return f"; did you mean {shown(near)}?"
    return f"; known are {listed(tuple(map(shown, names)))}" if word and 0 < len(names) <= FEW else ""


def dotted(path: Iterable[int | str]) -> str:
    """A path as text, such as spec.ports[0].nodePort."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path).removeprefix(".")


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def some(names: Sequence[str], most: int = 12) -> str:
    """`a, b, c`, or the first of many: `a, b, c …`."""
    return f"{', '.join(names[:most])}{' …' if len(names) > most else ''}"


def counted(number: int, noun: str) -> str:
    """`1 pod`, `2 pods`, `5 addresses`."""
    if number == 1:
        return f"1 {noun}"
    return (
        f"{number} {noun[:-1]}ies" if noun.endswith("cy") else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"
    )
