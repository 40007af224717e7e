"""The limits of an account, and how they change: a reduction at once, a raise 24 hours after its request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from shared.core.clock import format_time
from shared.records.accounts import LimitDocument, LimitsDocument, RaiseDocument

LimitName = Literal["per_payment", "per_day", "per_night"]
LIMIT_NAMES: Final[tuple[LimitName, ...]] = get_args(LimitName)

_RAISE_DELAY: Final = timedelta(hours=24)
_MOST_RAISES: Final = 10
"""The most raises of a limit that wait. A further one replaces the last of them."""
_NO_LIMIT: Final = float("inf")


def in_force(limit: LimitDocument, now_text: str) -> int | None:
    """Return the limit at a time, in minor units; None for none."""
    value = limit["value"]
    for waiting in limit["raises"]:
        if waiting["effective_at"] <= now_text:
            value = waiting["value"]
    return value


def pending_raises(limit: LimitDocument, now_text: str) -> list[RaiseDocument]:
    """Return the raises that are not in force at a time, in their order."""
    return [waiting for waiting in limit["raises"] if waiting["effective_at"] > now_text]


def changed_limit(limit: LimitDocument, value: int | None, now: datetime) -> LimitDocument:
    """Return the limit after a request for `value`. It is in force at once where it is not a raise.

    The limit in force is never more than what was requested at any time of the last 24 hours. So a lower request lowers
    the raises that wait, and keeps their time.
    """
    now_text = format_time(now)
    present = in_force(limit, now_text)
    if _size(value) <= _size(present):
        return {"value": value, "raises": []}
    raises: list[RaiseDocument] = []
    for waiting in pending_raises(limit, now_text):
        if _size(waiting["value"]) >= _size(value):
            return {"value": present, "raises": [*raises, {"value": value, "effective_at": waiting["effective_at"]}]}
        raises.append(waiting)
    last: RaiseDocument = {"value": value, "effective_at": format_time(now + _RAISE_DELAY)}
    return {"value": present, "raises": [*raises[: _MOST_RAISES - 1], last]}


def _size(limit: int | None) -> float:
    return _NO_LIMIT if limit is None else limit


def new_limits(values: Mapping[LimitName, int | None]) -> LimitsDocument | None:
    """Return the limits of a new account, or None when it has none."""
    if all(values.get(name) is None for name in LIMIT_NAMES):
        return None
    return {
        "per_payment": {"value": values.get("per_payment"), "raises": []},
        "per_day": {"value": values.get("per_day"), "raises": []},
        "per_night": {"value": values.get("per_night"), "raises": []},
    }


def changed_limits(
    limits: LimitsDocument | None, values: Mapping[LimitName, int | None], now: datetime
) -> LimitsDocument | None:
    """Return the limits after a request for the named ones; None for an account that has none."""
    none: LimitDocument = {"value": None, "raises": []}
    before: LimitsDocument = limits or {"per_payment": none, "per_day": none, "per_night": none}

    def after(name: LimitName) -> LimitDocument:
        return changed_limit(before[name], values[name], now) if name in values else before[name]

    changed: LimitsDocument = {
        "per_payment": after("per_payment"),
        "per_day": after("per_day"),
        "per_night": after("per_night"),
    }
    if all(changed[name] == none for name in LIMIT_NAMES):
        return None
    return changed
