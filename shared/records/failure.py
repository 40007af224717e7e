"""The reason of a failure, as documents store it."""

from __future__ import annotations

from typing_extensions import TypedDict


class FailureDocument(TypedDict):
    """A failure reason, as documents store it; `events.failure.Failure` is the same in events."""

    code: str
    detail: str


def failure_document(code: str, detail: str) -> FailureDocument:
    """Return a failure reason as documents store it."""
    return {"code": code, "detail": detail}
