"""The items of a reconciliation: pairs of movements, and movements without their other side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple

from shared.context.context import Context
from shared.ports.documents import Place, Query
from shared.records.reconciliations import (
    MATCHED_MOVEMENTS,
    ItemDocument,
    ManualMatchDocument,
    MatchedMovementDocument,
    MovementDocument,
    Rule,
)

_PAGE = 100


class Summary(NamedTuple):
    """The numbers of items of a reconciliation, and the time of its oldest item that is not matched."""

    matched: int
    by_hand: int
    unmatched: int
    oldest_unmatched_at: str | None

    @property
    def automatic_share(self) -> float | None:
        """The share of items that the rules have matched, from 0 to 1; None without items."""
        items = self.matched + self.unmatched
        return (self.matched - self.by_hand) / items if items else None


def sides(item: ItemDocument) -> list[MovementDocument]:
    """Return the one or two movements of an item."""
    return [side for side in (item["ledger"], item["provider"]) if side is not None]


def summary(items: Sequence[ItemDocument]) -> Summary:
    """Return the numbers of items."""
    matched = [item for item in items if item["status"] == "matched"]
    by_hand = sum(item["rule"] == "manual" for item in matched)
    unmatched = [side for item in items if item["status"] != "matched" for side in sides(item)]
    oldest = min((movement["at"] for movement in unmatched), default=None)
    return Summary(len(matched), by_hand, len(unmatched), oldest)


def ordered(items: Iterable[ItemDocument]) -> list[ItemDocument]:
    """Return the items in their order: first those that are not matched, oldest first."""
    return sorted(items, key=lambda item: (item["status"] == "matched", min(side["at"] for side in sides(item))))


def pairs(
    ledger: Sequence[MovementDocument],
    provider: Sequence[MovementDocument],
    rule: Rule,
    manual: ManualMatchDocument | None = None,
) -> list[ItemDocument]:
    """Return the items of a match. Each movement is in one of them; the last one of the shorter side is repeated."""
    last_ledger, last_provider = (side[-1] if side else None for side in (ledger, provider))
    return [
        {
            "status": "matched",
            "rule": rule,
            "ledger": one or last_ledger,
            "provider": other or last_provider,
            "candidates": [],
            "manual": manual,
        }
        for one, other in zip_longest(ledger, provider)
    ]


async def manual_matches(
    ctx: Context, provider: str, since: str, until: str
) -> tuple[list[MatchedMovementDocument], set[tuple[Literal["ledger", "provider"], str]]]:
    """Return one document of each manual match with a movement in a period, and the sides and ids of all their
    movements."""
    found: dict[str, MatchedMovementDocument] = {}
    query = Query({"provider_name": provider}, ranges={"at": (since, until)}, order_by="at", limit=_PAGE)
    while page := await ctx.find(MATCHED_MOVEMENTS, query):
        found.update({document["match"]["id"]: document for document in page})
        query = query._replace(after=Place(page[-1]["at"], page[-1]["id"]))
    taken: set[tuple[Literal["ledger", "provider"], str]] = set()
    for document in found.values():
        taken.update(("ledger", movement["id"]) for movement in document["ledger"])
        taken.update(("provider", movement["id"]) for movement in document["provider"])
    return list(found.values()), taken
