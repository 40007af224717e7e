"""Transfers and entries as they are answered."""

from __future__ import annotations

from typing import Literal

from shared.core.money import Money, money
from shared.http.models import Resource
from shared.ports.ledger import Entry, RecordedTransfer


class TransferLeg(Resource):
    """One side of a transfer."""

    account_id: str
    direction: Literal["debit", "credit"]
    amount: Money


class TransferCause(Resource):
    """What a transfer is for."""

    type: str
    id: str


class LedgerTransfer(Resource):
    """A transfer as it stands in the ledger."""

    id: str
    legs: list[TransferLeg]
    cause: TransferCause
    recorded_at: str


class LedgerEntry(Resource):
    """One leg among its account's entries. `balance_after` is credits less debits up to and with it."""

    id: str
    transfer_id: str
    account_id: str
    direction: Literal["debit", "credit"]
    amount: Money
    balance_after: Money
    recorded_at: str


def transfer_resource(transfer: RecordedTransfer) -> LedgerTransfer:
    """The transfer as it is answered."""
    return LedgerTransfer(
        id=transfer.id,
        legs=[
            TransferLeg(
                account_id=entry.account_id,
                direction=entry.direction,
                amount=money(entry.amount, entry.currency),
            )
            for entry in transfer.entries
        ],
        cause=TransferCause(type=transfer.cause.type, id=transfer.cause.id),
        recorded_at=transfer.recorded_at,
    )


def entry_resource(entry: Entry) -> LedgerEntry:
    """The entry as it is answered; its id is its transfer's and the number of the leg."""
    return LedgerEntry(
        id=f"{entry.transfer_id}.{entry.leg}",
        transfer_id=entry.transfer_id,
        account_id=entry.account_id,
        direction=entry.direction,
        amount=money(entry.amount, entry.currency),
        balance_after=money(entry.balance_after, entry.currency),
        recorded_at=entry.recorded_at,
    )
