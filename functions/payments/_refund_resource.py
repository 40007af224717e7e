"""A refund as it is answered."""

from __future__ import annotations

from functions.payments._states import refund_is_final
from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.failures import FailureResource, failure_resource
from shared.http.models import Resource
from shared.records.payments import REFUNDS, RefundDocument, RefundStatus


class Refund(Resource):
    """A refund."""

    id: str
    payment_id: str
    amount: Money
    status: RefundStatus
    reason: str | None
    failure: FailureResource | None
    created_at: str
    updated_at: str


def refund_resource(refund: RefundDocument) -> Refund:
    """The refund as it is answered."""
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
    """The refund now, and whether it has ended."""
    refund = await ctx.required(REFUNDS, last.id)
    return refund_resource(refund), refund_is_final(refund)
