"""The refund resource of the HTTP API."""

from __future__ import annotations

from pydantic import Field

from functions.payments._states import refund_is_final
from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.failures import FailureResource, failure_resource
from shared.http.models import CreatedAt, Resource, UpdatedAt
from shared.records.payments import REFUNDS, RefundDocument, RefundStatus


class Refund(Resource):
    """A refund of a settled payment, in full or in part."""

    id: str = Field(description="The refund's id, `rfd_…`.")
    payment_id: str = Field(description="The id of the refunded payment.")
    amount: Money = Field(description="The amount that goes back to the payer.")
    status: RefundStatus = Field(
        description="`created`: accepted, the amount is not held yet. `processing`: the amount is held on the payee's "
        "account. `settled`: the money has moved. `failed`: it has not, and will not (see `failure`)."
    )
    reason: str | None = Field(description="The caller's reason, or null.")
    failure: FailureResource | None = Field(description="Why the refund `failed`; null otherwise.")
    created_at: CreatedAt
    updated_at: UpdatedAt


def refund_resource(refund: RefundDocument) -> Refund:
    """Return the resource of a refund."""
    return Refund(
        id=refund["id"],
        payment_id=refund["payment_id"],
        amount=money(refund["amount"], refund["currency"]),
        status=refund["status"],
        reason=refund["reason"],
        failure=failure_resource(refund["failure"]),
        created_at=refund["created_at"],
        updated_at=refund["updated_at"],
    )


async def refund_progress(ctx: Context, last: Refund) -> tuple[Refund, bool]:
    """Return the refund as it is now, and whether it is settled or failed."""
    refund = await ctx.required(REFUNDS, last.id)
    return refund_resource(refund), refund_is_final(refund)
