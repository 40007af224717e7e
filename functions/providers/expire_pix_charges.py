"""A schedule's tick → pix.charge_expired for each PIX charge that was not paid in time, pix.fraud_report_accepted for
each report of fraud that was not decided in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from events.charges import ChargeExpired
from events.sweeps import Tick
from functions.providers._fraud_report import accept_undecided
from functions.providers._pix_charge import change_status
from functions.providers._received_reports import process_received
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work, tenant_ids
from shared.core.money import money
from shared.functions.decorators import event_function
from shared.ports.documents import Query, Unavailable
from shared.ports.rail import ChargeState, RailRefused
from shared.records.pix_charges import PIX_CHARGES, PixChargeDocument, PixChargeStatus

PROVIDER: Final = "pix"
MAX_OVERDUE: Final = 100
"""The most charges of a tenant that one tick ends."""


@event_function(Tick, platform=True)
async def expire_pix_charges(_tick: Tick, ctx: Context) -> None:
    """End overdue PIX charges: `expired`, or `removed` when the provider has removed them.

    The provider is asked first. If it has a payment of the charge, that is processed, and the charge becomes `paid`; so
    it does when a payment that was made in time is reported later. A provider that does not answer delays nothing.

    A report of fraud that the tenant has neither accepted nor rejected until `analysis_due_at` is accepted: what is
    held is returned.
    """
    is_answering = ctx.rails[PROVIDER].is_configured
    async for tenant_id in tenant_ids(ctx):
        for charge in await _overdue(ctx, tenant_id):
            state = None
            if is_answering:
                try:
                    is_due = charge.get("due") is not None
                    state = await ctx.rails[PROVIDER].charge_state(charge["id"], is_due=is_due)
                except (Unavailable, RailRefused) as error:
                    ctx.log.warning("the PIX provider cannot be asked for overdue charges: %s", error)
                    is_answering = False
            await _end(ctx, charge, state)
        await accept_undecided(ctx, tenant_id)


async def _overdue(ctx: Context, tenant_id: str) -> Sequence[PixChargeDocument]:
    """Return a tenant's overdue charges, at most MAX_OVERDUE; the next tick finds the others. A charge whose payment is
    being recorded is none of them."""
    unpaid = {"status": "active", "end_to_end_id": None}
    overdue = {"expires_at": (None, ctx.now_text)}
    query = Query(unpaid, ranges=overdue, order_by="expires_at", limit=MAX_OVERDUE)

    async def find(scope: Context) -> Sequence[PixChargeDocument]:
        return await scope.find(PIX_CHARGES, query)

    return await run_in_tenant_unit_of_work(ctx, tenant_id, f"overdue/{ctx.origin.cause_id}", find)


async def _end(ctx: Context, charge: PixChargeDocument, state: ChargeState | None) -> None:
    for receipt in () if state is None else state.receipts:
        await process_received(ctx, PROVIDER, receipt)
    status: PixChargeStatus = "removed" if state is not None and state.is_removed else "expired"

    async def end(scope: Context) -> None:
        found = await scope.required(PIX_CHARGES, charge["id"])
        if found["status"] != "active" or found["end_to_end_id"] is not None:
            return
        change_status(scope, found, status)
        if status == "expired":
            scope.emit(
                ChargeExpired(
                    charge_id=found["txid"],
                    account_id=found["account_id"],
                    amount=money(found["amount"], found["currency"]),
                    expires_at=found["expires_at"],
                )
            )

    cause_id = f"{status}/chg_{charge['id']}"
    await run_in_tenant_unit_of_work(ctx, charge["tenant_id"], cause_id, end, correlation_id=charge["correlation_id"])
