"""POST /v1/reconciliations/{reconciliation_id}/match → reconciliation.movements_matched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from pydantic import Field

from events.reconciliations import MovementsMatched
from functions.providers._items import ordered, pairs, summary
from functions.providers._reconciliation import Reconciliation, reconciliation_resource
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.records.reconciliations import (
    MATCHED_MOVEMENTS,
    RECONCILIATIONS,
    ItemDocument,
    ManualMatchDocument,
    MatchedMovementDocument,
    MovementDocument,
    ReconciliationDocument,
    matched_id,
)

_MOST: Final = 20
Side = Literal["ledger", "provider"]


class MatchMovements(Command):
    """Movements that are the same money, and why."""

    ledger: list[str] = Field(max_length=_MOST, description="The ids of movements of the clearing account.")
    provider: list[str] = Field(max_length=_MOST, description="The ids of movements of the provider's statement.")
    reason: Description = Field(min_length=1, description="Why they belong together. It is stored.")


class _Chosen(NamedTuple):
    """The items of the chosen movements, and the movements of each side."""

    items: list[ItemDocument]
    ledger: list[MovementDocument]
    provider: list[MovementDocument]


@http_function(
    "POST /v1/reconciliations/{reconciliation_id}/match",
    scope="operations:write",
    problems=("illegal_state", "unknown_reference"),
)
async def match_movements(reconciliation_id: str, command: MatchMovements, ctx: Context) -> Reconciliation:
    """Match movements that the rules left open, with a reason.

    Both sides must have the same sum: a difference is money, and needs a transfer or a report of its own. Movements of
    one side whose sum is 0 can be matched with each other. Later reconciliations show them as matched.
    """
    found = await ctx.required(RECONCILIATIONS, reconciliation_id)
    chosen = _chosen(found, command)
    difference = sum(each["amount"] for each in chosen.ledger) - sum(each["amount"] for each in chosen.provider)
    if difference or not chosen.items:
        raise Problem.at(
            "validation_failed",
            "/provider",
            f"The sums of both sides differ by {abs(difference)} minor units. Choose movements with equal sums."
            if chosen.items
            else "No movement is chosen. Name movements of this reconciliation.",
        )
    await _refuse_matched(found["provider"], command, ctx)
    match = _match(command, ctx)
    _store(found, match, chosen, ctx)
    left = [item for item in found["items"] if all(item is not one for one in chosen.items)]
    items = ordered([*left, *pairs(chosen.ledger, chosen.provider, "manual", match)])
    counted = summary(items)
    changed = ctx.update(
        RECONCILIATIONS,
        found,
        items=items,
        matched=counted.matched,
        unmatched=counted.unmatched,
        oldest_unmatched_at=counted.oldest_unmatched_at,
    )
    ctx.emit(
        MovementsMatched(
            reconciliation_id=found["id"],
            match_id=match["id"],
            provider_name=found["provider"],
            ledger=tuple(command.ledger),
            provider=tuple(command.provider),
            client_id=match["client_id"],
            matched=counted.matched,
            unmatched=counted.unmatched,
        )
    )
    ctx.count("reconciliation_items", "manual", max(len(chosen.ledger), len(chosen.provider)))
    return reconciliation_resource(changed, ctx.now)


def _chosen(found: ReconciliationDocument, command: MatchMovements) -> _Chosen:
    """Return the chosen items. Raises Problem for an id that is not of this reconciliation, is named twice, or is
    matched."""
    chosen = _Chosen([], [], [])
    for side, ids, movements in (
        ("ledger", command.ledger, chosen.ledger),
        ("provider", command.provider, chosen.provider),
    ):
        known = {movement["id"]: (item, movement) for item, movement in _movements(found["items"], side)}
        for position, id in enumerate(ids):
            if id not in known:
                raise Problem.at("unknown_reference", f"/{side}/{position}", f"{id} is not in this reconciliation.")
            if id in ids[:position]:
                raise Problem.at("validation_failed", f"/{side}/{position}", f"{id} is named twice.")
            item, movement = known[id]
            if item["status"] == "matched":
                raise Problem("illegal_state", f"{id} is matched already.")
            chosen.items.append(item)
            movements.append(movement)
    return chosen


def _movements(items: Sequence[ItemDocument], side: str) -> list[tuple[ItemDocument, MovementDocument]]:
    found = ((item, item["ledger"] if side == "ledger" else item["provider"]) for item in items)
    return [(item, movement) for item, movement in found if movement is not None]


async def _refuse_matched(provider: str, command: MatchMovements, ctx: Context) -> None:
    """Raise Problem for a movement that was matched in another reconciliation."""
    for id in _ids(provider, command.ledger, command.provider):
        existing = await ctx.get(MATCHED_MOVEMENTS, id)
        if existing is not None:
            detail = (
                f"{id.split('/', 2)[2]} was matched in {existing['reconciliation_id']}. Reconcile the period again."
            )
            raise Problem("illegal_state", detail)


def _ids(provider: str, ledger: Sequence[str], reported: Sequence[str]) -> list[str]:
    return [
        *(matched_id(provider, "ledger", id) for id in ledger),
        *(matched_id(provider, "provider", id) for id in reported),
    ]


def _match(command: MatchMovements, ctx: Context) -> ManualMatchDocument:
    assert ctx.caller is not None, "the operation is called with a token"
    return {
        "id": ctx.new_id("mat"),
        "reason": command.reason,
        "client_id": ctx.caller.client_id,
        "matched_at": ctx.now_text,
    }


def _store(found: ReconciliationDocument, match: ManualMatchDocument, chosen: _Chosen, ctx: Context) -> None:
    """Store one document for each movement, so that none can be matched twice."""
    sides: tuple[tuple[Side, list[MovementDocument]], ...] = (
        ("ledger", chosen.ledger),
        ("provider", chosen.provider),
    )
    for side, movements in sides:
        for movement in movements:
            document: MatchedMovementDocument = {
                "id": matched_id(found["provider"], side, movement["id"]),
                "tenant_id": ctx.tenant_id,
                "version": 1,
                "provider_name": found["provider"],
                "at": movement["at"],
                "match": match,
                "ledger": chosen.ledger,
                "provider": chosen.provider,
                "reconciliation_id": found["id"],
            }
            ctx.insert(MATCHED_MOVEMENTS, document)
