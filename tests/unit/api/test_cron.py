"""The times of CronJobs' schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from nslab.api.cron import latest_time, next_time

NOON = datetime(2026, 3, 4, 12, 0, 30, tzinfo=UTC).timestamp()  # a Wednesday


def shown(moment: float, zone: ZoneInfo | None = None) -> str:
    return f"{datetime.fromtimestamp(moment, zone or UTC):%a %d %b %Y %H:%M:%S}"


@pytest.mark.parametrize(
    ("schedule", "moment"),
    [
        ("* * * * *", "Wed 04 Mar 2026 12:01:00"),
        ("*/5 * * * *", "Wed 04 Mar 2026 12:05:00"),
        ("0 12 * * *", "Thu 05 Mar 2026 12:00:00"),
        ("30 1,13 * * *", "Wed 04 Mar 2026 13:30:00"),
        ("0 0 13 * 5", "Fri 06 Mar 2026 00:00:00"),
        ("0 0 13 * *", "Fri 13 Mar 2026 00:00:00"),
        ("0 0 */2 * 5", "Thu 05 Mar 2026 00:00:00"),
        ("0 0 29 feb *", "Tue 29 Feb 2028 00:00:00"),
        ("15-45/15 8 * * mon-fri", "Thu 05 Mar 2026 08:15:00"),
        ("5/20 * * * ?", "Wed 04 Mar 2026 12:05:00"),
        ("@weekly", "Sun 08 Mar 2026 00:00:00"),
        ("@yearly", "Fri 01 Jan 2027 00:00:00"),
        ("@every 1m30s", "Wed 04 Mar 2026 12:02:00"),
        ("@every 10ms", "Wed 04 Mar 2026 12:00:31"),
    ],
)
def test_the_next_time(schedule: str, moment: str) -> None:
    assert shown(next_time(schedule, NOON, UTC)) == moment


def test_a_day_that_never_comes() -> None:
    assert next_time("0 0 31 2 *", NOON, UTC) == float("inf")


def test_a_clock_that_is_put_forward_and_back() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
    assert shown(next_time("30 2 * * *", spring, berlin), berlin) == "Mon 30 Mar 2026 02:30:00"
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp()
    first = next_time("30 2 * * *", autumn, berlin)
    assert next_time("30 2 * * *", first, berlin) == first + 3600


@pytest.mark.parametrize(
    ("schedule", "ago", "moment"),
    [
        ("* * * * *", 600, "Wed 04 Mar 2026 12:00:00"),
        ("* * * * *", 20, ""),
        ("0 * * * *", 86400 * 900, "Wed 04 Mar 2026 12:00:00"),
        ("0 0 1 1 *", 86400 * 900, "Thu 01 Jan 2026 00:00:00"),
        ("@every 20s", 50, "Wed 04 Mar 2026 12:00:20"),
        ("@every 20s", 10, ""),
    ],
)
def test_the_latest_time(schedule: str, ago: int, moment: str) -> None:
    found = latest_time(schedule, NOON - ago, NOON, UTC)
    assert (shown(found) if found else "") == moment
