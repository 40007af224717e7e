"""Statement lines: one per movement of a payment account, made from the ledger's facts alone.

A line's id is its place: account, time, number. So a period, a point in time and a page are all ranges of ids, and
finding the balance of long ago costs no more than finding today's.
"""

from __future__ import annotations

from typing import Final, Literal, TypedDict

from shared.ports.documents import Collection, Query

# "." joins the parts of a line's id; "/" is the character after it and so ends a range of ids.
_JOINT: Final = "."
_BEYOND: Final = "/"


class LineDocument(TypedDict):
    """A statement line. `sequence` is the ledger's number of the entry among the account's; amounts are minor units
    of `currency`; `line_id` is the id that the outside sees."""

    id: str
    tenant_id: str
    version: int
    line_id: str
    account_id: str
    sequence: int
    recorded_at: str
    direction: Literal["debit", "credit"]
    amount: int
    balance_after: int
    currency: str
    transfer_id: str
    payment_id: str | None
    counterparty_account_id: str | None
    description: str | None


LINES: Final[Collection[LineDocument]] = Collection("statement_lines", read_rarely=True, grows_by=_JOINT)


def place(account_id: str, recorded_at: str, sequence: int) -> str:
    """A line's id. The ledger's time never goes backwards along an account, so this order is the ledger's own."""
    return f"{account_id}{_JOINT}{recorded_at}{_JOINT}{sequence:020d}"


def in_period(account_id: str, since: str | None, until: str | None) -> Query:
    """An account's lines from `since` (inclusive) to `until` (exclusive), oldest first."""
    start = f"{account_id}{_JOINT}{since or ''}"
    end = f"{account_id}{_JOINT}{until}" if until is not None else f"{account_id}{_BEYOND}"
    return Query(ranges={"id": (start, end)})


def last_up_to(account_id: str, at: str) -> Query:
    """The last line recorded at or before a time."""
    start, end = f"{account_id}{_JOINT}", f"{account_id}{_JOINT}{at}{_BEYOND}"
    return Query(ranges={"id": (start, end)}, newest_first=True, limit=1)
