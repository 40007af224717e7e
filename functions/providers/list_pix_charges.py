"""GET /v1/pix/charges."""

from __future__ import annotations

from pydantic import Field

from functions.providers._pix_charge_resource import PixCharge, pix_charge_resources
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Identifier, Page, PeriodQuery
from shared.http.pages import decode_cursor, encode_cursor, page_after, place_text
from shared.ports.documents import Query
from shared.records.pix_charges import PIX_CHARGES, PixChargeStatus


class PixChargesQuery(PeriodQuery):
    """Which PIX charges to list. A charge must meet every condition; `from` and `to` are about `created_at`."""

    status: PixChargeStatus | None = Field(
        default=None,
        description="Return only charges in this status. A charge that has just expired is found as `active` for up "
        "to a minute.",
    )
    account: Identifier | None = Field(default=None, description="Return only charges for this account.")


@http_function("GET /v1/pix/charges", scope="pix:read")
async def list_pix_charges(query: PixChargesQuery, ctx: Context) -> Page[PixCharge]:
    """List PIX charges, newest first."""
    filters = {"status": query.status, "account": query.account, "from": query.since, "to": query.until}
    in_force, after = decode_cursor(ctx, query.cursor, filters)
    where = {"status": in_force.get("status"), "account_id": in_force.get("account")}
    period = (in_force.get("from"), in_force.get("to"))
    # The ids of charges are in no order: they are derived from the txids that tenants choose.
    conditions = Query(
        where={name: value for name, value in where.items() if value is not None},
        ranges={} if period == (None, None) else {"created_at": period},
        newest_first=True,
        order_by="created_at",
    )
    found = await ctx.find(PIX_CHARGES, page_after(conditions, after, query.limit))
    listed = found[: query.limit]
    following = None
    if len(found) > query.limit:
        following = encode_cursor(ctx, in_force, place_text(conditions, listed[-1]))
    return Page(data=await pix_charge_resources(listed, ctx), next_cursor=following)
