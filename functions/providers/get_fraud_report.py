"""GET /v1/pix/fraud-reports/{report_id}."""

from __future__ import annotations

from functions.providers._fraud_report_resource import PixFraudReport, shown_fraud_report
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.fraud_reports import FRAUD_REPORTS


@http_function("GET /v1/pix/fraud-reports/{report_id}", scope="pix:read")
async def get_fraud_report(report_id: str, ctx: Context) -> PixFraudReport:
    """Retrieve a report of fraud."""
    return await shown_fraud_report(ctx, await ctx.required(FRAUD_REPORTS, report_id))
