"""The output formats of `get`, as `kubectl get -o` has them: names of formats, and templates (pure)."""

from __future__ import annotations

import json
import re
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.api.cells import NONE
from nslab.api.jsonpath import relaxed
from nslab.api.jsonpath_values import found, rendered
from nslab.api.quantity import thousandths, whole
from nslab.api.words import printable
from nslab.errors import UsageError
from nslab.views.table import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    Object = dict[str, Any]

PLAIN = ("table", "wide", "yaml", "json", "name")
JSONPATH, AS_JSON, COLUMNS = "jsonpath", "jsonpath-as-json", "custom-columns"
TEMPLATES = (JSONPATH, AS_JSON, COLUMNS)
"""The formats that a template follows, `jsonpath={.items}`."""
_DIGITS = re.compile(r"(\d+)")


class Printer(NamedTuple):
    """An output format, and its template ("" if it has none)."""

    format: str
    template: str = ""


def printer(text: str) -> Printer:
    """The format that -o names; UsageError in kubectl's words."""
    name, equals, template = text.partition("=")
    if name in TEMPLATES:
        if name == COLUMNS and not template:
            raise UsageError("error: custom-columns format specified but no custom columns given")
        if not template:
            raise UsageError("error: template format specified but no template given")
        return Printer(name, template)
    if name not in PLAIN or equals:
        allowed = ",".join(sorted((*PLAIN, *TEMPLATES)))
        failed = f'unable to match a printer suitable for the output format "{text}"'
        raise UsageError(f"error: {failed}, allowed formats are: {allowed}")
    return Printer(name)


def by_template(how: Printer, value: Object) -> str:
    """What a template prints of an object or of a List."""
    if how.format == AS_JSON:
        return f"{json.dumps(found(how.template, value), indent=4, ensure_ascii=False)}\n"
    return rendered(how.template, value)


def custom_columns(template: str, objects: Sequence[Object], *, headers: bool = True) -> str:
    """A table of HEADER:PATH,…; "" without rows. UsageError for what is no such column."""
    columns: dict[str, str] = {}
    for word in template.split(","):
        head, colon, path = word.partition(":")
        if not colon:
            raise UsageError(f"error: unexpected custom-columns spec: {word}, expected <header>:<json-path-expr>")
        columns[head] = relaxed(path) if path else ""
    rows = [[_cell(path, one) for path in columns.values()] for one in objects]
    lines = [[*columns], *rows] if headers else rows
    return table(lines[0], lines[1:], gap=3) if lines else ""


def _cell(path: str, one: Object) -> str:
    values = found(path, one) if path else []
    return printable(",".join(map(_as_go_prints, values))) if values else NONE


def _as_go_prints(value: Any) -> str:
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_as_go_prints(value[name])}' for name in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_as_go_prints, value))}]"
    return "<nil>" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def sorted_by(path: str, objects: Sequence[Object]) -> list[Object]:
    """The objects by the value at a path, those without one first. UsageError if none has one."""
    way = relaxed(path)
    values = [found(way, one)[:1] for one in objects]
    if objects and not any(values):
        raise UsageError(f"error: couldn't find any field with path {json.dumps(way)} in the list of objects")
    pairs = sorted(zip(values, range(len(objects)), strict=True), key=cmp_to_key(_compared))
    return [objects[at] for _, at in pairs]


def _compared(one: tuple[list[Any], int], other: tuple[list[Any], int]) -> int:
    """Negative if `one` comes first: numbers and quantities by size, texts with their numbers by size."""
    (first, _), (second, _) = one, other
    if not first or not second:
        return bool(first) - bool(second)
    sizes = _size(first[0]), _size(second[0])
    left, right = sizes if None not in sizes else (_natural(first[0]), _natural(second[0]))
    return bool(left > right) - bool(left < right)


def _size(value: Any) -> Any:
    if isinstance(value, int | float):
        return float(value)
    return thousandths(value) / 1000 if isinstance(value, str) and whole(value) is not None else None


def _natural(value: Any) -> Any:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(str(value)) if part]
