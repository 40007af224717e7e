"""notification.due → the message is handed over to the gateway of its channel."""

from __future__ import annotations

from events.notifications import NotificationDue, NotificationFailed, NotificationSent
from functions.notifications._due import about
from functions.notifications._templates import render
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.ports.notifier import Message, MessageRefused
from shared.records.notifications import NOTIFICATION_PREFERENCES, NOTIFICATIONS, NotificationDocument
from shared.records.users import USERS


@event_function(NotificationDue)
async def send_notification(event: NotificationDue, ctx: Context) -> None:
    """Send the message, with the user's present name and address.

    When the gateway cannot be reached, the event is retried and then becomes a dead letter, whose replay sends the
    message. A message that the gateway refuses has failed. A message of a user who is not told any more is not sent.
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
    title, text = render(notification["event_type"], channel, notification["locale"], notification["facts"], name)
    return Message(notification["id"], to, title, text, notification["locale"])


def _fail(notification: NotificationDocument, code: str, ctx: Context) -> None:
    ctx.update(NOTIFICATIONS, notification, status="failed", failure=code, due_at=None, updated_at=ctx.now_text)
    ctx.emit(NotificationFailed(**about(notification), code=code))
