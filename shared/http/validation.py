"""Validation errors of pydantic as problems that name the invalid fields."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.core.card_numbers import without_card_numbers
from shared.core.problems import FieldError, Problem, sentence

_MAX_ERRORS = 50
_JSON_TYPES = {"dict_type": "object", "model_type": "object", "model_attributes_type": "object", "list_type": "array"}


def body_problem(error: ValidationError) -> Problem:
    """Return Problem `validation_failed` with a JSON pointer (RFC 6901) for each invalid field."""
    errors = [FieldError(pointer=_pointer(found["loc"]), detail=_sentence(found, "field")) for found in _found(error)]
    return Problem("validation_failed", "The body has invalid fields; `errors` lists them.", errors=errors)


def query_problem(error: ValidationError | str) -> Problem:
    """Return Problem `malformed_request` with the name of each invalid query parameter."""
    if isinstance(error, str):
        return Problem("malformed_request", error)
    errors = [
        FieldError(parameter=str(found["loc"][0]) if found["loc"] else "", detail=_sentence(found, "parameter"))
        for found in _found(error)
    ]
    return Problem("malformed_request", "The query has invalid parameters; `errors` lists them.", errors=errors)


def _found(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False, include_input=False)[:_MAX_ERRORS]


def _pointer(location: tuple[int | str, ...]) -> str:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in location if part != "[key]"]
    # The name of a field is the sender's, and may be a card number.
    return without_card_numbers("".join("/" + part for part in parts))


def _sentence(found: ErrorDetails, kind: str) -> str:
    """Return the reason as a sentence, in words of JSON where pydantic's are those of Python."""
    if found["type"] == "extra_forbidden":
        return f"There is no {kind} of this name."
    if found["type"] in _JSON_TYPES:
        return f"Input should be a JSON {_JSON_TYPES[found['type']]}."
    text = found["msg"].removeprefix("Value error, ")
    if found["type"] in ("too_short", "too_long"):
        # "Dictionary should have at most 50 items after validation, not 51"
        text = "It" + text.partition(" after validation")[0].removeprefix("Dictionary").removeprefix("List")
    return sentence(text)
