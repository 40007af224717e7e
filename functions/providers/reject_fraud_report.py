"""POST /v1/pix/fraud-reports/{report_id}/reject → pix.fraud_report_rejected."""

from __future__ import annotations

from pydantic import Field

from events.fraud_reports import FraudReportRejected
from functions.providers._fraud_report import end_return, report_parts
from functions.providers._fraud_report_resource import PixFraudReport, shown_fraud_report
from functions.providers._fraud_report_states import require_open
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.records.fraud_reports import FRAUD_REPORTS


class RejectFraudReport(Command):
    """The reason for the decision, which the payer's bank is told."""

    reason: Description = Field(min_length=1, description="Why you do not agree.")


@http_function(
    "POST /v1/pix/fraud-reports/{report_id}/reject",
    scope="pix:write",
    sensitive=True,
    problems=("illegal_state",),
)
async def reject_fraud_report(report_id: str, command: RejectFraudReport, ctx: Context) -> PixFraudReport:
    """Do not agree that a received payment was a fraud.

    What is held of it is released, and the payer's bank is told the reason. The report must be `open`.
    """
    report = await ctx.required(FRAUD_REPORTS, report_id)
    require_open(report, "rejected")
    report = ctx.update(
        FRAUD_REPORTS,
        report,
        status="rejected",
        reason=command.reason,
        decided_at=ctx.now_text,
        updated_at=ctx.now_text,
    )
    await end_return(ctx, report, "report_rejected", "The report of fraud was rejected.")
    ctx.emit(FraudReportRejected(**report_parts(report)))
    return await shown_fraud_report(ctx, report)
