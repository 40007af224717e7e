"""Schedules of PingSources: standard cron, as Knative reads it with robfig/cron's ParseStandard.

Five fields (minute, hour, day of month, month, day of week) or a descriptor (`@hourly`), in a timezone. There are no
seconds, no L and no #, and Sunday is only 0. `@every` is refused by Knative's webhook.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from embedded.manifests.findings import FieldError

_DESCRIPTORS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_VALUE: Final = r"[0-9]{1,9}|[A-Za-z]{3}"
_TERM: Final = re.compile(rf"(?:(?P<any>[*?])|(?P<first>{_VALUE})(?:-(?P<last>{_VALUE}))?)(?:/(?P<step>[0-9]{{1,9}}))?")


class _Field(NamedTuple):
    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, tuple("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split())),
    _Field("day of week", 0, 6, tuple("SUN MON TUE WED THU FRI SAT".split())),
)


class Cron:
    """A cron expression of five fields in a time zone; without one, in UTC."""

    def __init__(self, schedule: str, timezone: str = "") -> None:
        """Raises FieldError, with the path `schedule` or `timezone`."""
        from cronsim import CronSim, CronSimError

        self._zone = _zone(timezone)
        self._expression = _standard(schedule)
        try:
            CronSim(self._expression, datetime.now(UTC))
        except CronSimError:
            raise FieldError(f"{schedule!r} names a day that no month of it has", "schedule") from None

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first tick after an instant, in UTC; None when there is none."""
        from cronsim import CronSim

        try:
            tick: datetime = next(CronSim(self._expression, instant.astimezone(self._zone)))
        except StopIteration:
            return None
        return tick.astimezone(UTC)


def _zone(name: str) -> tzinfo:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FieldError(f"{name!r} is not a timezone that this machine knows", "timezone") from None


def _standard(schedule: str) -> str:
    """Return a schedule with all values of each field listed, so that the cron library adds no rules of its own."""
    text = schedule.strip()
    if text.startswith("@"):
        expression = _DESCRIPTORS.get(text.lower())
        if expression is None:
            raise FieldError(f"{text!r} is not a descriptor that a PingSource accepts", "schedule")
        return expression
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise FieldError(f"{schedule!r} has {len(fields)} fields; standard cron has five", "schedule")
    return " ".join(_listed(field, part) for field, part in zip(_FIELDS, fields, strict=True))


def _listed(field: _Field, text: str) -> str:
    values: set[int] = set()
    for term in text.split(","):
        match = _TERM.fullmatch(term)
        if match is None:
            raise FieldError(f"{text!r} is not a valid {field.name} of standard cron", "schedule")
        if match["any"] and int(match["step"] or 1) == 1:
            # Only a single star in one of the two fields of days leaves the choice of days to the other.
            return "*"
        values.update(_values(field, match))
    return ",".join(map(str, sorted(values)))


def _values(field: _Field, match: re.Match[str]) -> Iterator[int]:
    step = int(match["step"] or 1)
    if step == 0:
        raise FieldError(f"the step of {match[0]!r} in the {field.name} is 0", "schedule")
    first = field.least if match["any"] else _number(field, match["first"])
    if match["last"] is not None:
        last = _number(field, match["last"])
    else:
        # `5/10` means every tenth value from 5 to the end.
        last = field.most if match["any"] or match["step"] is not None else first
    if last < first:
        raise FieldError(f"{match[0]!r} in the {field.name} ends before it begins", "schedule")
    return iter(range(first, last + 1, step))


def _number(field: _Field, text: str) -> int:
    if text.upper() in field.words:
        return field.words.index(text.upper()) + field.least
    if not text.isdigit() or not field.least <= int(text) <= field.most:
        hint = "; Sunday is 0" if field.name == "day of week" and text == "7" else ""
        raise FieldError(
            f"{text!r} is not a valid {field.name}, which is {field.least} to {field.most}{hint}", "schedule"
        )
    return int(text)
