"""The documents of reconciliations (owner: the providers domain)."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, NoChanges

ItemStatus = Literal["matched", "unmatched_ledger", "unmatched_provider"]


class MovementDocument(TypedDict):
    """A movement of a clearing account or of a provider's statement. `amount` is in minor units, positive for money
    that the provider has received."""

    id: str
    amount: int
    at: str
    reference: str | None


class ItemDocument(TypedDict):
    """A movement, or a pair of them. `rule` says how a pair was found."""

    status: ItemStatus
    rule: Literal["reference", "amount", "sum"] | None
    ledger: MovementDocument | None
    provider: MovementDocument | None
    candidates: list[MovementDocument]


class ReconciliationDocument(Document):
    """A comparison of a provider's statement with its clearing account, from `since` (inclusive) to `until`
    (exclusive)."""

    provider: str
    currency: str
    since: str
    until: str
    status: Literal["completed"]
    matched: int
    unmatched: int
    oldest_unmatched_at: str | None
    items: list[ItemDocument]
    created_at: str


RECONCILIATIONS: Final = Collection(
    "reconciliations", owner="providers", document=ReconciliationDocument, changes=NoChanges
)
