"""A guide's Markdown as lines for a terminal: headings, paragraphs, tables, and fences with commands and outputs."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING

from nslab.views.table import fitting, padded, width

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines(markdown: str, columns: int) -> Iterator[tuple[str, str]]:
    """The lines for a terminal, each with its kind: heading, command, output or text.

    Paragraphs are wrapped at the terminal's width; the contents of fences are only indented.
    """
    text = re.sub(r"<!--.*?-->\n?", "", markdown, flags=re.DOTALL).strip() + "\n"
    for block in re.split(r"(^```[\s\S]*?^```\n|^(?:\|.*\n)+)", text, flags=re.MULTILINE):
        if block.startswith("```"):
            yield from _fence(block.splitlines())
        elif block.startswith("|"):
            yield from (("text", row) for row in _table(block, columns))
        else:
            yield from _prose(block.splitlines(), columns)


def with_marks(markdown: str) -> str:
    """Markdown with a mark above each fence that names its terminal: HTML does not show a fence's first line."""
    return re.sub(r"^```console .+$", lambda fence: f"{_mark(fence[0])}\n\n{fence[0]}", markdown, flags=re.MULTILINE)


def _mark(fence: str) -> str:
    """The mark of a fence, from its first line: another terminal, a host, a condition on the kernel's modes."""
    where = re.findall(r" (?:terminal-|on |if )(\S+)", fence)
    return f"[{', '.join(where)}]" if where else ""


def _fence(block: list[str]) -> Iterator[tuple[str, str]]:
    if mark := _mark(block[0]):
        yield "output", f"  {mark}"
    typed = False
    for line in block[1:-1]:
        # What goes on with a command stands below it without a sign: pasted, `>` would write into a file.
        further = typed and line.startswith("> ")
        typed = line.startswith("$ ") or further
        yield ("command" if typed else "output"), f"    {'  ' + line[2:] if further else line}".rstrip()


def _table(text: str, columns: int) -> Iterator[str]:
    """A table with columns as wide as displayed (Hangul is double width), wrapped where they do not fit."""
    header, _, *body = map(_cells, text.splitlines())
    widths = fitting([*zip(header, *body, strict=True)], columns)
    head = [header, ["-" * cells for cells in widths]] if any(header) else []
    for row in [*head, *body]:
        cells = [[*_broken(cell, room)] for cell, room in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            yield "  ".join(map(padded, line, widths)).rstrip()


def _cells(row: str) -> list[str]:
    """A row's cells; a backslash escapes a bar inside a cell."""
    inner = row.strip().removeprefix("|").removesuffix("|")
    return [_plain(cell.strip().replace("\\|", "|")) for cell in re.split(r"(?<!\\)\|", inner)]


def _prose(block: list[str], columns: int) -> Iterator[tuple[str, str]]:
    paragraph: list[str] = []
    for line in [*block, None]:
        if paragraph and (line is None or _begins(line)):
            yield from (("text", broken) for broken in _broken(" ".join(paragraph), columns))
            paragraph = []
        if line is None:
            return
        if line.startswith("#"):
            yield "heading", _plain(line.lstrip("# "))
        elif line:
            paragraph.append(line.removeprefix("> ").strip() if paragraph else line)
        else:
            yield "text", ""


def _begins(line: str) -> bool:
    """Whether a line begins a new block, so that a paragraph ends before it."""
    return not line or re.match(r"#|\||[-*] |\d+\. |> \*\*|>$", line) is not None


def _plain(text: str) -> str:
    """The text without marks for bold and links; backticks stay, because they delimit commands."""
    return re.sub(r"\*\*(.+?)\*\*", r"\1", re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text))


def _broken(text: str, columns: int) -> Iterator[str]:
    """A paragraph wrapped by words; continuation lines of a list item are indented to its text."""
    found = re.match(r"(> |[-*] |\d+\. |)", text)
    indent = " " * len(found[0]) if found else ""
    line = ""
    for word in _plain(text).split():
        if line and width(line) + 1 + width(word) > columns:
            yield line
            line = indent + word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield line
