"""Publishing that a message is due."""

from __future__ import annotations

from typing import Any

from events.notifications import NotificationDue
from shared.context.context import Context
from shared.records.notifications import NotificationDocument


def emit_due(notification: NotificationDocument, ctx: Context) -> None:
    """Publish that a message is to be sent, under a correlation of its own.

    A request with `Prefer: wait` waits for the events that it has caused, and must not wait for a gateway.
    """
    ctx.emit(NotificationDue(**about(notification)), event_key=notification["id"], correlationid=notification["id"])


def about(notification: NotificationDocument) -> dict[str, Any]:
    """Return the fields that every fact about a message has (events.notifications.NotificationEvent)."""
    return {
        "notification_id": notification["id"],
        "user_id": notification["user_id"],
        "channel": notification["channel"],
        "event_id": notification["event_id"],
        "event_type": notification["event_type"],
    }
