"""The reason of a failure, as documents store it."""

from __future__ import annotations

from typing_extensions import TypedDict


class FailureDocument(TypedDict):
    """Why something did not come about; `events.failure.Failure` as it is stored."""

    code: str
    detail: str


def failure_document(code: str, detail: str) -> FailureDocument:
    """A reason as it is stored."""
    return {"code": code, "detail": detail}
