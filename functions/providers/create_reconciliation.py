"""POST /v1/reconciliations → reconciliation.completed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field

from events.reconciliations import ReconciliationCompleted
from functions.providers._items import manual_matches, ordered, pairs, sides, summary
from functions.providers._pairing import Matched, Movement, candidates, match
from functions.providers._reconciliation import Provider, Reconciliation, reconciliation_resource
from shared.context.context import Context
from shared.core.clock import format_time, parse_time
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Instant
from shared.records.reconciliations import (
    RECONCILIATIONS,
    ItemDocument,
    ItemStatus,
    MovementDocument,
    ReconciliationDocument,
)
from shared.records.system_accounts import HOME_CURRENCY, clearing_account

WINDOW: Final = timedelta(hours=24)
"""How far the times of two movements of one payment may differ."""


_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


class CreateReconciliation(Command):
    """A provider, and the period whose movements are compared."""

    provider: Provider = Field(description="The provider whose statement is compared.")
    since: Instant = Field(alias="from", description="The start of the period, inclusive (RFC 3339).")
    to: Instant = Field(description="The end of the period, exclusive (RFC 3339).")


@http_function(
    "POST /v1/reconciliations",
    scope="operations:write",
    status=201,
    location="/v1/reconciliations/{result.id}",
)
async def create_reconciliation(command: CreateReconciliation, ctx: Context) -> Reconciliation:
    """Compare a provider's statement with its clearing account.

    The statement consists of the payments that the provider has reported; of the provider `card`, it is the gateway's
    settlement report, which is read now. A movement is matched by its reference and amount, then by rules; what an
    operator has matched stays matched. A pair belongs to the period when one of its movements does. At most 2,000
    movements on each side (LASTRO_RECONCILIATION_MOVEMENTS) are compared, those of 24 hours before and after the period
    included.
    """
    if command.since > command.to:
        raise Problem.at("validation_failed", "/to", "`to` must not be before `from`.")
    # Imported here: a cold start does not need them.
    from functions.providers._clearing import ledger_movements, reported_movements

    begin, end = _moved(command.since, -WINDOW), _moved(command.to, WINDOW)
    limit = ctx.reconciliation_movements
    account_id = clearing_account(command.provider, HOME_CURRENCY)
    ledger = await ledger_movements(ctx, account_id, begin, end, limit)
    reported = await reported_movements(ctx, command.provider, begin, end, limit)
    by_hand, taken = await manual_matches(ctx, command.provider, begin, end)
    ledger = [movement for movement in ledger if ("ledger", movement.id) not in taken]
    reported = [movement for movement in reported if ("provider", movement.id) not in taken]
    # In a thread: without references, each movement is compared with all of the other side.
    matched = await asyncio.to_thread(match, ledger, reported, WINDOW)
    items = _items(matched)
    for each in by_hand:
        items += pairs(each["ledger"], each["provider"], "manual", each["match"])
    inside = [item for item in items if any(command.since <= side["at"] < command.to for side in sides(item))]
    found = _document(command, ordered(inside), ctx)
    ctx.insert(RECONCILIATIONS, found)
    _report(found, ctx)
    return reconciliation_resource(found, ctx.now)


def _report(found: ReconciliationDocument, ctx: Context) -> None:
    """Publish the outcome, and set the metrics."""
    counted = summary(found["items"])
    ctx.emit(
        ReconciliationCompleted(
            reconciliation_id=found["id"],
            provider=found["provider"],
            since=found["since"],
            until=found["until"],
            matched=found["matched"],
            unmatched=found["unmatched"],
            oldest_unmatched_at=found["oldest_unmatched_at"],
            matched_by_hand=counted.by_hand,
        )
    )
    ctx.count("reconciliation_items", "matched", counted.matched - counted.by_hand)
    ctx.count("reconciliation_items", "manual", counted.by_hand)
    ctx.count("reconciliation_items", "unmatched", counted.unmatched)
    if counted.automatic_share is not None:
        ctx.measure("reconciliation_automatic_share", found["provider"], counted.automatic_share)


def _moved(text: str, step: timedelta) -> str:
    """Return a time moved by a step, or the first or last time that there is."""
    time = parse_time(text)
    try:
        return format_time(time + step)
    except OverflowError:
        return format_time(_FIRST if step < timedelta(0) else _LAST)


def _document(command: CreateReconciliation, items: list[ItemDocument], ctx: Context) -> ReconciliationDocument:
    counted = summary(items)
    return {
        "id": ctx.new_id("rec"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "provider": command.provider,
        "currency": HOME_CURRENCY,
        "since": command.since,
        "until": command.to,
        "status": "completed",
        "matched": counted.matched,
        "unmatched": counted.unmatched,
        "oldest_unmatched_at": counted.oldest_unmatched_at,
        "items": items,
        "created_at": ctx.now_text,
    }


def _items(matched: Matched) -> list[ItemDocument]:
    items = [
        *_unmatched("unmatched_ledger", matched.ledger, matched.provider),
        *_unmatched("unmatched_provider", matched.provider, matched.ledger),
    ]
    for found in matched.matches:
        items += pairs([_stored(one) for one in found.ledger], [_stored(one) for one in found.provider], found.rule)
    return items


def _unmatched(status: ItemStatus, left: Sequence[Movement], others: Sequence[Movement]) -> list[ItemDocument]:
    return [
        {
            "status": status,
            "rule": None,
            "ledger": _stored(movement) if status == "unmatched_ledger" else None,
            "provider": _stored(movement) if status == "unmatched_provider" else None,
            "candidates": [_stored(candidate) for candidate in candidates(movement, others, WINDOW)],
            "manual": None,
        }
        for movement in left
    ]


def _stored(movement: Movement) -> MovementDocument:
    return {
        "id": movement.id,
        "amount": movement.amount,
        "at": movement.at,
        "reference": movement.reference,
    }
