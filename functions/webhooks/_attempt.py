"""Attempts to deliver: the claim of a delivery, the signed request, and the record of its outcome."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal, NamedTuple

from events.webhooks import WebhookDelivered, WebhookEndpointDisabled, WebhookExhausted
from functions.webhooks._registry import unsubscribe
from shared.context.context import Context
from shared.context.due_work import Done, Work
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.clock import format_time, parse_time
from shared.ports.outgoing import OutgoingAnswer
from shared.records.webhooks import (
    WEBHOOK_DELIVERIES,
    WEBHOOK_ENDPOINTS,
    AttemptDocument,
    WebhookDeliveryDocument,
    WebhookEndpointDocument,
)

RETRIES: Final = tuple(float(seconds) for seconds in (5, 30, 120, 600, 1800, 7200, 18_000, 36_000))
"""The seconds between an attempt that failed and the next one: eight retries after the first attempt."""
JITTER: Final = 0.2
"""The share by which each of these differs at random, so that the retries after an outage are spread."""
MOST_SECONDS: Final = 240.0
"""The longest time for which one call of a function makes attempts."""
_LEASE_SECONDS: Final = 60.0
"""The time after which an attempt without a record counts as lost, beyond the time that a request may take."""
_GONE: Final = 410


class _Claimed(NamedTuple):
    """An attempt that this process is to make. `secrets` has the present secret, then the previous one while valid."""

    delivery: WebhookDeliveryDocument
    url: str
    lease: str
    at: datetime
    secrets: list[str]


async def make_attempts(ctx: Context) -> None:
    """Make the attempts that are due in this process, unless another call makes them already."""
    await ctx.webhooks.drive(partial(_attempt, ctx), ctx.settings.webhooks_stay_seconds, MOST_SECONDS)


def work_of(delivery: WebhookDeliveryDocument) -> Work:
    """Return the attempt at a delivery as work of the process."""
    return Work(delivery["id"], delivery["tenant_id"], delivery["endpoint_id"])


async def _attempt(ctx: Context, work: Work) -> Done:
    """Make one attempt: claim the delivery, send the event, record the outcome.

    The claim is a commit, so no other process makes the same attempt. If this process ends before the record, the
    attempt is made again after the lease: a receiver may get an event twice, with the same `webhook-id`.
    """
    claimed = await run_in_tenant_unit_of_work(
        ctx, work.tenant_id, f"claim/{ctx.new_id('try')}/{work.key}", partial(_claim, work.key)
    )
    if claimed is None:
        return Done(succeeded=None)
    delivery = claimed.delivery
    answer = await ctx.outgoing.post(claimed.url, _headers(claimed), delivery["body"].encode())
    again_after = await run_in_tenant_unit_of_work(
        ctx,
        work.tenant_id,
        f"record/{claimed.lease}/{work.key}",
        partial(_record, claimed, answer),
        correlation_id=delivery["correlation_id"],
    )
    return Done(answer.accepted, again_after)


async def _claim(delivery_id: str, ctx: Context) -> _Claimed | None:
    """Claim the next attempt at a delivery; None when none is due, or another process has claimed it."""
    delivery = await ctx.get(WEBHOOK_DELIVERIES, delivery_id)
    if delivery is None or delivery["due_at"] is None or delivery["due_at"] > ctx.now_text:
        return None
    endpoint = await ctx.get(WEBHOOK_ENDPOINTS, delivery["endpoint_id"])
    if endpoint is None or endpoint["status"] != "active":
        _exhaust(delivery, ctx)
        return None
    lease = ctx.new_id("lea")
    ends_at = ctx.now + timedelta(seconds=ctx.settings.webhooks_seconds + _LEASE_SECONDS)
    ctx.update(WEBHOOK_DELIVERIES, delivery, lease=lease, due_at=format_time(ends_at), updated_at=ctx.now_text)
    secrets = await ctx.secrets.open(_valid_secrets(endpoint, ctx.now_text))
    return _Claimed(delivery, endpoint["url"], lease, ctx.now, secrets)


def _valid_secrets(endpoint: WebhookEndpointDocument, now_text: str) -> list[str]:
    previous, expires_at = endpoint["previous_secret"], endpoint["previous_expires_at"]
    if previous is None or expires_at is None or expires_at <= now_text:
        return [endpoint["secret"]]
    return [endpoint["secret"], previous]


def _headers(claimed: _Claimed) -> dict[str, str]:
    """Return the headers of Standard Webhooks: the event's id, the time of this attempt, and a signature for each valid
    secret."""
    from standardwebhooks import Webhook

    delivery = claimed.delivery
    # The library reads the time as UTC, to the second.
    signatures = [
        Webhook(secret).sign(delivery["event_id"], claimed.at, delivery["body"]) for secret in claimed.secrets
    ]
    return {
        "content-type": "application/json",
        "user-agent": "Lastro-Webhooks/1",
        "webhook-id": delivery["event_id"],
        "webhook-timestamp": str(int(claimed.at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


async def _record(claimed: _Claimed, answer: OutgoingAnswer, ctx: Context) -> float | None:
    """Record the outcome of an attempt. Returns the seconds until the next one, or None when there is none."""
    delivery = await ctx.get(WEBHOOK_DELIVERIES, claimed.delivery["id"])
    if delivery is None or delivery["lease"] != claimed.lease:
        ctx.log.warning("the attempt at %s took longer than its lease; it is not recorded", claimed.delivery["id"])
        return None
    attempt: AttemptDocument = {
        "at": format_time(claimed.at),
        "status_code": answer.status_code,
        "error": answer.error,
        "duration_ms": answer.duration_ms,
    }
    attempts = [*delivery["attempts"], attempt]
    endpoint = await ctx.get(WEBHOOK_ENDPOINTS, delivery["endpoint_id"])
    if answer.accepted:
        if endpoint is not None and endpoint["failing_since"] is not None:
            ctx.update(WEBHOOK_ENDPOINTS, endpoint, failing_since=None, updated_at=ctx.now_text)
        delivery = _end(delivery, "delivered", attempts, ctx)
        ctx.emit(WebhookDelivered(**_about(delivery), attempts=len(attempts)))
        return None
    is_active = endpoint is not None and await _note_failure(endpoint, answer, ctx)
    return _after_failure(delivery, attempts, ctx, goes_on=is_active)


def _end(
    delivery: WebhookDeliveryDocument,
    status: Literal["delivered", "exhausted"],
    attempts: list[AttemptDocument],
    ctx: Context,
) -> WebhookDeliveryDocument:
    """Record the final status of a delivery: no attempt is due any more."""
    return ctx.update(
        WEBHOOK_DELIVERIES,
        delivery,
        status=status,
        attempts=attempts,
        resend_from=None,
        lease=None,
        due_at=None,
        next_attempt_at=None,
        updated_at=ctx.now_text,
    )


def _after_failure(
    delivery: WebhookDeliveryDocument, attempts: list[AttemptDocument], ctx: Context, *, goes_on: bool
) -> float | None:
    """Record a failed attempt and the time of the next one. Returns the seconds until then, or None."""
    resent, retries = delivery["resend_from"], delivery["retries"]
    if resent in ("delivered", "exhausted"):
        _end(delivery, resent, attempts, ctx)
        return None
    if not goes_on or retries >= len(RETRIES):
        _exhaust(delivery, ctx, attempts)
        return None
    pause = ctx.spread(RETRIES[retries], JITTER)
    next_at = format_time(ctx.now + timedelta(seconds=pause))
    ctx.update(
        WEBHOOK_DELIVERIES,
        delivery,
        attempts=attempts,
        retries=retries + 1,
        lease=None,
        due_at=next_at,
        next_attempt_at=next_at,
        updated_at=ctx.now_text,
    )
    return pause


def _exhaust(delivery: WebhookDeliveryDocument, ctx: Context, attempts: list[AttemptDocument] | None = None) -> None:
    """Record that no further attempt is made."""
    made = delivery["attempts"] if attempts is None else attempts
    _end(delivery, "exhausted", made, ctx)
    ctx.emit(WebhookExhausted(**_about(delivery), attempts=len(made)))


async def _note_failure(endpoint: WebhookEndpointDocument, answer: OutgoingAnswer, ctx: Context) -> bool:
    """Record that an endpoint fails, and disable it after days of failure or at 410. Returns whether it is active."""
    if endpoint["status"] != "active":
        return False
    since = endpoint["failing_since"] or ctx.now_text
    limit = timedelta(days=ctx.settings.webhooks_disable_days)
    gone = answer.status_code == _GONE
    if not gone and ctx.now - parse_time(since) < limit:
        if endpoint["failing_since"] is None:
            ctx.update(WEBHOOK_ENDPOINTS, endpoint, failing_since=since, updated_at=ctx.now_text)
        return True
    ctx.update(WEBHOOK_ENDPOINTS, endpoint, status="disabled", failing_since=since, updated_at=ctx.now_text)
    await unsubscribe(endpoint["id"], ctx)
    reason: Literal["gone", "failing"] = "gone" if gone else "failing"
    ctx.emit(WebhookEndpointDisabled(endpoint_id=endpoint["id"], reason=reason, failing_since=since))
    ctx.log.warning("webhook endpoint %s is disabled: %s since %s", endpoint["id"], reason, since)
    return False


def _about(delivery: WebhookDeliveryDocument) -> dict[str, str]:
    """Return the fields that every fact about a delivery has (events.webhooks.WebhookEvent)."""
    return {
        "delivery_id": delivery["id"],
        "endpoint_id": delivery["endpoint_id"],
        "event_id": delivery["event_id"],
        "event_type": delivery["event_type"],
    }
