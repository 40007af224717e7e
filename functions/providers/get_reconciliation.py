"""GET /v1/reconciliations/{reconciliation_id}."""

from __future__ import annotations

from functions.providers._reconciliation import Reconciliation, reconciliation_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.reconciliations import RECONCILIATIONS


@http_function("GET /v1/reconciliations/{reconciliation_id}", scope="operations:read")
async def get_reconciliation(reconciliation_id: str, ctx: Context) -> Reconciliation:
    """Retrieve a reconciliation with its items."""
    return reconciliation_resource(await ctx.required(RECONCILIATIONS, reconciliation_id), ctx.now)
