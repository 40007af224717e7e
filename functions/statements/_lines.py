"""Statement lines: one for each movement of a payment account, made only from the facts of the ledger.

The id of a line is its account, time and sequence number. A period, a point in time and a page are therefore ranges of
ids, and an old balance is found as fast as the present one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from shared.core.ids import derived_id
from shared.ports.documents import Query
from shared.records.statement_lines import ID_SEPARATOR, LineDocument

if TYPE_CHECKING:
    from shared.ports.ledger import Direction, Entry, RecordedTransfer

# "/" is the character after the separator "."; as the end of a range it includes all ids with the separator.
_BEYOND: Final = "/"


def place(account_id: str, recorded_at: str, sequence: int) -> str:
    """Return the id of a line. The ids of an account's lines sort as its ledger entries do, whose times never
    decrease."""
    return f"{account_id}{ID_SEPARATOR}{recorded_at}{ID_SEPARATOR}{sequence:020d}"


def in_period(account_id: str, since: str | None, until: str | None) -> Query:
    """Return the query for an account's lines from `since` (inclusive) to `until` (exclusive), oldest first."""
    start = f"{account_id}{ID_SEPARATOR}{since or ''}"
    end = f"{account_id}{ID_SEPARATOR}{until}" if until is not None else f"{account_id}{_BEYOND}"
    return Query(ranges={"id": (start, end)})


def last_up_to(account_id: str, at: str) -> Query:
    """Return the query for the last line recorded at or before a time."""
    start, end = f"{account_id}{ID_SEPARATOR}", f"{account_id}{ID_SEPARATOR}{at}{_BEYOND}"
    return Query(ranges={"id": (start, end)}, newest_first=True, limit=1)


class Side(Protocol):
    """The side of a transfer: a leg of the fact, or an entry of the ledger."""

    @property
    def account_id(self) -> str:
        """The ledger account."""
        ...

    @property
    def direction(self) -> Direction:
        """Whether the account pays or receives."""
        ...


def counterparty(sides: Iterable[Side], direction: Direction) -> str | None:
    """Return the account of the opposite direction, or None when there are several."""
    others = {side.account_id for side in sides if side.direction != direction}
    return others.pop() if len(others) == 1 else None


def line_id(tenant_id: str, transfer_id: str, leg: int) -> str:
    """Return the id that the API shows for the line of a leg."""
    return derived_id("lin", tenant_id, transfer_id, f"line/{leg}")


def line_of(transfer: RecordedTransfer, entry: Entry) -> LineDocument:
    """Return the line of a ledger entry, as the projection of the transfer's fact stores it."""
    return {
        "id": place(entry.account_id, entry.recorded_at, entry.sequence),
        "tenant_id": transfer.tenant_id,
        "version": 1,
        "line_id": line_id(transfer.tenant_id, transfer.id, entry.leg),
        "account_id": entry.account_id,
        "sequence": entry.sequence,
        "recorded_at": entry.recorded_at,
        "direction": entry.direction,
        "amount": entry.amount,
        "balance_after": entry.balance_after,
        "currency": entry.currency,
        "transfer_id": transfer.id,
        "payment_id": transfer.payment_id,
        "counterparty_account_id": counterparty(transfer.entries, entry.direction),
        "description": transfer.description,
    }
