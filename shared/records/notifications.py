"""The documents of the notifications domain: what users want to be told, and the messages to them."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index, NoChanges

NotificationStatus = Literal["pending", "sent", "failed"]


NotificationChannel = Literal["email", "sms", "push"]


NotificationLocale = Literal["pt-BR", "en"]


class NotificationPreferencesDocument(Document):
    """By which channels a user is told about payments (owner: notifications). Its id is the user's.

    `push_token` is sealed. Between `quiet_from` and `quiet_to` (`HH:MM`, the time of Brasília) no message is sent; both
    are None without quiet hours.
    """

    locale: NotificationLocale
    channels: list[NotificationChannel]
    push_token: str | None
    quiet_from: str | None
    quiet_to: str | None
    created_at: str
    updated_at: str


class NotificationPreferencesChanges(TypedDict, total=False):
    """The fields of preferences that may change."""

    locale: NotificationLocale
    channels: list[NotificationChannel]
    push_token: str | None
    quiet_from: str | None
    quiet_to: str | None
    updated_at: str


class NotificationRegistryDocument(Document):
    """Says that a user of the tenant has preferences. Its id is the tenant's. Events of other tenants are skipped."""

    created_at: str


class NotificationDocument(Document):
    """A message about one event to one user by one channel (owner: notifications). It has no personal data.

    `facts` are the values of the template. `due_at` is the end of the quiet hours until which the message waits; None
    when it does not wait.
    """

    user_id: str
    channel: NotificationChannel
    locale: NotificationLocale
    event_id: str
    event_type: str
    facts: dict[str, str]
    status: NotificationStatus
    failure: str | None
    due_at: str | None
    created_at: str
    updated_at: str


class NotificationChanges(TypedDict, total=False):
    """The fields of a message that may change."""

    status: NotificationStatus
    failure: str | None
    due_at: str | None
    updated_at: str


NOTIFICATION_PREFERENCES: Final = Collection(
    "notification_preferences",
    owner="notifications",
    document=NotificationPreferencesDocument,
    changes=NotificationPreferencesChanges,
)


NOTIFICATION_REGISTRIES: Final = Collection(
    "notification_registries", owner="notifications", document=NotificationRegistryDocument, changes=NoChanges
)


NOTIFICATIONS: Final = Collection(
    "notifications",
    owner="notifications",
    document=NotificationDocument,
    changes=NotificationChanges,
    indexes=(Index(("status", "due_at"), sparse=True), Index(("status", "updated_at"))),
)
