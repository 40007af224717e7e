"""The statuses of deposits, and the legal changes between them."""

from __future__ import annotations

from typing import Final

from shared.records.deposits import DepositStatus

DEPOSIT_CHANGES: Final[dict[DepositStatus, frozenset[DepositStatus]]] = {
    "created": frozenset({"settled", "failed"}),
    "settled": frozenset(),
    "failed": frozenset(),
}
