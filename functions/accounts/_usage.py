"""What is counted against the limits of an account.

Days and nights are by the clock of São Paulo. A night lasts from 20:00 to 06:00 (the hours of BCB, Resolution 142 of
2021); a payment at night counts in the day too.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from events.failure import Failure
from functions.accounts._limits import LimitName, in_force
from shared.context.context import Context
from shared.core.clock import parse_time
from shared.records.accounts import USAGES, AccountDocument, HoldDocument, UsageDocument

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_NIGHT_BEGINS: Final = 20
_NIGHT_ENDS: Final = 6
_CLOCKS_APART: Final = timedelta(minutes=1)
"""The most by which the clock of another process may be ahead for its day and night to be recognized."""


class Periods(NamedTuple):
    """The day and the night of a time, by their dates in São Paulo; `night` is empty by day."""

    day: str
    night: str


def periods_of(time: datetime) -> Periods:
    """Return the day of a time and the night, which has the date of the day on which it began."""
    local = time.astimezone(_zone())
    if local.hour >= _NIGHT_BEGINS:
        return Periods(local.date().isoformat(), local.date().isoformat())
    if local.hour < _NIGHT_ENDS:
        return Periods(local.date().isoformat(), (local.date() - timedelta(days=1)).isoformat())
    return Periods(local.date().isoformat(), "")


@cache
def _zone() -> ZoneInfo:
    # Imported here: most accounts have no limits.
    from zoneinfo import ZoneInfo

    return ZoneInfo("America/Sao_Paulo")


async def count_or_refuse(ctx: Context, account: AccountDocument, amount: int) -> Failure | None:
    """Count a payment of the account against its limits in the commit, or return the failure when it exceeds one.

    The account has limits. `amount` is in minor units.
    """
    limits = account.get("limits")
    assert limits is not None, "an account without limits counts nothing"
    usage = await ctx.get(USAGES, account["id"])
    periods = _present(usage, ctx.now)
    day, night = amount, amount if periods.night else 0
    if usage is not None and usage["day"] == periods.day:
        day += usage["day_used"]
    if usage is not None and usage["night"] == periods.night:
        night += usage["night_used"]
    used: tuple[tuple[LimitName, int], ...] = (("per_payment", amount), ("per_day", day), ("per_night", night))
    for name, total in used:
        limit = in_force(limits[name], ctx.now_text)
        if limit is not None and total > limit and (name != "per_night" or periods.night):
            return Failure(code="limit_exceeded", detail=f"The limit {name} of the payer's account is {limit}.")
    _store(ctx, account["id"], usage, periods, day, night)
    return None


def _present(usage: UsageDocument | None, now: datetime) -> Periods:
    """Return the day and night in which a payment counts.

    They are those of the usage where another process, whose clock is ahead, has begun them already: to go back would
    lose what it has counted there.
    """
    present, ahead = periods_of(now), periods_of(now + _CLOCKS_APART)
    if usage is None:
        return present
    return Periods(
        ahead.day if usage["day"] == ahead.day else present.day,
        ahead.night if ahead.night and usage["night"] == ahead.night else present.night,
    )


def _store(ctx: Context, account_id: str, usage: UsageDocument | None, periods: Periods, day: int, night: int) -> None:
    if usage is None:
        new: UsageDocument = {
            "id": account_id,
            "tenant_id": ctx.tenant_id,
            "version": 1,
            "day": periods.day,
            "day_used": day,
            "night": periods.night,
            "night_used": night,
        }
        ctx.insert(USAGES, new)
    elif periods.night:
        ctx.update(USAGES, usage, day=periods.day, day_used=day, night=periods.night, night_used=night)
    else:
        # What was counted in the last night stays: for another process, whose clock is behind, it has not ended.
        ctx.update(USAGES, usage, day=periods.day, day_used=day)


async def counted_anew(ctx: Context, account_id: str) -> None:
    """Refuse the commits of payments that were counted before this one, so that they see the limits of this commit."""
    usage = await ctx.get(USAGES, account_id)
    if usage is None:
        _store(ctx, account_id, None, periods_of(ctx.now), 0, 0)
    else:
        ctx.update(USAGES, usage)


async def give_back(ctx: Context, hold: HoldDocument, amount: int) -> None:
    """Count an amount of a hold no more, where its day and night are the present ones. It is in minor units."""
    if not hold.get("limited"):
        return
    usage = await ctx.get(USAGES, hold["account_id"])
    if usage is None:
        return
    periods = periods_of(parse_time(hold["created_at"]))
    day, night = usage["day_used"], usage["night_used"]
    if usage["day"] == periods.day:
        day -= amount
    if periods.night and usage["night"] == periods.night:
        night -= amount
    ctx.update(USAGES, usage, day_used=day, night_used=night)
