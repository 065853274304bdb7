"""Tables of plain text, their columns as wide as they look (Hangul takes two cells), and lines that fit a terminal."""

from __future__ import annotations

import re
import unicodedata
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INDENT = 4
"""Of what goes on in a further line."""
GAP = 2
"""The spaces between columns."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int = 0, gap: int = GAP) -> str:
    """Rows under a header, `gap` spaces between columns, nothing behind the last.

    `columns`: the terminal's; 0: any number, and with these alone `gap` may differ. Texts of many words are wrapped
    inside their column; columns that still do not fit follow in a line of their own, indented.
    """
    every = [header, *rows]
    widths = [max(map(width, column)) for column in zip(*every, strict=True)]
    if columns:
        fitted = fitting([*zip(*every, strict=True)], columns)
        widths = fitted if _room(fitted) <= columns else widths
    lines = _lines_of(widths, columns)
    return "\n".join(line for row in every for part in lines for line in _row(row, widths, part, gap))


def _room(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _lines_of(widths: Sequence[int], columns: int) -> list[list[int]]:
    """Which columns stand in a row's first line, and in each further one."""
    parts: list[list[int]] = []
    for index, room in enumerate(widths):
        before = INDENT + _room([*(widths[one] for one in parts[-1]), room]) if parts else 0
        if parts and (not columns or before - INDENT * (len(parts) == 1) <= columns):
            parts[-1].append(index)
        else:
            parts.append([index])
    return parts


def _row(row: Sequence[str], widths: Sequence[int], part: Sequence[int], gap: int) -> Iterator[str]:
    indent = " " * INDENT if part[0] else ""
    cells = [[*wrapped(row[index], widths[index])] for index in part]
    for line in zip_longest(*cells, fillvalue=""):
        yield (indent + (" " * gap).join(map(padded, line, (widths[index] for index in part)))).rstrip()


def fitting(table: Sequence[Sequence[str]], columns: int) -> list[int]:
    """How wide each column is: the widest ones give way, but none to less than its longest word."""
    widths = [max(map(width, column)) for column in table]
    least = [max(width(word) for cell in column for word in cell.split() or [""]) for column in table]
    while _room(widths) > columns:
        index = max(range(len(widths)), key=lambda index: (widths[index] > least[index], widths[index]))
        if widths[index] == least[index]:
            break
        widths[index] -= 1
    return widths


def wrapped(text: str, columns: int) -> Iterator[str]:
    """A text in lines of so many cells, broken between words; at least one line."""
    line = ""
    for word in text.split(" ") if width(text) > columns else [text]:
        if line and width(line) + 1 + width(word) > columns:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def folded(line: str, columns: int) -> list[str]:
    """A line of columns, or of a picture, in lines of so many cells: broken at gaps; between words, where none is near.

    What goes on below a branch of a picture hangs on the same stem. `columns` 0: any number.
    """
    if not columns:
        return [line]
    return [part for piece in _broken(line, "( {2,})", columns) for part in _broken(piece, "( )", columns)]


def _broken(line: str, gap: str, columns: int) -> list[str]:
    if width(line) <= columns:
        return [line]
    stem = re.match("[│├└─ ]*", line)
    below = (stem[0] if stem else "").translate({ord("├"): "│", ord("└"): " ", ord("─"): " "}) + " " * INDENT
    pieces = re.split(f"(?<=[^ │├└─]){gap}", line)
    lines, current = [], pieces[0]
    for between, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if width(current + between + piece) > columns:
            lines.append(current)
            current = below + piece
        else:
            current += between + piece
    return [*lines, current]


def width(text: str) -> int:
    """The number of cells that a text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def padded(text: str, cells: int) -> str:
    """The text, filled with spaces to a number of cells."""
    return text + " " * (cells - width(text))
