"""The statuses of returns of received payments, and the legal changes between them."""

from __future__ import annotations

from typing import Final

from shared.core.problems import Problem
from shared.records.returns import ReturnDocument, ReturnStatus

RETURN_CHANGES: Final[dict[ReturnStatus, frozenset[ReturnStatus]]] = {
    # `held` is the status of a return because of a fraud, until the report is decided.
    "created": frozenset({"held", "processing", "failed"}),
    "held": frozenset({"processing", "failed"}),
    "processing": frozenset({"settled", "failed"}),
    "settled": frozenset(),
    "failed": frozenset(),
}


def return_is_final(document: ReturnDocument) -> bool:
    """Return whether the return is settled or failed."""
    return not RETURN_CHANGES[document["status"]]


def require_return_change(document: ReturnDocument, status: ReturnStatus) -> None:
    """Raise Problem `illegal_state` unless the return may change to the status."""
    if status not in RETURN_CHANGES[document["status"]]:
        raise Problem("illegal_state", f"The return is {document['status']}; it cannot change to {status}.")
