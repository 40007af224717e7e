"""Parts of a payment that its receiver has sent back, on a rail that returns a payment in parts."""

from __future__ import annotations

from functions.providers._rail_facts import RAIL_FACTS
from functions.providers._rail_payment import changed, payment_parts
from shared.context.context import Context
from shared.core.money import money
from shared.ports.rail_payments import RailReport, RailReturn
from shared.records.payments import return_purpose
from shared.records.rail_payments import RAIL_RETURNS, RailPaymentDocument, RailReturnDocument, reference_id


async def take_returns(ctx: Context, known: RailPaymentDocument, report: RailReport) -> None:
    """Store the returns that a report of the payment names and publish each, once. `known` has the report's outcome.

    The money is at the provider whatever the payment is here, so a return of more than was moved is stored too: a
    reconciliation shows the difference.
    """
    returned = RAIL_FACTS[known["rail"]].returned
    if returned is None or known["status"] not in ("settled", "returned"):
        ctx.log.error("%s reports returns of %s, which is %s", known["rail"], known["id"], known["status"])
        return
    total = known["amount_returned"] or 0
    for one in report.returns:
        return_id = reference_id(known["rail"], one.id)
        if await ctx.get(RAIL_RETURNS, return_id) is not None:
            continue
        ctx.insert(RAIL_RETURNS, _document(ctx, known, return_id, one))
        total += one.amount
        fields = {**payment_parts(known), "amount_returned": money(one.amount, known["currency"])}
        ctx.emit(returned({**fields, "reason": one.code, "return_id": one.id}))
    if total == known["amount_returned"]:
        return
    moved = known["amount_moved"] or 0
    if total > moved:
        ctx.log.error("%s reports that %d of %s came back, and has moved %d", known["rail"], total, known["id"], moved)
    changed(ctx, known, amount_returned=total, status="returned" if total >= moved else "settled")


def _document(ctx: Context, known: RailPaymentDocument, id: str, one: RailReturn) -> RailReturnDocument:
    return {
        "id": id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "rail": known["rail"],
        "payment_id": known["id"],
        "refund_id": ctx.derived_id("rfd", known["id"], return_purpose(one.id)),
        "amount": one.amount,
        "reason": one.code,
        "report": one.report,
        "reported_at": ctx.now_text,
    }
