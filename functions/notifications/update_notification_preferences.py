"""PATCH /v1/users/{user_id}/notification-preferences."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator

from functions.notifications._preferences import NotificationPreferences, preferences_resource
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.records.notifications import (
    NOTIFICATION_PREFERENCES,
    NOTIFICATION_REGISTRIES,
    NotificationChannel,
    NotificationLocale,
    NotificationPreferencesDocument,
    NotificationRegistryDocument,
)
from shared.records.users import USERS

HourMinute = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
PushToken = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[!-~]+$")]


def _in_order(channels: list[NotificationChannel]) -> list[NotificationChannel]:
    return sorted(set(channels))


class NewQuietHours(Command):
    """The time of a day in which no message is sent, in the time of Brasília."""

    since: HourMinute = Field(alias="from", description="When the quiet hours begin, `HH:MM`.")
    until: HourMinute = Field(alias="to", description="When they end, `HH:MM`; another time than `from`.")

    @field_validator("until")
    @classmethod
    def _ends(cls, until: str, info: ValidationInfo) -> str:
        if until == info.data.get("since"):
            raise ValueError("quiet hours end at another time than they begin; null means none")
        return until


class UpdateNotificationPreferences(Command):
    """What is to change; an absent field stays as it is."""

    locale: NotificationLocale | None = Field(default=None, description="The language of the messages.")
    channels: Annotated[list[NotificationChannel], Field(max_length=3), AfterValidator(_in_order)] | None = Field(
        default=None, description="The channels to use; an empty list ends all messages."
    )
    push_token: PushToken | None = Field(
        default=None, description="The device's registration token of Firebase Cloud Messaging; null removes it."
    )
    quiet_hours: NewQuietHours | None = Field(
        default=None, description="The time in which messages wait; null removes it."
    )


@http_function("PATCH /v1/users/{user_id}/notification-preferences", scope="users:write", problems=("illegal_state",))
async def update_notification_preferences(
    user_id: str, command: UpdateNotificationPreferences, ctx: Context
) -> NotificationPreferences:
    """Change how a user is told about payments.

    Without preferences a user gets no messages. Push notifications need the token of a device, and SMS a telephone
    number. The preferences of a closed user are removed and cannot be changed.
    """
    user = await ctx.required(USERS, user_id)
    if user["status"] == "closed":
        raise Problem("illegal_state", "The user is closed and gets no messages.")
    # A user who is closed at the same time has preferences before that, which are then removed, or none.
    ctx.expect(USERS, user)
    found = await ctx.get(NOTIFICATION_PREFERENCES, user_id) or _new(user_id, ctx)
    given = command.model_fields_set
    if "push_token" in given:
        sealed = None if command.push_token is None else (await ctx.secrets.seal([command.push_token]))[0]
    else:
        sealed = found["push_token"]
    channels = found["channels"] if command.channels is None else command.channels
    if "sms" in channels and user["phone"] is None:
        raise Problem.at("validation_failed", "/channels", "The user has no telephone number for SMS.")
    if "push" in channels and sealed is None:
        raise Problem.at("validation_failed", "/channels", "Push notifications need a `push_token`.")
    quiet = command.quiet_hours
    is_quiet_given = "quiet_hours" in given
    changed = ctx.update(
        NOTIFICATION_PREFERENCES,
        found,
        locale=command.locale or found["locale"],
        channels=channels,
        push_token=sealed,
        quiet_from=(quiet.since if quiet else None) if is_quiet_given else found["quiet_from"],
        quiet_to=(quiet.until if quiet else None) if is_quiet_given else found["quiet_to"],
        updated_at=ctx.now_text,
    )
    if channels and await ctx.get(NOTIFICATION_REGISTRIES, ctx.tenant_id) is None:
        first: NotificationRegistryDocument = {
            "id": ctx.tenant_id,
            "tenant_id": ctx.tenant_id,
            "version": 1,
            "created_at": ctx.now_text,
        }
        ctx.insert(NOTIFICATION_REGISTRIES, first)
    return preferences_resource(user_id, changed)


def _new(user_id: str, ctx: Context) -> NotificationPreferencesDocument:
    new: NotificationPreferencesDocument = {
        "id": user_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "locale": "pt-BR",
        "channels": [],
        "push_token": None,
        "quiet_from": None,
        "quiet_to": None,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
    return ctx.insert(NOTIFICATION_PREFERENCES, new)
