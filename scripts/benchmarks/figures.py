"""Figures: samples of a measurement, with their target (pure: no clock)."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: `samples` in `unit`; empty if it could not be measured, for the reason in `note`.

    `below` is the target: the median must not be above it.
    """

    name: str
    samples: tuple[float, ...]
    unit: str = "ms"
    below: float | None = None
    note: str = ""

    @property
    def median(self) -> float | None:
        """The median of the samples; None without any."""
        return median(self.samples) if self.samples else None

    @property
    def verdict(self) -> str:
        """Whether the target was reached; "" without one."""
        if self.below is None or self.median is None:
            return ""
        return "reached" if self.median <= self.below else "missed"


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that belong together."""

    title: str
    figures: tuple[Figure, ...]


def ratio(name: str, ours: Figure, theirs: Figure, below: float | None = None) -> Figure:
    """The ratio of ours to theirs, pair by pair: a busy machine slows down both of a pair."""
    pairs = zip(ours.samples, theirs.samples, strict=False)
    return Figure(name, tuple(our / their for our, their in pairs), "x", below, theirs.note)


def amount(value: float, unit: str) -> str:
    """A number with three significant digits."""
    if unit == "ms" and value >= 1000:
        return f"{value / 1000:.2f} s"
    if unit == "x":
        return f"{value:.2f} x"
    return f"{value:,.{0 if value >= 100 else 1}f} {unit}"


def rows(group: Group) -> list[list[str]]:
    """The cells of a group's rows: name, median, minimum, maximum, target, verdict."""
    return [
        [
            figure.name,
            figure.note if figure.median is None else amount(figure.median, figure.unit),
            *(amount(end(figure.samples), figure.unit) if figure.samples else "" for end in (min, max)),
            "" if figure.below is None else f"< {amount(figure.below, figure.unit)}",
            figure.verdict,
        ]
        for figure in group.figures
    ]


def table(facts: str, groups: list[Group]) -> str:
    """All groups as plain text."""
    cells = {group.title: rows(group) for group in groups}
    every = [["", "median", "least", "most", "target", ""], *(row for found in cells.values() for row in found)]
    widths = [max(len(row[column]) for row in every) for column in range(6)]
    lines = [facts, "", _line(every[0], widths)]
    for title, found in cells.items():
        lines += ["", title, *(_line(row, widths) for row in found)]
    return "\n".join(lines)


def _line(row: list[str], widths: list[int]) -> str:
    name, *numbers, verdict = row
    right = "  ".join(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=False))
    return f"  {name.ljust(widths[0])}  {right}  {verdict}".rstrip()


def document(facts: str, groups: list[Group]) -> dict[str, Any]:
    """All groups as values for JSON."""
    found = [
        {
            "group": group.title,
            "name": figure.name,
            "unit": figure.unit,
            "median": figure.median,
            "samples": list(figure.samples),
            "below": figure.below,
            "verdict": figure.verdict or None,
            "note": figure.note or None,
        }
        for group in groups
        for figure in group.figures
    ]
    return {"machine": facts, "figures": found}


def machine() -> str:
    """A description of this machine."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cpus = len(os.sched_getaffinity(0))
    return f"Linux {platform.release()}, Python {platform.python_version()}, {cpus} processors, load {load}"
