"""Schedules of CronJobs, and the parser's words for those that are none."""

from __future__ import annotations

import pytest

from nslab.api.cron import schedule_fault


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *", "*/5 0 1,15 * 1-5", "0 0 ? * SUN", "0 22 * jan-MAR/2 1-5", "5/15 * * * *", "@daily",
        "@every 1h30m", "@every 1.5s", " 0  0 1 1 0 ", "0-59/59 * * * *", ", * * * *", "@every 0",
    ],
)  # fmt: skip
def test_valid(schedule: str) -> None:
    assert schedule_fault(schedule) == ""


MANY = "9" * 30


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("0 * * * * *", "expected exactly 5 fields, found 6: [0 * * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("30-10 * * * *", "beginning of range (30) beyond end of range (10): 30-10"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("*/2/3 * * * *", "too many slashes: */2/3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("* * * * mon-xyz", 'failed to parse int from xyz: strconv.Atoi: parsing "xyz": invalid syntax'),
        (
            "9" * 30 + " * * * *",
            f'failed to parse int from {"9" * 30}: strconv.Atoi: parsing "{"9" * 30}": value out of range',
        ),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
        ("@every 5", 'failed to parse duration @every 5: time: missing unit in duration "5"'),
    ],
)
def test_invalid(schedule: str, fault: str) -> None:
    assert schedule_fault(schedule) == fault
