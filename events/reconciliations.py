"""Facts about reconciliations."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event


class ReconciliationCompleted(Event):
    """A provider's statement was compared with its clearing account. `matched` and `unmatched` count items;
    `oldest_unmatched_at` is the time of the oldest one that is not matched."""

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
