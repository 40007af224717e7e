"""Facts about events that were set aside."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event


class DeadLetterEvent(Event):
    """What every fact about a dead letter carries."""

    topic: ClassVar[str] = topics.OPERATIONS
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
