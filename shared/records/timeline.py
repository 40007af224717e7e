"""The timeline of a payment (owner: the payments domain)."""

from __future__ import annotations

from typing import Final

from shared.ports.documents import Collection, Document, NoChanges


class TimelineDocument(Document):
    """One fact about a payment or its refunds. `data` is the fact's JSON text, as it was published.

    The id is made of the payment's id and the number of the fact, so that ids sort by payment and time."""

    event_id: str
    type: str
    time: str
    data: str


TIMELINE: Final = Collection("timeline", owner="payments", document=TimelineDocument, changes=NoChanges)
