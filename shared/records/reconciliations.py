"""The documents of reconciliations (owner: the providers domain)."""

from __future__ import annotations

from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index, NoChanges

ItemStatus = Literal["matched", "unmatched_ledger", "unmatched_provider"]


class MovementDocument(TypedDict):
    """A movement of a clearing account or of a provider's statement. `amount` is in minor units, positive for money
    that the provider has received."""

    id: str
    amount: int
    at: str
    reference: str | None


Rule = Literal["reference", "amount", "sum", "manual"]


class ManualMatchDocument(TypedDict):
    """Who matched movements by hand, when, and why. `id` is the same for all movements of the match."""

    id: str
    reason: str
    client_id: str
    matched_at: str


class ItemDocument(TypedDict):
    """A movement, or a pair of them. `rule` says how a pair was found; `manual` is set by the rule `manual`."""

    status: ItemStatus
    rule: Rule | None
    ledger: MovementDocument | None
    provider: MovementDocument | None
    candidates: list[MovementDocument]
    manual: NotRequired[ManualMatchDocument | None]


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


class ReconciliationChanges(TypedDict, total=False):
    """The fields that a manual match changes."""

    matched: int
    unmatched: int
    oldest_unmatched_at: str | None
    items: list[ItemDocument]


class MatchedMovementDocument(Document):
    """A movement that was matched by hand; its id is made by `matched_id`, so that it is in one match only.

    `at` is its time; `ledger` and `provider` are all movements of the match.
    """

    provider_name: str
    at: str
    match: ManualMatchDocument
    ledger: list[MovementDocument]
    provider: list[MovementDocument]
    reconciliation_id: str


RECONCILIATIONS: Final = Collection(
    "reconciliations",
    owner="providers",
    document=ReconciliationDocument,
    changes=ReconciliationChanges,
    indexes=(Index(("provider",)),),
)
MATCHED_MOVEMENTS: Final = Collection(
    "reconciliation_matched_movements",
    owner="providers",
    document=MatchedMovementDocument,
    changes=NoChanges,
    indexes=(Index(("provider_name", "at")),),
)


def matched_id(provider: str, side: Literal["ledger", "provider"], movement_id: str) -> str:
    """Return the id of the document of a movement that was matched by hand."""
    return f"{provider}/{side}/{movement_id}"
