"""GET /v1/pix/static-codes."""

from __future__ import annotations

from pydantic import Field

from functions.providers._static_code_resource import StaticCode, static_code_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Identifier, ListQuery, Page
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.pix_static_codes import STATIC_CODES


class StaticCodesQuery(ListQuery):
    """Which static codes to list."""

    account: Identifier | None = Field(default=None, description="Return only codes of this account.")


@http_function("GET /v1/pix/static-codes", scope="pix:read")
async def list_pix_static_codes(query: StaticCodesQuery, ctx: Context) -> Page[StaticCode]:
    """List static PIX codes, newest first."""
    return await find_page(
        ctx,
        STATIC_CODES,
        query,
        {"account_id": query.account},
        # The ids of codes are in no order: they are derived from the txids that tenants choose.
        lambda filters: Query(where=filters, newest_first=True, order_by="created_at"),
        static_code_resource,
    )
