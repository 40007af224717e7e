"""The answers of a simulated PIX provider: JSON, and problems in the format of the API Pix."""

from __future__ import annotations

from typing import Any, Final

import orjson
from pydantic import ValidationError

from shared.http.messages import HttpResponse

PROBLEM: Final = "application/problem+json"


def first_error(error: ValidationError) -> str:
    """Return the first error of a body, with its place."""
    found = error.errors(include_url=False, include_input=False)[0]
    return f"{'/'.join(str(part) for part in found['loc'])}: {found['msg']}"


def json_answer(status: int, value: Any) -> HttpResponse:
    """Return JSON."""
    return HttpResponse(status, {"content-type": "application/json"}, orjson.dumps(value))


def problem_answer(status: int, kind: str, detail: str) -> HttpResponse:
    """Return a problem in the rail's format (RFC 7807)."""
    value = {
        "type": f"https://pix.bcb.gov.br/api/v2/error/{kind}",
        "title": kind,
        "status": status,
        "detail": detail,
    }
    return HttpResponse(status, {"content-type": PROBLEM}, orjson.dumps(value))
