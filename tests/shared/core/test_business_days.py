"""Days in Brazil: holidays, business days, and the date in São Paulo."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.business_days import (
    business_days_between,
    day_begins,
    day_in_sao_paulo,
    easter_sunday,
    holidays,
    is_business_day,
    next_business_day,
)

DAYS = st.dates(date(1990, 1, 1), date(2100, 12, 31))


@pytest.mark.parametrize(
    "day",
    ["1818-03-22", "1961-04-02", "2000-04-23", "2008-03-23", "2019-04-21", "2024-03-31", "2026-04-05", "2038-04-25"],
)
def test_easter_sunday(day: str) -> None:
    """Easter is on the published dates, the earliest and the latest possible ones among them."""
    assert easter_sunday(date.fromisoformat(day).year) == date.fromisoformat(day)


def test_the_holidays_of_a_year() -> None:
    """The holidays of 2026 are those of the banks' published calendar."""
    assert sorted(f"{day:%m-%d}" for day in holidays(2026)) == [
        "01-01", "02-16", "02-17", "04-03", "04-21", "05-01", "06-04", "09-07", "10-12", "11-02", "11-15", "11-20",
        "12-25",
    ]  # fmt: skip


def test_a_holiday_that_was_made_later() -> None:
    """The Day of Black Consciousness is a national holiday since 2024, and not before."""
    assert date(2024, 11, 20) in holidays(2024)
    assert is_business_day(date(2023, 11, 20))


@given(DAYS)
def test_the_next_business_day(day: date) -> None:
    """The next business day is the day itself or the first one after it, and at most six days later."""
    found = next_business_day(day)
    assert is_business_day(found)
    assert timedelta() <= found - day <= timedelta(days=6)
    assert not any(is_business_day(day + timedelta(days=number)) for number in range((found - day).days))


@given(DAYS, st.integers(0, 60), st.integers(0, 60))
def test_business_days_add_up(day: date, first: int, second: int) -> None:
    """The business days of two consecutive periods are those of the whole period; an empty period has none."""
    middle = day + timedelta(days=first)
    end = middle + timedelta(days=second)
    assert business_days_between(day, end) == business_days_between(day, middle) + business_days_between(middle, end)
    assert business_days_between(end, day) == 0


@given(DAYS)
def test_a_day_begins_at_midnight_in_sao_paulo(day: date) -> None:
    """The moment at which a day begins belongs to that day, and the microsecond before it to the day before."""
    begins = day_begins(day)
    assert day_in_sao_paulo(begins) == day
    assert day_in_sao_paulo(begins - timedelta(microseconds=1)) == day - timedelta(days=1)


def test_the_date_in_sao_paulo_is_not_that_of_utc() -> None:
    """Two in the morning in UTC is still the day before in São Paulo."""
    assert day_in_sao_paulo(datetime(2026, 1, 1, 2, tzinfo=UTC)) == date(2025, 12, 31)
    assert day_begins(date(2026, 1, 1)) == datetime(2026, 1, 1, 3, tzinfo=UTC)
