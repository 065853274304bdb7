"""The schedules of CronJobs, as Kubernetes' parser (robfig/cron) has them: what is wrong with one, and its times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from nslab.api.duration import duration_fault, duration_seconds
from nslab.api.words import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, tzinfo

DESCRIPTORS = {
    "@annually": "0 0 1 1 *", "@daily": "0 0 * * *", "@hourly": "0 * * * *", "@midnight": "0 0 * * *",
    "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@yearly": "0 0 1 1 *",
}  # fmt: skip
EVERY = "@every "
LARGEST = 2**63 - 1
STARS = ("*", "?")
YEARS = 5
"""So many years are searched for the next time; a schedule of 31 February has none."""
WINDOWS = (3600, 86400, 32 * 86400, 366 * 86400, YEARS * 366 * 86400)
"""Seconds back from now in which the latest time is looked for."""


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
        fault = duration_fault(schedule.removeprefix(EVERY))
        return fault and f"failed to parse duration {schedule}: {fault}"
    return "" if schedule in DESCRIPTORS else f"unrecognized descriptor: {schedule}"


def _check_range(expression: str, field: Field) -> None:
    """Raise ValueError with the parser's words for one of the expressions of a field, such as */5 or 1-5/2."""
    start, end, step = _range(expression, field)
    for fault in _faults(start, end, step, field):
        raise ValueError(f"{fault}: {expression}")


def _range(expression: str, field: Field) -> tuple[int, int, int]:
    """The first and the last number of an expression, and its step; ValueError for what is no number."""
    (span, *steps) = expression.split("/")
    (low, *high) = span.split("-")
    if low in STARS:
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
    return start, end, step


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


class Times(NamedTuple):
    """The numbers of each field of a schedule. `either`: a day counts by its month or by its week, whichever fits."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool


def next_time(schedule: str, after: float, zone: tzinfo | None = None) -> float:
    """The first time of a valid schedule after another, in seconds since 1970; infinity if there is none.

    `zone`: None: this machine's.
    """
    if schedule.startswith(EVERY):
        return float(int(after)) + _seconds(schedule.removeprefix(EVERY))
    times, start = _times(schedule), datetime.fromtimestamp(after, UTC).astimezone(zone)
    for number in range(YEARS * 366):
        day = (start + timedelta(days=number)).date()
        if day.month not in times.months or not _is_day(times, day.day, day.isoweekday() % 7):
            continue
        found = (
            _moment(day, hour, minute, zone, fold)
            for hour in times.hours
            for minute in times.minutes
            for fold in (0, 1)
        )
        if later := [moment for moment in found if moment > after]:
            return min(later)
    return float("inf")


def latest_time(schedule: str, after: float, now: float, zone: tzinfo | None = None) -> float:
    """The last time of a schedule after one time, and not after another; 0 if there is none."""
    if schedule.startswith(EVERY):
        seconds = _seconds(schedule.removeprefix(EVERY))
        return after + (now - after) // seconds * seconds if now - after >= seconds else 0.0
    for window in WINDOWS:
        found, moment = 0.0, next_time(schedule, max(after, now - window), zone)
        while moment <= now:
            found, moment = moment, next_time(schedule, moment, zone)
        if found or after >= now - window:
            return found
    return 0.0


def _times(schedule: str) -> Times:
    fields = DESCRIPTORS.get(schedule, schedule).split()
    numbers = [_numbers(text, field) for text, field in zip(fields, FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = numbers
    either = not (_has_star(fields[2]) or _has_star(fields[4]))
    return Times(tuple(sorted(minutes)), tuple(sorted(hours)), days, months, weekdays, either)


def _numbers(text: str, field: Field) -> frozenset[int]:
    ranges = (_range(expression, field) for expression in filter(None, text.split(",")))
    return frozenset(number for start, end, step in ranges for number in range(start, end + 1, step))


def _has_star(text: str) -> bool:
    """Whether a field excludes nothing; a star with a step of more than one does not count."""
    parts = (expression.split("/") for expression in text.split(","))
    return any(span in STARS and (not step or int(step[0]) <= 1) for span, *step in parts)


def _is_day(times: Times, day: int, weekday: int) -> bool:
    fits = (day in times.days, weekday in times.weekdays)
    return any(fits) if times.either else all(fits)


def _moment(day: date, hour: int, minute: int, zone: tzinfo | None, fold: int) -> float:
    """A time of the clock, in seconds since 1970; 0 if the clock is put forward over it."""
    local = datetime(day.year, day.month, day.day, hour, minute, fold=fold)
    moment = local.replace(tzinfo=zone).timestamp() if zone else local.timestamp()
    back = datetime.fromtimestamp(moment, UTC).astimezone(zone)
    return moment if (back.hour, back.minute) == (hour, minute) else 0.0


def _seconds(duration: str) -> float:
    """A duration of Go's, in whole seconds, at least one."""
    return max(1.0, float(int(duration_seconds(duration))))
