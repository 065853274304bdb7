"""Tables of plain text with columns as wide as displayed (Hangul takes two cells)."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a header, two spaces between columns, no trailing spaces."""
    every = [header, *rows]
    widths = [max(map(width, column)) for column in zip(*every, strict=True)]
    return "\n".join("  ".join(map(padded, row, widths)).rstrip() for row in every)


def width(text: str) -> int:
    """The number of cells that a text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def padded(text: str, cells: int) -> str:
    """The text, filled with spaces to a number of cells."""
    return text + " " * (cells - width(text))
