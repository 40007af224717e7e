"""Answers of a simulated provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from shared.http.messages import HttpResponse

if TYPE_CHECKING:
    from pydantic import ValidationError


def json_response(status: int, value: Any) -> HttpResponse:
    """Return an answer with a JSON body."""
    return HttpResponse(status, {"content-type": "application/json"}, orjson.dumps(value))


def first_error(error: ValidationError) -> str:
    """Return the first error of a body that is not valid: its place and the reason."""
    found = error.errors(include_url=False, include_input=False)[0]
    return f"{'/'.join(str(part) for part in found['loc'])}: {found['msg']}"
