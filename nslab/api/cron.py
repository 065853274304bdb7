"""The schedules of CronJobs: what is wrong with one, as the API server's parser (robfig/cron) says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nslab.api.words import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

DESCRIPTORS = ("@annually", "@daily", "@hourly", "@midnight", "@monthly", "@weekly", "@yearly")
EVERY = "@every "
_UNIT = "ns|us|µs|μs|ms|s|m|h"
_AMOUNT = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
DURATION = re.compile(f"[-+]?(?:0|(?:{_AMOUNT}(?:{_UNIT}))+)")
NO_UNIT = re.compile(f"[-+]?(?:{_AMOUNT}(?:{_UNIT}))*{_AMOUNT}")
LARGEST = 2**63 - 1


class Field(NamedTuple):
    """A field of a schedule: its least and its greatest number, and the names of numbers from the least on."""

    least: int
    greatest: int
    names: tuple[str, ...] = ()


FIELDS = (
    Field(0, 59),
    Field(0, 23),
    Field(1, 31),
    Field(1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    Field(0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
"""Minute, hour, day of the month, month, day of the week."""


def schedule_fault(schedule: str) -> str:
    """Why a schedule is invalid; "" if it is not."""
    if schedule.startswith("@"):
        return _descriptor_fault(schedule)
    fields = schedule.split()
    if len(fields) != len(FIELDS):
        return f"expected exactly {len(FIELDS)} fields, found {len(fields)}: [{' '.join(fields)}]"
    try:
        for text, field in zip(fields, FIELDS, strict=True):
            for expression in filter(None, text.split(",")):
                _check_range(expression, field)
    except ValueError as error:
        return str(error)
    return ""


def _descriptor_fault(schedule: str) -> str:
    if schedule.startswith(EVERY):
        duration = schedule.removeprefix(EVERY)
        if DURATION.fullmatch(duration):
            return ""
        what = "missing unit in" if NO_UNIT.fullmatch(duration) else "invalid"
        return f"failed to parse duration {schedule}: time: {what} duration {quoted(duration)}"
    return "" if schedule in DESCRIPTORS else f"unrecognized descriptor: {schedule}"


def _check_range(expression: str, field: Field) -> None:
    """Raise ValueError with the parser's words for one of the expressions of a field, such as */5 or 1-5/2."""
    (span, *steps) = expression.split("/")
    (low, *high) = span.split("-")
    if low in ("*", "?"):
        start, end = field.least, field.greatest
    else:
        start = _number(low, field)
        if len(high) > 1:
            raise ValueError(f"too many hyphens: {expression}")
        end = _number(high[0], field) if high else start
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {expression}")
    step = _number(steps[0], Field(0, 0)) if steps else 1
    if steps and not high:
        end = field.greatest
    for fault in _faults(start, end, step, field):
        raise ValueError(f"{fault}: {expression}")


def _faults(start: int, end: int, step: int, field: Field) -> Iterator[str]:
    if start < field.least:
        yield f"beginning of range ({start}) below minimum ({field.least})"
    if end > field.greatest:
        yield f"end of range ({end}) above maximum ({field.greatest})"
    if start > end:
        yield f"beginning of range ({start}) beyond end of range ({end})"
    if step == 0:
        yield "step of range should be a positive number"


def _number(text: str, field: Field) -> int:
    """A number, or a name of one."""
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.least
    if not re.fullmatch("[-+]?[0-9]+", text):
        raise ValueError(f"failed to parse int from {text}: strconv.Atoi: parsing {quoted(text)}: invalid syntax")
    if len(text) > len(str(LARGEST)) + 1 or abs(int(text)) > LARGEST:
        raise ValueError(f"failed to parse int from {text}: strconv.Atoi: parsing {quoted(text)}: value out of range")
    if (number := int(text)) < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
