"""Descriptions of the functions that events come to: what each takes. The decorator makes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.context import Handler
from shared.envelope import Event


@dataclass(frozen=True, slots=True)
class EventOperation:
    """An operation that reacts to events of the types in `models`.

    `any_event` takes every type as an envelope; `platform` runs outside any tenant (schedules).
    """

    name: str
    domain: str
    models: dict[str, type[Event]]
    any_event: bool
    platform: bool
    handler: Handler
    summary: str

    id: str = field(init=False)
    """`<domain>/<operation>`: also the consumer's name in the inbox."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", f"{self.domain}/{self.name}")
