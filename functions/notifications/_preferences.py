"""The notification preferences resource of the HTTP API."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from shared.http.models import Resource
from shared.records.notifications import NotificationChannel, NotificationLocale, NotificationPreferencesDocument


class QuietHours(Resource):
    """The time of a day in which no message is sent, in the time of Brasília."""

    model_config = ConfigDict(serialize_by_alias=True)

    since: str = Field(serialization_alias="from", description="When the quiet hours begin, `HH:MM`.")
    until: str = Field(serialization_alias="to", description="When they end, `HH:MM`.")


class NotificationPreferences(Resource):
    """How a user is told about payments, refunds and deposits."""

    user_id: str = Field(description="The user's id.")
    locale: NotificationLocale = Field(description="The language of the messages.")
    channels: list[NotificationChannel] = Field(description="The channels in use; none without preferences.")
    has_push_token: bool = Field(description="Whether a device is registered for push notifications.")
    quiet_hours: QuietHours | None = Field(
        description="In this time messages wait; they are sent when it ends. Null without quiet hours."
    )


def preferences_resource(user_id: str, found: NotificationPreferencesDocument | None) -> NotificationPreferences:
    """Return the resource of a user's preferences, or of a user without preferences, who gets no messages."""
    if found is None:
        return NotificationPreferences(
            user_id=user_id, locale="pt-BR", channels=[], has_push_token=False, quiet_hours=None
        )
    since, until = found["quiet_from"], found["quiet_to"]
    return NotificationPreferences(
        user_id=user_id,
        locale=found["locale"],
        channels=found["channels"],
        has_push_token=found["push_token"] is not None,
        quiet_hours=None if since is None or until is None else QuietHours(since=since, until=until),
    )
