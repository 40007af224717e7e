"""Facts of the operations domain, and the ticks that its schedules send."""

from __future__ import annotations

from typing import ClassVar, Literal

from shared.envelope import Event

TOPIC = "lastro.operations.v1"


class Tick(Event):
    """A schedule's turn (Knative PingSource); its data is what the manifest says."""

    type: ClassVar[str] = "dev.knative.sources.ping"
    topic: ClassVar[str] = ""
    subject_field: ClassVar[str] = "schedule"

    schedule: str = ""


class DeadLetterEvent(Event):
    """What every fact about a dead letter carries."""

    topic: ClassVar[str] = TOPIC
    subject_field: ClassVar[str] = "dead_letter_id"
    terminal: ClassVar[bool] = True

    dead_letter_id: str
    event_id: str
    event_type: str
    consumer: str


class DeadLetterParked(DeadLetterEvent):
    """An event that a consumer could not take is kept aside."""

    type: ClassVar[str] = "lastro.dead_letter.parked.v1"

    code: str


class DeadLetterReplayed(DeadLetterEvent):
    """A parked event was published again."""

    type: ClassVar[str] = "lastro.dead_letter.replayed.v1"


class DeadLetterDiscarded(DeadLetterEvent):
    """A parked event was given up by a person, with a reason."""

    type: ClassVar[str] = "lastro.dead_letter.discarded.v1"

    reason: str


class SagaOverdue(Event):
    """A payment, refund or deposit has not got on since its deadline (also extension attribute `causetype`); its
    owner drives it forward or compensates. `step` is the status that it was found in, `attempt` that step's number."""

    type: ClassVar[str] = "lastro.saga.overdue.v1"
    topic: ClassVar[str] = TOPIC
    subject_field: ClassVar[str] = "saga_id"

    saga_id: str
    saga_type: Literal["payment", "refund", "deposit"]
    step: str
    attempt: int
