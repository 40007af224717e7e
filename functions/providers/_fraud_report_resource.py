"""The fraud report resource of the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.models import CreatedAt, Resource, Time, UpdatedAt
from shared.records.fraud_reports import FraudReportDocument, FraudReportStatus


class PixFraudReport(Resource):
    """A report of the payer's bank that a received payment was a fraud."""

    id: str = Field(description="The report's id, `frd_…`.")
    deposit_id: str = Field(description="The id of the deposit of the payment.")
    account_id: str = Field(description="The id of the account that received the payment.")
    return_id: str = Field(description="The id of the return that has the hold, and returns the money on acceptance.")
    status: FraudReportStatus = Field(
        description="`open`: you are to decide. `accepted`: what is held is returned. `rejected`: the hold is "
        "released. `canceled`: the payer's bank has withdrawn the report, and the hold is released."
    )
    amount: Money = Field(description="The amount that is asked back.")
    amount_held: Money | None = Field(
        description="How much of it could be held; null while that is not known. It may be zero."
    )
    details: str | None = Field(description="What the payer's bank says.")
    reason: str | None = Field(
        description="Your reason for the decision, or null. A report that the deadline has accepted says so here."
    )
    analysis_due_at: Time = Field(description="Until when you are to decide. After that the report is accepted.")
    decided_at: Time | None = Field(description="When it was decided or withdrawn; null while it is `open`.")
    created_at: CreatedAt
    updated_at: UpdatedAt


async def details_of(ctx: Context, reports: Sequence[FraudReportDocument]) -> dict[str, str]:
    """Return what the payers' banks say, by the ids of the reports. One call of the secrets port opens all of it."""
    sealed = {report["id"]: report["details"] for report in reports if report["details"] is not None}
    opened = await ctx.secrets.open(list(sealed.values())) if sealed else []
    return dict(zip(sealed, opened, strict=True))


async def shown_fraud_report(ctx: Context, report: FraudReportDocument) -> PixFraudReport:
    """Return the resource of a report, with what the payer's bank says in plain text."""
    return fraud_report_resource(report, (await details_of(ctx, [report])).get(report["id"]))


def fraud_report_resource(report: FraudReportDocument, details: str | None) -> PixFraudReport:
    """Return the resource of a report; `details` is in plain text."""
    held = report["amount_held"]
    return PixFraudReport(
        id=report["id"],
        deposit_id=report["deposit_id"],
        account_id=report["account_id"],
        return_id=report["return_id"],
        status=report["status"],
        amount=money(report["amount"], report["currency"]),
        amount_held=None if held is None else money(held, report["currency"]),
        details=details,
        reason=report["reason"],
        analysis_due_at=report["analysis_due_at"],
        decided_at=report["decided_at"],
        created_at=report["created_at"],
        updated_at=report["updated_at"],
    )
