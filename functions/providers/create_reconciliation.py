"""POST /v1/reconciliations → reconciliation.completed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field

from events.reconciliations import ReconciliationCompleted
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

    The statement consists of the payments that the provider has reported. A movement is matched by its reference and
    amount, then by rules. A pair belongs to the period when one of its movements does. At most 2,000 movements on each
    side (LASTRO_RECONCILIATION_MOVEMENTS) are compared, those of 24 hours before and after the period included.
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
    # In a thread: without references, each movement is compared with all of the other side.
    matched = await asyncio.to_thread(match, ledger, reported, WINDOW)
    found = _document(command, _items(matched, command), ctx)
    ctx.insert(RECONCILIATIONS, found)
    ctx.emit(
        ReconciliationCompleted(
            reconciliation_id=found["id"],
            provider=found["provider"],
            since=found["since"],
            until=found["until"],
            matched=found["matched"],
            unmatched=found["unmatched"],
            oldest_unmatched_at=found["oldest_unmatched_at"],
        )
    )
    ctx.count("reconciliation_items", "matched", found["matched"])
    ctx.count("reconciliation_items", "unmatched", found["unmatched"])
    return reconciliation_resource(found)


def _moved(text: str, step: timedelta) -> str:
    """Return a time moved by a step, or the first or last time that there is."""
    time = parse_time(text)
    try:
        return format_time(time + step)
    except OverflowError:
        return format_time(_FIRST if step < timedelta(0) else _LAST)


def _document(command: CreateReconciliation, items: list[ItemDocument], ctx: Context) -> ReconciliationDocument:
    unmatched = [movement for item in items if item["status"] != "matched" for movement in _sides(item)]
    return {
        "id": ctx.new_id("rec"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "provider": command.provider,
        "currency": HOME_CURRENCY,
        "since": command.since,
        "until": command.to,
        "status": "completed",
        "matched": sum(item["status"] == "matched" for item in items),
        "unmatched": len(unmatched),
        "oldest_unmatched_at": min((movement["at"] for movement in unmatched), default=None),
        "items": items,
        "created_at": ctx.now_text,
    }


def _sides(item: ItemDocument) -> list[MovementDocument]:
    return [side for side in (item["ledger"], item["provider"]) if side is not None]


def _items(matched: Matched, command: CreateReconciliation) -> list[ItemDocument]:
    """Return the items of the period: first those that are not matched, oldest first."""
    items = [
        *_unmatched("unmatched_ledger", matched.ledger, matched.provider),
        *_unmatched("unmatched_provider", matched.provider, matched.ledger),
    ]
    for found in matched.matches:
        items += [
            {
                "status": "matched",
                "rule": found.rule,
                "ledger": _stored(ledger),
                "provider": _stored(found.provider),
                "candidates": [],
            }
            for ledger in found.ledger
        ]
    inside = [item for item in items if any(command.since <= side["at"] < command.to for side in _sides(item))]
    return sorted(inside, key=lambda item: (item["status"] == "matched", min(side["at"] for side in _sides(item))))


def _unmatched(status: ItemStatus, left: Sequence[Movement], others: Sequence[Movement]) -> list[ItemDocument]:
    return [
        {
            "status": status,
            "rule": None,
            "ledger": _stored(movement) if status == "unmatched_ledger" else None,
            "provider": _stored(movement) if status == "unmatched_provider" else None,
            "candidates": [_stored(candidate) for candidate in candidates(movement, others, WINDOW)],
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
