"""Descriptions of the functions that events come to: what each takes. The decorator makes them."""

from __future__ import annotations

from typing import NamedTuple

from shared.context.context import Handler
from shared.core.envelope import Event


class EventOperation(NamedTuple):
    """An operation that reacts to events of the types in `models`.

    `any_event` takes every type as an envelope; `platform` runs outside any tenant (schedules).
    """

    id: str
    """`<domain>/<operation>`: its place in the repository, and the consumer's name in the inbox."""
    name: str
    domain: str
    models: dict[str, type[Event]]
    any_event: bool
    platform: bool
    handler: Handler
    summary: str
