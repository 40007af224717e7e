"""The description of a function that reacts to events."""

from __future__ import annotations

from typing import NamedTuple

from shared.context.context import Handler
from shared.core.envelope import Event


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
