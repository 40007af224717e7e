"""The documents of payments over a rail, as the provider has them (owner: the providers domain)."""

from __future__ import annotations

from typing import Any, Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index, NoChanges
from shared.records.failure import FailureDocument

RailPaymentState = Literal["sending", "processing", "settled", "refused", "returned"]


class RailPaymentDocument(Document):
    """A payment at a provider. The id is the payment's.

    `reference` is its id at the provider (PIX: the end-to-end id). It is `sending` from before the first command until
    the provider has answered: a command in this status may have arrived. `amount` is what was ordered, `amount_moved`
    what the provider reports to have moved, and `amount_returned` what came back, in minor units. It is `returned` when
    all of it came back. `report` is the provider's last one, masked. `payer_user_id` is the user who pays, or None when
    the payer is outside. `reported_at` is the time of a report that the money has moved, and `returned_at` that of a
    report that it came back as a whole; what comes back in parts has a RailReturnDocument for each.
    """

    rail: str
    reference: str
    payer_user_id: str | None
    status: RailPaymentState
    amount: int
    currency: str
    amount_moved: int | None
    amount_returned: int | None
    failure: FailureDocument | None
    report: dict[str, Any] | None
    reported_at: str | None
    returned_at: str | None
    correlation_id: str
    created_at: str
    updated_at: str


class RailPaymentChanges(TypedDict, total=False):
    """The fields of a payment at a provider that may change."""

    status: RailPaymentState
    amount_moved: int | None
    amount_returned: int | None
    failure: FailureDocument | None
    report: dict[str, Any] | None
    reported_at: str | None
    returned_at: str | None
    updated_at: str


class RailReturnDocument(Document):
    """A part of a payment, or all of it, that its receiver has sent back. The id is the rail's name and the provider's
    id of the return.

    `amount` is what came back, in minor units, and `reason` the rail's code. `refund_id` is the refund by which it goes
    back to the payer. `report` is the provider's, masked.
    """

    rail: str
    payment_id: str
    refund_id: str
    amount: int
    reason: str
    report: dict[str, Any]
    reported_at: str


class RailReferenceDocument(Document):
    """The tenant and payment of a reference. Stored under the platform, because a callback has no tenant.

    The id is the rail's name and the reference.
    """

    paying_tenant_id: str
    payment_id: str
    correlation_id: str
    created_at: str


def reference_id(rail: str, reference: str) -> str:
    """Return the id of the document of a reference."""
    return f"{rail}:{reference}"


class LookUpsDocument(Document):
    """How many receivers a user may look up at the directory of a rail. The id is the user's.

    `tokens` are those at `counted_at`; one is added every 30 seconds, up to the size of the bucket.
    """

    tokens: int
    counted_at: str


class LookUpsChanges(TypedDict, total=False):
    """The fields that may change."""

    tokens: int
    counted_at: str


LOOK_UPS: Final = Collection("look_ups", owner="providers", document=LookUpsDocument, changes=LookUpsChanges)

RAIL_PAYMENTS: Final = Collection(
    "rail_payments",
    owner="providers",
    document=RailPaymentDocument,
    changes=RailPaymentChanges,
    indexes=(
        Index(("rail", "reported_at"), sparse=True),
        Index(("rail", "returned_at"), sparse=True),
        Index(("reference",)),
    ),
)

RAIL_RETURNS: Final = Collection(
    "rail_returns",
    owner="providers",
    document=RailReturnDocument,
    changes=NoChanges,
    indexes=(Index(("rail", "reported_at")),),
)

RAIL_REFERENCES: Final = Collection(
    "rail_references", owner="providers", document=RailReferenceDocument, changes=NoChanges
)
