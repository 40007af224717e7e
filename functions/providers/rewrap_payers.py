"""A schedule's tick: seal what is known of payers with the newest key, after a rotation."""

from __future__ import annotations

from collections.abc import Sequence

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.fraud_reports import FRAUD_REPORTS, FraudReportDocument
from shared.records.pix_charges import PIX_CHARGES, PixChargeDocument


@event_function(Tick, platform=True)
async def rewrap_payers(_tick: Tick, ctx: Context) -> None:
    """Seal the details of reports of fraud and the debtors of PIX charges that have an older key with the newest one.

    What has the newest key is not written.
    """
    # Only charges with a due date have a debtor, and the index has no others.
    debts = Query(order_by="debtor_index")
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "reports", FRAUD_REPORTS, Query(), _rewrap_reports)
        await in_pages(ctx, tenant_id, "debtors", PIX_CHARGES, debts, _rewrap_debtors)


async def _rewrap_reports(found: Sequence[FraudReportDocument], scope: Context) -> None:
    sealed = [(report, report["details"]) for report in found if report["details"] is not None]
    if not sealed:
        return
    newest = await scope.secrets.rewrap([details for _, details in sealed])
    for (report, details), anew in zip(sealed, newest, strict=True):
        if details != anew:
            scope.update(FRAUD_REPORTS, report, details=anew)


async def _rewrap_debtors(found: Sequence[PixChargeDocument], scope: Context) -> None:
    owed = [(charge, debtor) for charge in found if (debtor := charge.get("debtor")) is not None]
    if not owed:
        return
    fields = [text for _, debtor in owed for text in (debtor["name"], debtor["document_number"])]
    newest = iter(await scope.secrets.rewrap(fields))
    for charge, debtor in owed:
        name, number = next(newest), next(newest)
        if (name, number) != (debtor["name"], debtor["document_number"]):
            scope.update(PIX_CHARGES, charge, debtor={**debtor, "name": name, "document_number": number})
