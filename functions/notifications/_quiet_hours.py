"""Quiet hours: the time of a day in which a user gets no messages."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from typing import Final

BRASILIA: Final = timezone(timedelta(hours=-3), "America/Sao_Paulo")
"""The time of Brasília, without daylight saving time since 2019."""


def end_of_quiet_hours(quiet_from: str | None, quiet_to: str | None, now: datetime) -> datetime | None:
    """Return the end of the quiet hours that `now` is in, in UTC; None outside them.

    The times are `HH:MM` of Brasília; `quiet_from` is quiet and `quiet_to` is not. When `quiet_to` is earlier, the
    quiet hours go over midnight; when the two are the same, there are none.
    """
    if quiet_from is None or quiet_to is None:
        return None
    begin, end = time.fromisoformat(quiet_from), time.fromisoformat(quiet_to)
    here = now.astimezone(BRASILIA)
    clock = here.time()
    is_quiet = begin <= clock < end if begin <= end else clock >= begin or clock < end
    if not is_quiet:
        return None
    ends = datetime.combine(here.date(), end, BRASILIA)
    if ends <= here:
        ends += timedelta(days=1)
    return ends.astimezone(UTC)
