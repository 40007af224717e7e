"""Days in Brazil: the date in São Paulo, the holidays of banks, and business days.

Holidays of states and cities are not known here. Sources: Lei 662/1949 with Leis 6.802/1980, 10.607/2002 and
14.759/2023 for the national holidays; Resolução CMN 4.880/2020 for the days that are no business days at banks.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_FIXED: Final = ((1, 1), (4, 21), (5, 1), (9, 7), (10, 12), (11, 2), (11, 15), (12, 25))
_BLACK_CONSCIOUSNESS: Final = (11, 20)
_BLACK_CONSCIOUSNESS_SINCE: Final = 2024
_FROM_EASTER: Final = (-48, -47, -2, 60)
"""The days from Easter Sunday to Carnival Monday and Tuesday, Good Friday and Corpus Christi."""
_SATURDAY: Final = 5


def day_in_sao_paulo(moment: datetime) -> date:
    """Return the date in São Paulo of a moment, which has a zone. It is the date of the Banco Central's rules."""
    return moment.astimezone(_zone()).date()


def day_begins(day: date) -> datetime:
    """Return the moment, in UTC, at which a day begins in São Paulo."""
    return datetime.combine(day, time(), _zone()).astimezone(UTC)


def is_business_day(day: date) -> bool:
    """Return whether banks work on a day: it is neither a Saturday, nor a Sunday, nor a holiday."""
    return day.weekday() < _SATURDAY and day not in holidays(day.year)


def next_business_day(day: date) -> date:
    """Return the day itself, if it is a business day, or the first business day after it."""
    while not is_business_day(day):
        day += timedelta(days=1)
    return day


def business_days_between(first: date, last: date) -> int:
    """Return how many business days there are after `first`, up to and including `last`; 0 if `last` is not later."""
    return sum(is_business_day(first + timedelta(days=number)) for number in range(1, (last - first).days + 1))


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[date]:
    """Return the holidays of banks in a year: the national ones, and the movable ones that depend on Easter."""
    fixed = [*_FIXED, *([_BLACK_CONSCIOUSNESS] if year >= _BLACK_CONSCIOUSNESS_SINCE else [])]
    easter = easter_sunday(year)
    return frozenset(
        [date(year, month, day) for month, day in fixed] + [easter + timedelta(days=days) for days in _FROM_EASTER]
    )


def easter_sunday(year: int) -> date:
    """Return Easter Sunday in the Gregorian calendar (J. Meeus, Astronomical Algorithms, chapter 8)."""
    golden = year % 19
    century, of_century = divmod(year, 100)
    moon = (century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 19 * golden + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (of_century // 4) - moon - of_century % 4) % 7
    shift = (golden + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)


@cache
def _zone() -> ZoneInfo:
    # Imported here: a cold start of most functions needs no time zone.
    from zoneinfo import ZoneInfo

    return ZoneInfo("America/Sao_Paulo")
