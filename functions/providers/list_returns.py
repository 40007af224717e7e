"""GET /v1/deposits/{deposit_id}/returns."""

from __future__ import annotations

from functions.providers._return_resource import DepositReturn, return_resource, visible_deposit
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.returns import RETURNS


@http_function("GET /v1/deposits/{deposit_id}/returns", scope="deposits:read")
async def list_returns(deposit_id: str, query: ListQuery, ctx: Context) -> Page[DepositReturn]:
    """List the returns of a deposit, newest first."""
    await visible_deposit(ctx, deposit_id)
    return await find_page(
        ctx,
        RETURNS,
        query,
        {"deposit_id": deposit_id},
        lambda filters: Query(where=filters, newest_first=True),
        return_resource,
    )
