"""The transfer and entry resources of the HTTP API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.core.money import Money, money
from shared.http.models import Resource, Time
from shared.ports.ledger import Entry, RecordedTransfer


class TransferLeg(Resource):
    """One side of a transfer: a debit or a credit of one account."""

    account_id: str = Field(description="The ledger account: a payment account, or a system account of the tenant.")
    direction: Literal["debit", "credit"] = Field(
        description="`debit` takes the amount from the account, `credit` adds it."
    )
    amount: Money = Field(description="The amount of this leg, always positive.")


class TransferCause(Resource):
    """The resource that requested a transfer."""

    type: str = Field(description="The kind of resource: `payment`, `refund`, `deposit` or `return`.")
    id: str = Field(description="The id of the payment, refund, deposit or return.")


class LedgerTransfer(Resource):
    """A transfer as the ledger recorded it. It never changes."""

    id: str = Field(description="The transfer's id, `ltr_…`.")
    legs: list[TransferLeg] = Field(
        description="The sides of the transfer. In each currency, the debits and the credits are equal."
    )
    cause: TransferCause = Field(description="The resource that requested the transfer.")
    recorded_at: Time = Field(description="When the ledger recorded the transfer.")


class LedgerEntry(Resource):
    """One leg of a transfer, as an entry of its account."""

    id: str = Field(description="The entry's id: the transfer's id, a dot, and the number of the leg.")
    transfer_id: str = Field(description="The id of the transfer that the entry belongs to.")
    account_id: str = Field(description="The ledger account: a payment account, or a system account of the tenant.")
    direction: Literal["debit", "credit"] = Field(
        description="`debit` takes the amount from the account, `credit` adds it."
    )
    amount: Money = Field(description="The amount of the entry, always positive.")
    balance_after: Money = Field(
        description="The account's balance after this entry: all credits less all debits so far."
    )
    recorded_at: Time = Field(description="When the ledger recorded the entry.")


def transfer_resource(transfer: RecordedTransfer) -> LedgerTransfer:
    """Return the resource of a recorded transfer."""
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
    """Return the resource of an entry. Its id is made of the transfer's id and the number of the leg."""
    return LedgerEntry(
        id=f"{entry.transfer_id}.{entry.leg}",
        transfer_id=entry.transfer_id,
        account_id=entry.account_id,
        direction=entry.direction,
        amount=money(entry.amount, entry.currency),
        balance_after=money(entry.balance_after, entry.currency),
        recorded_at=entry.recorded_at,
    )
