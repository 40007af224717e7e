"""Schedules of PingSources, by the rules of robfig/cron's standard parser."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.manifests.cron import Cron
from embedded.manifests.findings import FieldError

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "timezone", "expected"),
    [
        ("*/15 * * * *", "", datetime(2026, 1, 1, 12, 15, tzinfo=UTC)),
        ("0 3 * * *", "", datetime(2026, 1, 2, 3, 0, tzinfo=UTC)),
        ("0 3 * * *", "America/Sao_Paulo", datetime(2026, 1, 2, 6, 0, tzinfo=UTC)),
        ("30 12 ? * MON-FRI", "", datetime(2026, 1, 1, 12, 30, tzinfo=UTC)),
        ("0 0 1,15 * *", "", datetime(2026, 1, 15, 0, 0, tzinfo=UTC)),
        ("0 0 * jan,Mar sun", "", datetime(2026, 1, 4, 0, 0, tzinfo=UTC)),
        ("50/5 12 * * *", "", datetime(2026, 1, 1, 12, 50, tzinfo=UTC)),
        ("0 0 * * 1/3", "", datetime(2026, 1, 5, 0, 0, tzinfo=UTC)),
        # A step leaves the day of month restricted, so either field may name the day.
        ("0 0 */10 * 5", "", datetime(2026, 1, 2, 0, 0, tzinfo=UTC)),
        ("0 0 11 * 5", "", datetime(2026, 1, 2, 0, 0, tzinfo=UTC)),
        ("@hourly", "", datetime(2026, 1, 1, 13, 0, tzinfo=UTC)),
        ("@daily", "America/Sao_Paulo", datetime(2026, 1, 2, 3, 0, tzinfo=UTC)),
        ("@weekly", "", datetime(2026, 1, 4, 0, 0, tzinfo=UTC)),
    ],
)
def test_cron(schedule: str, timezone: str, expected: datetime) -> None:
    """Standard cron of five fields and the descriptors, in the source's timezone."""
    assert Cron(schedule, timezone).next_after(NOON) == expected


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("0 0 * * 7", "'7' is not a valid day of week, which is 0 to 6; Sunday is 0"),
        ("0 0 * * 5-7", "'7' is not a valid day of week"),
        ("0 0 * * MON-7", "'7' is not a valid day of week"),
        ("60 * * * *", "'60' is not a valid minute, which is 0 to 59"),
        ("* 24 * * *", "'24' is not a valid hour"),
        ("* * 0 * *", "'0' is not a valid day of month"),
        ("* * * 13 *", "'13' is not a valid month"),
        ("* * * MON *", "'MON' is not a valid month"),
        ("* * * * JAN", "'JAN' is not a valid day of week"),
        ("30-10 * * * *", "'30-10' in the minute ends before it begins"),
        ("*/0 * * * *", "the step of '\\*/0' in the minute is 0"),
        ("1,,2 * * * *", "'1,,2' is not a valid minute of standard cron"),
        ("-1 * * * *", "'-1' is not a valid minute of standard cron"),
        ("* * L * *", "'L' is not a valid day of month of standard cron"),
        ("0 0 * * 5#2", "not a valid day of week of standard cron"),
        ("* * * *", "has 4 fields; standard cron has five"),
        ("0 * * * * *", "has 6 fields; standard cron has five"),
        ("x", "has 1 fields"),
        ("", "has 0 fields"),
        ("@every 10s", "not a descriptor that a PingSource accepts"),
        ("@reboot", "not a descriptor that a PingSource accepts"),
        ("0 0 30 2 *", "names a day that no month of it has"),
        ("0 0 99999999999999999999 * *", "is not a valid day of month of standard cron"),
    ],
)
def test_a_schedule_that_knative_would_refuse_is_refused(schedule: str, reason: str) -> None:
    """The error names the wrong field and its allowed values."""
    with pytest.raises(FieldError, match=reason) as refused:
        Cron(schedule)
    assert refused.value.path == ("schedule",)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "a\x00b", "America", "UTC+1"])
def test_an_unknown_timezone_is_refused(name: str) -> None:
    """A timezone that is not in the IANA database is refused."""
    with pytest.raises(FieldError, match="not a timezone") as refused:
        Cron("* * * * *", name)
    assert refused.value.path == ("timezone",)


@given(
    minute=st.sampled_from(["*", "*/7", "3", "10-20/5", "55/2"]),
    hour=st.sampled_from(["*", "*/5", "0", "22-23"]),
    day=st.sampled_from(["*", "?", "1", "*/9", "28-31"]),
    weekday=st.sampled_from(["*", "0", "1-5", "*/2", "SAT"]),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_ticks_follow_each_other(minute: str, hour: str, day: str, weekday: str, start: datetime) -> None:
    """Ticks increase strictly and are at minutes and hours of the schedule."""
    cron = Cron(f"{minute} {hour} {day} * {weekday}")
    ticks = [start]
    for _ in range(4):
        tick = cron.next_after(ticks[-1])
        assert tick is not None
        ticks.append(tick)
    assert all(before < after for before, after in pairwise(ticks))
    minutes = {"*": range(60), "*/7": range(0, 60, 7), "3": [3], "10-20/5": [10, 15, 20], "55/2": [55, 57, 59]}
    assert all(tick.minute in minutes[minute] for tick in ticks[1:])
