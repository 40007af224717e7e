"""Statement lines (owner: the statements domain)."""

from __future__ import annotations

from typing import Final, Literal

from shared.ports.documents import Collection, Document, NoChanges

ID_SEPARATOR: Final = "."
"""Joins the parts of a line's id: account, time, number."""


class LineDocument(Document):
    """A statement line. `sequence` is the ledger's number of the entry among the account's; amounts are minor units
    of `currency`; `line_id` is the id that the outside sees."""

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


LINES: Final = Collection(
    "statement_lines",
    owner="statements",
    document=LineDocument,
    changes=NoChanges,
)
