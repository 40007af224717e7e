"""The timeline of a payment (owner: the payments domain)."""

from __future__ import annotations

from typing import Final, TypedDict

from shared.ports.documents import Collection


class TimelineDocument(TypedDict):
    """One fact. The id is the payment's and the fact's number in it, so that facts lie together in their order;
    `data` is the fact's JSON text, as it was published."""

    id: str
    tenant_id: str
    version: int
    event_id: str
    type: str
    time: str
    data: str


TIMELINE: Final[Collection[TimelineDocument]] = Collection("timeline")
