"""Validation errors of pydantic as problems that name the invalid fields."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.core.card_numbers import without_card_numbers
from shared.core.problems import FieldError, Problem

_MAX_ERRORS = 50


def body_problem(error: ValidationError) -> Problem:
    """Return Problem `validation_failed` with a JSON pointer (RFC 6901) for each invalid field."""
    errors = [FieldError(pointer=_pointer(found["loc"]), detail=_sentence(found["msg"])) for found in _found(error)]
    return Problem("validation_failed", "The body has invalid fields; `errors` lists them.", errors=errors)


def query_problem(error: ValidationError | str) -> Problem:
    """Return Problem `malformed_request` with the name of each invalid query parameter."""
    if isinstance(error, str):
        return Problem("malformed_request", error)
    errors = [
        FieldError(parameter=str(found["loc"][0]) if found["loc"] else "", detail=_sentence(found["msg"]))
        for found in _found(error)
    ]
    return Problem("malformed_request", "The query has invalid parameters; `errors` lists them.", errors=errors)


def _found(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False, include_input=False)[:_MAX_ERRORS]


def _pointer(location: tuple[int | str, ...]) -> str:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in location if part != "[key]"]
    # The name of a field is the sender's, and may be a card number.
    return without_card_numbers("".join("/" + part for part in parts))


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ")
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
