"""A schedule's tick: seal the details of reports of fraud with the newest key, after a rotation."""

from __future__ import annotations

from collections.abc import Sequence

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.fraud_reports import FRAUD_REPORTS, FraudReportDocument


@event_function(Tick, platform=True)
async def rewrap_fraud_reports(_tick: Tick, ctx: Context) -> None:
    """Seal the details of every report that have an older key with the newest one. What has the newest is not
    written."""
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "reports", FRAUD_REPORTS, Query(), _rewrap)


async def _rewrap(found: Sequence[FraudReportDocument], scope: Context) -> None:
    sealed = [(report, report["details"]) for report in found if report["details"] is not None]
    if not sealed:
        return
    newest = await scope.secrets.rewrap([details for _, details in sealed])
    for (report, details), anew in zip(sealed, newest, strict=True):
        if details != anew:
            scope.update(FRAUD_REPORTS, report, details=anew)
