"""Facts about messages to users. They contain no personal data."""

from typing import ClassVar, Literal

from events import topics
from shared.core.envelope import Event


class NotificationEvent(Event):
    """The fields of every fact about a message. `event_id` and `event_type` are those of what it tells."""

    topic: ClassVar[str] = topics.NOTIFICATIONS
    subject_field: ClassVar[str] = "notification_id"

    notification_id: str
    user_id: str
    channel: Literal["email", "sms", "push"]
    event_id: str
    event_type: str


class NotificationDue(NotificationEvent):
    """A message is to be sent now."""

    type: ClassVar[str] = "lastro.notification.due.v1"


class NotificationSent(NotificationEvent):
    """The gateway of the channel has accepted the message."""

    type: ClassVar[str] = "lastro.notification.sent.v1"
    terminal: ClassVar[bool] = True


class NotificationFailed(NotificationEvent):
    """The message will not be sent; `code` says why."""

    type: ClassVar[str] = "lastro.notification.failed.v1"
    terminal: ClassVar[bool] = True

    code: str
