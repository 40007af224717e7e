"""Base classes and field types of request bodies, queries and response bodies."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Generic, TypeVar
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    JsonValue,
    SerializeAsAny,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticUseDefault, core_schema

from shared.core.card_numbers import names_card_of_a_scheme
from shared.core.clock import format_time, parse_time


class Command(BaseModel):
    """A request body. Unknown fields are refused, and types are not converted: `"1"` is not accepted for 1."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def refuse_invalid(cls, value: Any) -> None:
        """Raise a more specific Problem than the list of invalid fields, for the JSON value of an invalid body."""


def _digits(value: object) -> object:
    """Raise ValueError for text that pydantic would read as an integer, but that is not plain decimal digits."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) is None:
        raise ValueError("the value must be a whole number of at most 18 digits")
    return value


class ListQuery(BaseModel):
    """The query parameters of a list. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    limit: Annotated[int, BeforeValidator(_digits)] = Field(
        default=20, ge=1, le=100, description="The largest number of items to return."
    )
    cursor: str | None = Field(
        default=None, max_length=2048, description="`next_cursor` of the previous page. Without it, the first page."
    )


_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,20})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _instant(text: str) -> str:
    """Return the time in the form in which all times are stored (UTC, microseconds)."""
    # `datetime.fromisoformat` accepts more than RFC 3339 allows, and more with each version of Python.
    if _RFC_3339.fullmatch(text) is None:
        raise ValueError("the value must be a time of RFC 3339, such as 2026-01-31T12:00:00Z")
    try:
        return format_time(parse_time(text))
    except OverflowError:
        raise ValueError("the time in UTC must lie between the years 1 and 9999") from None


Instant = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"}), AfterValidator(_instant)]
"""A time in a query: RFC 3339 with an offset. The handler receives it in UTC."""

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A time in a response: RFC 3339 in UTC with microseconds, such as `2026-01-31T12:00:00.000000Z`."""
CreatedAt = Annotated[Time, Field(description="When the resource was created.")]
UpdatedAt = Annotated[Time, Field(description="When the resource last changed.")]


class PeriodQuery(ListQuery):
    """The query parameters of a list over a period. `from` after `to` is refused, at `to`."""

    model_config = ConfigDict(populate_by_name=False)

    since: Instant | None = Field(default=None, alias="from", description="Start of the period, inclusive (RFC 3339).")
    until: Instant | None = Field(default=None, alias="to", description="End of the period, exclusive (RFC 3339).")

    @field_validator("until")
    @classmethod
    def _in_order(cls, until: str | None, info: ValidationInfo) -> str | None:
        since = info.data.get("since")
        if since is not None and until is not None and since > until:
            raise ValueError("`from` must not be after `to`")
        return until


class NoQuery(BaseModel):
    """No query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Resource(BaseModel):
    """A response body."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @property
    def subject(self) -> str | None:
        """The id by which a stored response with personal data is found for its erasure; None for one without."""
        return getattr(self, "id", None)


R = TypeVar("R", bound=BaseModel)


class Page(Resource, Generic[R]):
    """One page of a list."""

    # A generic class of pydantic does not pass its docstring to its parametrized classes.
    model_config = ConfigDict(json_schema_extra={"description": "One page of a list."})

    data: list[SerializeAsAny[R]] = Field(description="The items of this page.")
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` to get the next page; null on the last page."
    )

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the page of accounts `AccountPage`: the title of its schema and its name in generated clients."""
        return f"{params[0].__name__}Page"


def _without_card_number(text: str) -> str:
    """Raise ValueError for text with a card number: it would be stored, and shown in statements and webhooks."""
    if names_card_of_a_scheme(text):
        raise ValueError("the text must not contain a card number; a card is named by a token of the card gateway")
    return text


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("the text must not contain a NUL character")
    return text


_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSEEN: Final = frozenset({"Cf", "Zs"})
_READABLE: Final[dict[str, JsonValue]] = {"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"}


def _readable(text: str) -> str:
    """Raise ValueError for text with control characters, and for text without a visible character. Empty text is
    accepted: a field that requires text has a minimum length."""
    if _CONTROL.search(text) is not None:
        raise ValueError("the text must not contain control characters, such as a line break")
    if text and (text.isspace() or (not text.isascii() and all(category(sign) in _UNSEEN for sign in text))):
        raise ValueError("the text must have at least one visible character")
    return text


def _default_if_null(value: object) -> object:
    if value is None:
        raise PydanticUseDefault
    return value


class NullIsDefault:
    """Annotates an optional field with a default: null means the default, like an absent field.

    It must follow the constraints of the field: `Annotated[int, Field(ge=0), NullIsDefault()]`.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        nullable = core_schema.nullable_schema(handler(source))
        return core_schema.no_info_before_validator_function(_default_if_null, nullable)


METADATA: Final = (
    "Your own data, stored and returned unchanged: at most 50 keys of 1 to 40 characters (letters, digits, `_`, `.`, "
    "`-`), each with a text of at most 500 characters. Card numbers are refused."
)
"""The description of a `metadata` field."""
_has_no_card_number = AfterValidator(_without_card_number)
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,40}$"), _has_no_card_number]
MetadataValue = Annotated[str, StringConstraints(max_length=500), AfterValidator(_no_nul), _has_no_card_number]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)]
# Text for people: on a screen, in a statement file, in a log.
_is_readable = (AfterValidator(_readable), _has_no_card_number, Field(json_schema_extra=_READABLE))
Name = Annotated[str, StringConstraints(min_length=1, max_length=120), *_is_readable]
Reference = Annotated[str, StringConstraints(max_length=140), *_is_readable]
Description = Annotated[str, StringConstraints(max_length=500), *_is_readable]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_.:~-]+$")]
