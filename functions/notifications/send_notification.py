"""notification.due → the message is handed over to the gateway of its channel."""

from __future__ import annotations

from events.notifications import NotificationDue, NotificationFailed, NotificationSent
from functions.notifications._due import about
from functions.notifications._templates import TemplateFailed, render
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.ports.notifier import Message, MessageRefused
from shared.records.notifications import (
    NOTIFICATION_PREFERENCES,
    NOTIFICATIONS,
    NotificationChannel,
    NotificationDocument,
)
from shared.records.users import USERS


@event_function(NotificationDue)
async def send_notification(event: NotificationDue, ctx: Context) -> None:
    """Send the message, with the user's present name and address.

    When the gateway cannot be reached, the event is retried and then becomes a dead letter, whose replay sends the
    message. A message that the gateway refuses has failed; if the user's device is not registered any more, its token
    is removed, and push notifications end. A message of a user who is not told any more is not sent. Raises Problem
    `validation_failed` for a template that cannot be rendered: the event is a dead letter at once.
    """
    notification = await ctx.get(NOTIFICATIONS, event.notification_id)
    if notification is None or notification["status"] != "pending":
        return
    message = await _message(notification, ctx)
    if isinstance(message, str):
        _fail(notification, message, ctx)
        return
    try:
        await ctx.notifiers[notification["channel"]].send(message)
    except MessageRefused as refusal:
        _fail(notification, refusal.code, ctx)
        if refusal.address_gone and notification["channel"] == "push":
            await _forget_device(notification["user_id"], ctx)
        return
    ctx.update(NOTIFICATIONS, notification, status="sent", due_at=None, updated_at=ctx.now_text)
    ctx.emit(NotificationSent(**about(notification)))


async def _message(notification: NotificationDocument, ctx: Context) -> Message | str:
    """Return the message, or the reason for which it is not sent."""
    channel, user_id = notification["channel"], notification["user_id"]
    user = await ctx.get(USERS, user_id)
    preferences = await ctx.get(NOTIFICATION_PREFERENCES, user_id)
    if user is None or user["status"] == "closed":
        return "user_closed"
    if preferences is None or channel not in preferences["channels"]:
        return "channel_not_wanted"
    address = {"email": user["email"], "sms": user["phone"], "push": preferences["push_token"]}[channel]
    if address is None:
        return "no_address"
    name, to = await ctx.secrets.open([user["name"], address])
    try:
        title, text = render(notification["event_type"], channel, notification["locale"], notification["facts"], name)
    except TemplateFailed as failure:
        raise Problem("validation_failed", f"{str(failure)[0].upper()}{str(failure)[1:]}.") from None
    return Message(notification["id"], to, title, text, notification["locale"])


async def _forget_device(user_id: str, ctx: Context) -> None:
    """Remove the token of a device that is not registered any more.

    A token that the user has changed meanwhile stays: the commit then conflicts, and the message goes to the new one.
    """
    preferences = await ctx.get(NOTIFICATION_PREFERENCES, user_id)
    if preferences is not None:
        channels: list[NotificationChannel] = [channel for channel in preferences["channels"] if channel != "push"]
        ctx.update(NOTIFICATION_PREFERENCES, preferences, push_token=None, channels=channels, updated_at=ctx.now_text)


def _fail(notification: NotificationDocument, code: str, ctx: Context) -> None:
    ctx.update(NOTIFICATIONS, notification, status="failed", failure=code, due_at=None, updated_at=ctx.now_text)
    ctx.emit(NotificationFailed(**about(notification), code=code))
