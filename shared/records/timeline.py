"""The timeline of a payment (owner: the payments domain)."""

from __future__ import annotations

from typing import Final

from shared.ports.documents import Collection, Document, NoChanges


class TimelineDocument(Document):
    """One fact. The id is the payment's and the fact's number in it, so that facts lie together in their order;
    `data` is the fact's JSON text, as it was published."""

    event_id: str
    type: str
    time: str
    data: str


TIMELINE: Final = Collection("timeline", owner="payments", document=TimelineDocument, changes=NoChanges)
