"""Facts about dead letters."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event


class DeadLetterEvent(Event):
    """The fields of every fact about a dead letter."""

    topic: ClassVar[str] = topics.OPERATIONS
    subject_field: ClassVar[str] = "dead_letter_id"
    terminal: ClassVar[bool] = True

    dead_letter_id: str
    event_id: str
    event_type: str
    consumer: str


class DeadLetterParked(DeadLetterEvent):
    """An event that a consumer could not process is stored."""

    type: ClassVar[str] = "lastro.dead_letter.parked.v1"

    code: str


class DeadLetterReplayed(DeadLetterEvent):
    """A parked event was published again."""

    type: ClassVar[str] = "lastro.dead_letter.replayed.v1"


class DeadLetterDiscarded(DeadLetterEvent):
    """An operator discarded a parked event, with a reason."""

    type: ClassVar[str] = "lastro.dead_letter.discarded.v1"

    reason: str
