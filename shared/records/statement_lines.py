"""Statement lines (owner: the statements domain)."""

from __future__ import annotations

from typing import Final, Literal

from shared.ports.documents import Collection, Document, NoChanges

ID_SEPARATOR: Final = "."
"""The separator between the parts of a line's id: account, time, sequence number."""


class LineDocument(Document):
    """A movement of a payment account. Amounts are in minor units of `currency`.

    `sequence` is the number of the ledger entry among those of its account. `line_id` is the id that the API shows."""

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
