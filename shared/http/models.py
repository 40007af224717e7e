"""Bases of what crosses the HTTP edge: commands in, queries in, resources out."""

from __future__ import annotations

import re
from typing import Annotated, Final, Generic, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from shared.core.clock import format_time, parse_time


class Command(BaseModel):
    """A request body. Unknown fields are refused, and nothing is converted: a number in quotes is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _digits(value: object) -> object:
    """The value, unless it is text that is a number in another spelling than plain digits."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) is None:
        raise ValueError("not a whole number")
    return value


class ListQuery(BaseModel):
    """Query parameters of a list. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    limit: Annotated[int, BeforeValidator(_digits)] = Field(default=20, ge=1, le=100, description="How many at most")
    cursor: str | None = Field(default=None, max_length=2048, description="`next_cursor` of the page before")


_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,20})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _instant(text: str) -> str:
    """The text's time in the one form that all stored times have."""
    # Python reads more of ISO 8601 than RFC 3339 has, and more with each version.
    if _RFC_3339.fullmatch(text) is None:
        raise ValueError("not a time of RFC 3339")
    try:
        return format_time(parse_time(text))
    except OverflowError:
        raise ValueError("the time is beyond the calendar's end") from None


Instant = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"}), AfterValidator(_instant)]
"""A time in a query, RFC 3339 with an offset; the handler sees it in UTC."""


class PeriodQuery(ListQuery):
    """Query parameters of a list over a period. `from` after `to` is refused."""

    model_config = ConfigDict(populate_by_name=False)

    since: Instant | None = Field(default=None, alias="from", description="Inclusive, RFC 3339")
    until: Instant | None = Field(default=None, alias="to", description="Exclusive, RFC 3339")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError("`from` is after `to`")
        return self


class NoQuery(BaseModel):
    """No query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Resource(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(frozen=True, extra="ignore")


R = TypeVar("R", bound=BaseModel)


class Page(Resource, Generic[R]):
    """One page of a list."""

    data: list[R]
    next_cursor: str | None = None


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a NUL character is not allowed")
    return text


MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
MetadataValue = Annotated[str, StringConstraints(max_length=500), AfterValidator(_no_nul)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=120), AfterValidator(_no_nul)]
Reference = Annotated[str, StringConstraints(max_length=140), AfterValidator(_no_nul)]
Description = Annotated[str, StringConstraints(max_length=500), AfterValidator(_no_nul)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_.:~-]+$")]
