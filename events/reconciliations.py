"""Facts about reconciliations."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event


class ReconciliationCompleted(Event):
    """A provider's statement was compared with its clearing account. `matched` and `unmatched` count items;
    `oldest_unmatched_at` is the time of the oldest one that is not matched. `matched_by_hand` counts those of `matched`
    that an operator has matched."""

    type: ClassVar[str] = "lastro.reconciliation.completed.v1"
    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "reconciliation_id"
    terminal: ClassVar[bool] = True

    reconciliation_id: str
    provider: str
    since: str
    until: str
    matched: int
    unmatched: int
    oldest_unmatched_at: str | None
    matched_by_hand: int = 0


class MovementsMatched(Event):
    """An operator has matched movements of a reconciliation by hand. `match_id` identifies the match; `ledger` and
    `provider` are the ids of its movements, `client_id` the client that sent the request."""

    type: ClassVar[str] = "lastro.reconciliation.movements_matched.v1"
    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "reconciliation_id"
    terminal: ClassVar[bool] = True

    reconciliation_id: str
    match_id: str
    provider_name: str
    ledger: tuple[str, ...]
    provider: tuple[str, ...]
    client_id: str
    matched: int
    unmatched: int
