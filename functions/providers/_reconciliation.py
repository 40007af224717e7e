"""The reconciliation resource of the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

from pydantic import ConfigDict, Field

from functions.providers._items import sides, summary
from shared.core.clock import parse_time
from shared.core.money import Money, money
from shared.http.models import CreatedAt, Resource, Time
from shared.records.reconciliations import ItemDocument, MovementDocument, ReconciliationDocument

Provider = Literal["pix", "bank_transfer", "card"]
_AGES: Final = (0, 1, 3, 7, 30)


class ReconciliationMovement(Resource):
    """A movement of the clearing account or of the provider's statement."""

    id: str = Field(description="The id of the ledger entry, or of the provider's report.")
    amount: Money = Field(description="The amount; positive for money that the provider has received.")
    at: Time = Field(description="When the ledger recorded the movement, or the provider reported it.")
    reference: str | None = Field(description="The provider's id of the payment (PIX: the end-to-end id), or null.")


class ManualMatch(Resource):
    """A match that an operator has made."""

    id: str = Field(description="The match's id, `mat_…`: the same for all its items.")
    reason: str = Field(description="The reason that was given.")
    client_id: str = Field(description="The client whose token the request had.")
    matched_at: Time = Field(description="When it was matched.")


class Ageing(Resource):
    """What is not matched since so many days, at the time of the request."""

    from_days: int = Field(description="The least age in days, inclusive.")
    to_days: int | None = Field(description="The greatest age in days, exclusive; null without a bound.")
    count: int = Field(description="The number of movements.")
    amount: Money = Field(description="The sum of their amounts, each taken as positive.")


class ReconciliationItem(Resource):
    """A pair of movements, or a movement without its other side."""

    status: Literal["matched", "unmatched_ledger", "unmatched_provider"] = Field(
        description="`matched`: both sides have the movement. `unmatched_ledger`: the provider's statement lacks it. "
        "`unmatched_provider`: the ledger lacks it."
    )
    rule: Literal["reference", "amount", "sum", "manual"] | None = Field(
        description="How a pair was found: `reference`, the same reference and amount; `amount`, the same amount "
        "within 24 hours, without another candidate; `sum`, several movements of one side that add up to one of the "
        "other; `manual`, by an operator. Null for what is not matched."
    )
    ledger: ReconciliationMovement | None = Field(description="The movement of the clearing account.")
    provider: ReconciliationMovement | None = Field(description="The movement of the provider's statement.")
    candidates: list[ReconciliationMovement] = Field(
        description="At most five movements of the other side that may belong to one that is not matched."
    )
    manual: ManualMatch | None = Field(description="Who matched the item by hand, and why; null for the other rules.")


class Reconciliation(Resource):
    """A comparison of a provider's statement with its clearing account."""

    # `from` is a keyword of Python.
    model_config = ConfigDict(serialize_by_alias=True)

    id: str = Field(description="The reconciliation's id, `rec_…`.")
    provider: Provider = Field(description="The provider.")
    since: Time = Field(alias="from", description="The start of the period, inclusive.")
    to: Time = Field(description="The end of the period, exclusive.")
    status: Literal["running", "completed", "failed"] = Field(description="`completed` when all items are known.")
    matched: int = Field(description="The number of matched items.")
    unmatched: int = Field(description="The number of items that are not matched.")
    oldest_unmatched_at: Time | None = Field(description="The time of the oldest item that is not matched, or null.")
    automatic_share: float | None = Field(
        description="The share of items that the rules have matched, from 0 to 1; null without items."
    )
    ageing: list[Ageing] = Field(description="What is not matched, by its age in days: 0–1, 1–3, 3–7, 7–30, more.")
    items: list[ReconciliationItem] = Field(description="All items; those that are not matched come first.")
    created_at: CreatedAt


def reconciliation_resource(found: ReconciliationDocument, now: datetime) -> Reconciliation:
    """Return the resource of a reconciliation; its items' ages are those of the time `now`."""
    return Reconciliation.model_validate(
        {
            "id": found["id"],
            "provider": found["provider"],
            "from": found["since"],
            "to": found["until"],
            "status": found["status"],
            "matched": found["matched"],
            "unmatched": found["unmatched"],
            "oldest_unmatched_at": found["oldest_unmatched_at"],
            "automatic_share": summary(found["items"]).automatic_share,
            "ageing": ageing(found["items"], found["currency"], now),
            "items": [_item(item, found["currency"]) for item in found["items"]],
            "created_at": found["created_at"],
        }
    )


def _item(item: ItemDocument, currency: str) -> ReconciliationItem:
    ledger, provider, manual = item["ledger"], item["provider"], item.get("manual")
    return ReconciliationItem(
        status=item["status"],
        rule=item["rule"],
        ledger=None if ledger is None else _movement(ledger, currency),
        provider=None if provider is None else _movement(provider, currency),
        candidates=[_movement(candidate, currency) for candidate in item["candidates"]],
        manual=None if manual is None else ManualMatch.model_validate(manual),
    )


def ageing(items: Sequence[ItemDocument], currency: str, now: datetime) -> list[Ageing]:
    """Return the movements that are not matched by their age in days at a time."""
    ages = [
        (now - parse_time(side["at"]), abs(side["amount"]))
        for item in items
        if item["status"] != "matched"
        for side in sides(item)
    ]
    found: list[Ageing] = []
    for least, most in pairwise((*_AGES, None)):
        assert least is not None
        # A movement of another process's clock may be some seconds in the future: it is of the first class.
        amounts = [
            amount
            for age, amount in ages
            if (least == 0 or age >= timedelta(days=least)) and (most is None or age < timedelta(days=most))
        ]
        total = money(sum(amounts), currency)
        found.append(Ageing(from_days=least, to_days=most, count=len(amounts), amount=total))
    return found


def _movement(movement: MovementDocument, currency: str) -> ReconciliationMovement:
    return ReconciliationMovement(
        id=movement["id"],
        amount=money(movement["amount"], currency),
        at=movement["at"],
        reference=movement["reference"],
    )
