"""The reconciliation resource of the HTTP API."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from shared.core.money import Money, money
from shared.http.models import CreatedAt, Resource, Time
from shared.records.reconciliations import ItemDocument, MovementDocument, ReconciliationDocument

Provider = Literal["pix", "bank_transfer", "card"]


class ReconciliationMovement(Resource):
    """A movement of the clearing account or of the provider's statement."""

    id: str = Field(description="The id of the ledger entry, or of the provider's report.")
    amount: Money = Field(description="The amount; positive for money that the provider has received.")
    at: Time = Field(description="When the ledger recorded the movement, or the provider reported it.")
    reference: str | None = Field(description="The provider's id of the payment (PIX: the end-to-end id), or null.")


class ReconciliationItem(Resource):
    """A pair of movements, or a movement without its other side."""

    status: Literal["matched", "unmatched_ledger", "unmatched_provider"] = Field(
        description="`matched`: both sides have the movement. `unmatched_ledger`: the provider's statement lacks it. "
        "`unmatched_provider`: the ledger lacks it."
    )
    rule: Literal["reference", "amount", "sum"] | None = Field(
        description="How a pair was found: the same reference and amount; the same amount within 24 hours, without "
        "another candidate; or several ledger movements whose sum is the provider's amount."
    )
    ledger: ReconciliationMovement | None = Field(description="The movement of the clearing account.")
    provider: ReconciliationMovement | None = Field(description="The movement of the provider's statement.")
    candidates: list[ReconciliationMovement] = Field(
        description="At most five movements of the other side that may belong to one that is not matched."
    )


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
    items: list[ReconciliationItem] = Field(description="All items; those that are not matched come first.")
    created_at: CreatedAt


def reconciliation_resource(found: ReconciliationDocument) -> Reconciliation:
    """Return the resource of a reconciliation."""
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
            "items": [_item(item, found["currency"]) for item in found["items"]],
            "created_at": found["created_at"],
        }
    )


def _item(item: ItemDocument, currency: str) -> ReconciliationItem:
    ledger, provider = item["ledger"], item["provider"]
    return ReconciliationItem(
        status=item["status"],
        rule=item["rule"],
        ledger=None if ledger is None else _movement(ledger, currency),
        provider=None if provider is None else _movement(provider, currency),
        candidates=[_movement(candidate, currency) for candidate in item["candidates"]],
    )


def _movement(movement: MovementDocument, currency: str) -> ReconciliationMovement:
    return ReconciliationMovement(
        id=movement["id"],
        amount=money(movement["amount"], currency),
        at=movement["at"],
        reference=movement["reference"],
    )
