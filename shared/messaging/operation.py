"""The description of a function that reacts to events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from shared.context.context import Handler
from shared.core.envelope import Envelope, Event

Unwanted = Callable[[Envelope, Callable[..., Any]], bool]
"""Called with an event and a function that returns a document (collection, tenant, id) without suspension. Returns
whether the operation would do nothing."""


class EventOperation(NamedTuple):
    """An operation that reacts to events of the types in `models`.

    With `any_event` it receives events of every type as an envelope. With `platform` it runs outside any tenant
    (schedules).
    """

    id: str
    """`<domain>/<operation>`: its file under functions/, and the name of the consumer in the inbox."""
    name: str
    domain: str
    models: dict[str, type[Event]]
    any_event: bool
    platform: bool
    handler: Handler
    summary: str
    unwanted: Unwanted | None = None
    """A broker in the same process as the documents may ask it instead of delivering an event that is not wanted."""
