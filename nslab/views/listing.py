"""Tables of objects, as `kubectl get` prints them."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nslab.api import tables
from nslab.api.cells import labels
from nslab.api.words import printable
from nslab.lab.selection import resource
from nslab.views.table import padded, table, width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Object = dict[str, Any]

GAP = 3
"""The spaces between columns, as kubectl has them."""
AGES = frozenset(("AGE", "LAST SEEN", "FIRST SEEN"))
AGO = re.compile(r" \(\S+ ago\)")
"""How long ago the last restart was."""


class Listing:
    """How objects are listed. `kinds`: every kind of a lab in one table, by kind and name alone."""

    def __init__(
        self, *, namespaces: bool = False, wide: bool = False, labels: bool = False, kinds: bool = False,
        headers: bool = True,
    ) -> None:  # fmt: skip
        self.namespaces, self.wide, self.labels, self.kinds = namespaces, wide, labels, kinds
        self.headers = headers
        self._seen: dict[tuple[str, ...], dict[str, str]] = {}
        self._widths: dict[str, int] = {}

    def text(self, found: Sequence[Object], now: float) -> str:
        """One table a kind, or nothing."""
        if self.kinds:
            return self._table([self._named(one) for one in found])
        groups = [[*some] for _, some in groupby(found, key=lambda one: str(one["kind"]))]
        rows = [[self._row(one, now, prefix=len(groups) > 1) for one in some] for some in groups]
        every = zip(groups, rows, strict=True)
        self._seen = {_key(one): _unaged(row) for some, of in every for one, row in zip(some, of, strict=True)}
        return "\n\n".join(map(self._table, rows))

    def changed(self, found: Iterable[Object], now: float) -> list[str]:
        """The rows of objects that are new, or no more as they were; before the first of all, their heads."""
        lines = []
        for one in found:
            row = self._row(one, now)
            if self._seen.get(_key(one)) != _unaged(row):
                self._seen[_key(one)] = _unaged(row)
                first = not self._widths
                self._widen([row])
                lines += [self._line(dict(zip(row, row, strict=True)))] * (first and self.headers) + [self._line(row)]
        return lines

    def _line(self, row: dict[str, str]) -> str:
        return (" " * GAP).join(padded(cell, self._widths[head]) for head, cell in row.items()).rstrip()

    def _widen(self, rows: Iterable[dict[str, str]]) -> None:
        """Keep the width of the widest cell so far below each head: rows that follow stand in the same columns."""
        for row in rows:
            for head, cell in row.items():
                least = width(head) if self.headers else 0
                self._widths[head] = max(self._widths.get(head, least), width(cell))

    def _table(self, rows: Sequence[dict[str, str]]) -> str:
        """Rows under their heads; "" without rows."""
        if not rows:
            return ""
        self._widen(rows)
        heads = [*rows[0]]
        lines = [*([heads] if self.headers else []), *([row.get(head, "") for head in heads] for row in rows)]
        return table(lines[0], lines[1:], gap=GAP)

    def _row(self, one: Object, now: float, *, prefix: bool = False) -> dict[str, str]:
        row = {name: printable(cell) if cell else "" for name, cell in tables.row(one, now, wide=self.wide).items()}
        if prefix and "NAME" in row:
            row["NAME"] = f"{resource(one)}/{row['NAME']}"
        if self.namespaces and one["metadata"].get("namespace"):
            row = {"NAMESPACE": one["metadata"]["namespace"], **row}
        return row | ({"LABELS": printable(labels(one["metadata"].get("labels")))} if self.labels else {})

    def _named(self, one: Object) -> dict[str, str]:
        metadata = one["metadata"]
        names = metadata.get("namespace", ""), one["kind"], metadata.get("name", "")
        return dict(zip(("NAMESPACE", "KIND", "NAME"), map(str, names), strict=True))


def _key(one: Object) -> tuple[str, ...]:
    return str(one["kind"]), str(one["metadata"].get("namespace", "")), str(one["metadata"].get("name", ""))


def _unaged(row: dict[str, str]) -> dict[str, str]:
    """A row without what changes as time goes by."""
    return {name: AGO.sub("", cell) for name, cell in row.items() if name not in AGES}
