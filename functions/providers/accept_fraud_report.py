"""POST /v1/pix/fraud-reports/{report_id}/accept → pix.fraud_report_accepted."""

from __future__ import annotations

from pydantic import Field

from functions.providers._fraud_report import accept
from functions.providers._fraud_report_resource import PixFraudReport, shown_fraud_report
from functions.providers._fraud_report_states import require_open
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.records.fraud_reports import FRAUD_REPORTS


class AcceptFraudReport(Command):
    """The reason for the decision, if there is one."""

    reason: Description | None = Field(default=None, description="Why you agree. It is stored.")


@http_function(
    "POST /v1/pix/fraud-reports/{report_id}/accept",
    scope="pix:write",
    empty_body_is_object=True,
    sensitive=True,
    problems=("illegal_state",),
)
async def accept_fraud_report(report_id: str, command: AcceptFraudReport, ctx: Context) -> PixFraudReport:
    """Agree that a received payment was a fraud.

    What is held of it is returned to the payer, and the payer's bank is told. When nothing could be held, nothing is
    returned. The report must be `open`, and its hold answered (`amount_held` is not null).
    """
    report = await ctx.required(FRAUD_REPORTS, report_id)
    require_open(report, "accepted")
    if report["amount_held"] is None:
        raise Problem("illegal_state", "The amount is being held. Send the request again in a moment.")
    return await shown_fraud_report(ctx, await accept(ctx, report, command.reason))
