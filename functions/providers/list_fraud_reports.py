"""GET /v1/pix/fraud-reports."""

from __future__ import annotations

from pydantic import Field

from functions.providers._fraud_report_resource import PixFraudReport, details_of, fraud_report_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Identifier, ListQuery, Page
from shared.http.pages import decode_cursor, make_page
from shared.ports.documents import Query
from shared.records.fraud_reports import FRAUD_REPORTS, FraudReportStatus


class FraudReportsQuery(ListQuery):
    """Which reports to list. A report must meet every condition."""

    status: FraudReportStatus | None = Field(default=None, description="Return only reports in this status.")
    account: Identifier | None = Field(default=None, description="Return only reports about this account.")


@http_function("GET /v1/pix/fraud-reports", scope="pix:read")
async def list_fraud_reports(query: FraudReportsQuery, ctx: Context) -> Page[PixFraudReport]:
    """List reports of fraud, those of the newest payments first."""
    filters = {"status": query.status, "account_id": query.account}
    in_force, after = decode_cursor(ctx, query.cursor, filters)
    found = await ctx.find(FRAUD_REPORTS, Query(in_force, newest_first=True, after=after, limit=query.limit + 1))
    details = await details_of(ctx, found)
    return make_page(
        ctx,
        found,
        query.limit,
        in_force,
        lambda report: str(report["id"]),
        lambda report: fraud_report_resource(report, details.get(report["id"])),
    )
