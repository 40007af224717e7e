"""A payment, refund or deposit has ended → a message to each user that it concerns, by each of the user's channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events.deposits import DepositSettled
from events.payments.declined import PaymentDeclined
from events.payments.failed import PaymentFailed
from events.payments.settled import PaymentSettled
from events.refunds import RefundSettled
from functions.notifications._due import emit_due
from functions.notifications._quiet_hours import end_of_quiet_hours
from shared.context.context import Context
from shared.core.clock import format_time
from shared.core.envelope import Envelope
from shared.functions.decorators import event_function
from shared.records.accounts import ACCOUNTS
from shared.records.notifications import (
    NOTIFICATION_PREFERENCES,
    NOTIFICATION_REGISTRIES,
    NOTIFICATIONS,
    NotificationChannel,
    NotificationDocument,
    NotificationPreferencesDocument,
)

Told = PaymentSettled | PaymentDeclined | PaymentFailed | RefundSettled | DepositSettled


def _is_unwanted(envelope: Envelope, read: Callable[..., Any]) -> bool:
    """Return whether no user of the event's tenant has preferences."""
    tenant_id = envelope.tenant_id
    return bool(tenant_id) and read(NOTIFICATION_REGISTRIES, tenant_id, tenant_id) is None


@event_function(PaymentSettled, PaymentDeclined, PaymentFailed, RefundSettled, DepositSettled, unwanted=_is_unwanted)
async def notify(event: Told, ctx: Context) -> None:
    """Create a message for each user and channel. In a user's quiet hours it waits until they end.

    There is one message for each event, user and channel, however often the event comes. The payee is not told about a
    payment that was declined or failed.
    """
    if await ctx.get(NOTIFICATION_REGISTRIES, ctx.tenant_id) is None:
        return
    for role, account_id in _parties(event):
        account = await ctx.get(ACCOUNTS, account_id)
        preferences = None if account is None else await ctx.get(NOTIFICATION_PREFERENCES, account["owner_id"])
        if preferences is None:
            continue
        for channel in preferences["channels"]:
            notification = _notification(event, role, preferences, channel, ctx)
            # Payer and payee may be one user, who is told once for each role.
            if await ctx.get(NOTIFICATIONS, notification["id"]) is None:
                ctx.insert(NOTIFICATIONS, notification)
                if notification["due_at"] is None:
                    emit_due(notification, ctx)


def _parties(event: Told) -> list[tuple[str, str]]:
    """Return the roles and accounts of the users that an event concerns."""
    if isinstance(event, DepositSettled):
        return [("payee", event.account_id)]
    if isinstance(event, PaymentDeclined | PaymentFailed):
        return [("payer", event.payer_account_id)]
    return [("payer", event.payer_account_id), ("payee", event.payee_account_id)]


def _notification(
    event: Told,
    role: str,
    preferences: NotificationPreferencesDocument,
    channel: NotificationChannel,
    ctx: Context,
) -> NotificationDocument:
    ends = end_of_quiet_hours(preferences["quiet_from"], preferences["quiet_to"], ctx.now)
    amount = event.amount_captured if isinstance(event, PaymentSettled) else event.amount
    failure = event.failure.code if isinstance(event, PaymentDeclined | PaymentFailed) else ""
    return {
        "id": ctx.derived_id("ntf", ctx.origin.cause_id, f"{preferences['id']}/{role}/{channel}"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "user_id": preferences["id"],
        "channel": channel,
        "locale": preferences["locale"],
        "event_id": ctx.origin.cause_id,
        "event_type": event.type,
        "facts": {
            "role": role,
            "id": event.subject,
            "amount": str(amount.value),
            "currency": amount.currency,
            "time": ctx.now_text,
            "reason": failure,
        },
        "status": "pending",
        "failure": None,
        "due_at": None if ends is None else format_time(ends),
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
