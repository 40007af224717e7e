"""The statuses of deposits, and the legal changes between them."""

from __future__ import annotations

from typing import Final

from shared.core.problems import Problem
from shared.records.deposits import DepositDocument, DepositStatus

DEPOSIT_CHANGES: Final[dict[DepositStatus, frozenset[DepositStatus]]] = {
    "created": frozenset({"settled", "failed"}),
    "settled": frozenset(),
    "failed": frozenset(),
}


def require_deposit_change(deposit: DepositDocument, status: DepositStatus) -> None:
    """Raise Problem `illegal_state` unless the deposit may change to the status."""
    if status not in DEPOSIT_CHANGES[deposit["status"]]:
        raise Problem("illegal_state", f"The deposit is {deposit['status']}; it cannot change to {status}.")
