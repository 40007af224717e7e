"""Processing what a provider reports about payments that it was ordered to make."""

from __future__ import annotations

from functions.providers._rail_payment import apply_report
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.ports.rail_payments import RailReport
from shared.records.rail_payments import RAIL_PAYMENTS, RAIL_REFERENCES, reference_id


async def process_report(ctx: Context, rail: str, report: RailReport) -> None:
    """Process one report, in a unit of work of its payment's tenant. It may come at any time and several times.

    The reference of every payment is stored before it is ordered, so a report of an unknown one is the provider's
    error: it is logged, and the provider cannot correct it.
    """
    found = await ctx.get(RAIL_REFERENCES, reference_id(rail, report.reference))
    if found is None:
        ctx.log.error("%s reports the payment %s, which was not ordered here", rail, report.reference)
        return

    async def apply(scope: Context) -> None:
        known = await scope.get(RAIL_PAYMENTS, found["payment_id"])
        if known is not None:
            await apply_report(scope, known, report)

    # Ids that derive from a cause carry the time of the id at its end.
    returns = "".join(f"/{one.id}" for one in report.returns)
    cause_id = f"{rail}/{report.reference}/{report.status}{returns}/{found['payment_id']}"
    await run_in_tenant_unit_of_work(
        ctx, found["paying_tenant_id"], cause_id, apply, correlation_id=found["correlation_id"]
    )
