"""The problems of a simulated PIX provider, in the format of the API Pix."""

from __future__ import annotations

from typing import Final

import orjson

from shared.http.messages import HttpResponse

PROBLEM: Final = "application/problem+json"


def problem_answer(status: int, kind: str, detail: str) -> HttpResponse:
    """Return a problem in the rail's format (RFC 7807)."""
    value = {
        "type": f"https://pix.bcb.gov.br/api/v2/error/{kind}",
        "title": kind,
        "status": status,
        "detail": detail,
    }
    return HttpResponse(status, {"content-type": PROBLEM}, orjson.dumps(value))
