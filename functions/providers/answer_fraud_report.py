"""pix.fraud_report_accepted, pix.fraud_report_rejected: tell the provider the decision."""

from __future__ import annotations

from events.fraud_reports import FraudReportAccepted, FraudReportRejected
from functions.providers._pix_charge import PROVIDER
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.ports.rail import RailRefused
from shared.records.fraud_reports import FRAUD_REPORTS


@event_function(FraudReportAccepted, FraudReportRejected)
async def answer_fraud_report(event: FraudReportAccepted | FraudReportRejected, ctx: Context) -> None:
    """Send the decision on a report to the provider. A repeated decision has no further effect there.

    If the provider does not answer, Problem `dependency_unavailable` (503) has the event delivered again. A decision
    that the provider refuses, because it came too late or the report is not known there, is logged: the report stays
    decided here.
    """
    report = await ctx.referenced(FRAUD_REPORTS, event.report_id, "/report_id")
    try:
        is_accepted = isinstance(event, FraudReportAccepted)
        await ctx.rails[PROVIDER].answer_fraud_report(report["provider_id"], is_accepted, report["reason"])
    except RailRefused as refusal:
        ctx.log.warning("the rail refused the decision on %s: %s: %s", report["id"], refusal.code, refusal)
