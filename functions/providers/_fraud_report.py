"""Reports of fraud about received payments: how they are opened and withdrawn, and the return that belongs to each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from events.failure import Failure
from events.fraud_reports import FraudReportAccepted, FraudReportCanceled, FraudReported
from functions.providers._return import created_fact, end_as_failed
from functions.providers._return_states import return_is_final
from functions.providers._static_code import received_deposit_id
from shared.context import saga
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.clock import format_time
from shared.core.money import money
from shared.core.problems import Problem
from shared.ports.documents import Query
from shared.ports.rail import FraudReport
from shared.records.charges import CHARGES, ChargeDocument
from shared.records.deposits import DEPOSITS, DepositDocument
from shared.records.fraud_reports import FRAUD_REPORTS, FraudReportDocument
from shared.records.returns import RETURN_PREFIX, RETURNS, ReturnDocument

ANALYSIS_DAYS: Final = 7
"""How many days the receiver's side has to decide on a report (Banco Central, Regulamento do Pix, MED)."""
MAX_OVERDUE: Final = 100
"""The most reports of a tenant that one tick decides on."""
NOT_DECIDED: Final = "No decision was made in time."
"""The reason of a decision that the deadline has made."""


def report_parts(report: FraudReportDocument) -> dict[str, Any]:
    """Return the fields that every fact about a report has (events.fraud_reports.FraudReportEvent)."""
    return {
        "report_id": report["id"],
        "return_id": report["return_id"],
        "deposit_id": report["deposit_id"],
        "account_id": report["account_id"],
        "amount": money(report["amount"], report["currency"]),
    }


async def process_fraud_report(ctx: Context, provider: str, report: FraudReport) -> None:
    """Process a report of the provider, once: open it, or withdraw it.

    A report about a payment that is not known is logged. Raises Problem `dependency_unavailable` while the payment is
    not in the ledger yet, so that the provider reports again.
    """
    charge = None if report.reference is None else await ctx.get(CHARGES, report.reference)
    if charge is None or charge["provider"] != provider:
        ctx.log.error("%s reports a fraud of the unknown payment %s: %s", provider, report.payment_id, report.id)
        return
    found = charge
    cause_id = f"{provider}/{report.id}/{report.status}/chg_{charge['id']}"
    await run_in_tenant_unit_of_work(
        ctx,
        charge["charged_tenant_id"],
        cause_id,
        lambda scope: _take(scope, found, report),
        correlation_id=charge["correlation_id"],
    )


async def _take(scope: Context, charge: ChargeDocument, report: FraudReport) -> None:
    report_id = scope.derived_id("frd", charge["deposit_id"], f"fraud/{report.id}")
    known = await scope.get(FRAUD_REPORTS, report_id)
    if known is not None:
        if report.status == "canceled" and known["status"] == "open":
            await _cancel(scope, known)
        return
    if report.status == "canceled":
        scope.log.warning("the report of fraud %s is withdrawn, and was never made", report.id)
        return
    deposit = await _deposit_of(scope, charge, report)
    if deposit is None:
        scope.log.error("the payment %s, which is reported as a fraud, is not known", report.payment_id)
        return
    if deposit["status"] == "created":
        raise Problem("dependency_unavailable", "The payment is being recorded. Send the report again.")
    await _open(scope, deposit, report_id, report)


async def _deposit_of(scope: Context, charge: ChargeDocument, report: FraudReport) -> DepositDocument | None:
    """Return the deposit of the payment: that of the charge, its own of a static code, or the one in the suspense
    account."""
    own = received_deposit_id(scope, charge["deposit_id"], report.payment_id)
    suspended = scope.derived_id("dep", charge["deposit_id"], f"suspense/{report.payment_id}")
    for deposit_id in (charge["deposit_id"], own, suspended):
        deposit = await scope.get(DEPOSITS, deposit_id)
        if deposit is not None and deposit["end_to_end_id"] == report.payment_id:
            return deposit
    return None


async def _open(scope: Context, deposit: DepositDocument, report_id: str, report: FraudReport) -> None:
    """Store the report and its return, and request the hold. What is returned already is not asked for again."""
    returning, returned = deposit.get("amount_returning", 0), deposit.get("amount_returned", 0)
    amount = min(report.amount, deposit["amount"] - returned - returning) if deposit["status"] == "settled" else 0
    if amount <= 0:
        scope.log.warning("nothing is left of the payment %s, which is reported as a fraud", report.payment_id)
        return
    document = await _new_return(scope, deposit, amount)
    scope.insert(RETURNS, document)
    scope.update(DEPOSITS, deposit, amount_returning=returning + amount)
    made: FraudReportDocument = {
        "id": report_id,
        "tenant_id": scope.tenant_id,
        "version": 1,
        "status": "open",
        "provider_id": report.id,
        "deposit_id": deposit["id"],
        "account_id": deposit["account_id"],
        "return_id": document["id"],
        "amount": amount,
        "amount_held": None,
        "currency": deposit["currency"],
        "details": None if report.details is None else (await scope.secrets.seal([report.details], "payers"))[0],
        "reason": None,
        "analysis_due_at": format_time(scope.now + timedelta(days=ANALYSIS_DAYS)),
        "decided_at": None,
        "correlation_id": deposit["correlation_id"],
        "created_at": scope.now_text,
        "updated_at": scope.now_text,
    }
    scope.insert(FRAUD_REPORTS, made)
    scope.emit(FraudReported(**report_parts(made), analysis_due_at=made["analysis_due_at"]))
    scope.emit(created_fact(document, attempt=1))


async def _new_return(scope: Context, deposit: DepositDocument, amount: int) -> ReturnDocument:
    return_id = scope.new_id(RETURN_PREFIX)
    assert deposit["end_to_end_id"] is not None, "the caller has found it by this id"
    return {
        "id": return_id,
        "tenant_id": scope.tenant_id,
        "version": 1,
        "status": "created",
        "nature": "fraud",
        "deposit_id": deposit["id"],
        "account_id": deposit["account_id"],
        "amount": amount,
        "currency": deposit["currency"],
        "reason": None,
        "end_to_end_id": deposit["end_to_end_id"],
        "rail_id": None,
        "confirmed_at": None,
        "transfer_id": scope.derived_id("ltr", return_id, "return"),
        "failure": None,
        "correlation_id": deposit["correlation_id"],
        "attempt": 1,
        "due_at": await saga.begin(scope, "return", return_id),
        "created_at": scope.now_text,
        "updated_at": scope.now_text,
    }


async def accept(ctx: Context, report: FraudReportDocument, reason: str | None) -> FraudReportDocument:
    """Accept an open report whose hold is answered, and return it: what is held is returned to the payer."""
    document = await ctx.get(RETURNS, report["return_id"])
    if document is not None and document["status"] == "held":
        due_at = await saga.begin(ctx, "return", document["id"])
        ctx.update(RETURNS, document, status="processing", attempt=1, due_at=due_at, updated_at=ctx.now_text)
    accepted = ctx.update(
        FRAUD_REPORTS, report, status="accepted", reason=reason, decided_at=ctx.now_text, updated_at=ctx.now_text
    )
    ctx.emit(FraudReportAccepted(**report_parts(accepted)))
    return accepted


async def accept_undecided(ctx: Context, tenant_id: str) -> None:
    """Accept a tenant's reports whose deadline has passed without a decision, at most MAX_OVERDUE; the next tick finds
    the others. A report whose hold is not answered yet stays open until it is, and takes no place among them: however
    many wait, the others are decided on."""
    overdue = {"analysis_due_at": (None, ctx.now_text), "amount_held": (0, None)}
    query = Query({"status": "open"}, ranges=overdue, order_by="analysis_due_at", limit=MAX_OVERDUE)
    reports = await run_in_tenant_unit_of_work(
        ctx, tenant_id, f"undecided/{ctx.origin.cause_id}", lambda scope: scope.find(FRAUD_REPORTS, query)
    )
    for report in reports:
        report_id = report["id"]

        async def decide(scope: Context, report_id: str = report_id) -> None:
            found = await scope.required(FRAUD_REPORTS, report_id)
            if found["status"] == "open" and found["amount_held"] is not None:
                await accept(scope, found, NOT_DECIDED)

        await run_in_tenant_unit_of_work(
            ctx, tenant_id, f"undecided/{report_id}", decide, correlation_id=report["correlation_id"]
        )


async def _cancel(scope: Context, report: FraudReportDocument) -> None:
    canceled = scope.update(
        FRAUD_REPORTS, report, status="canceled", decided_at=scope.now_text, updated_at=scope.now_text
    )
    await end_return(scope, report, "report_canceled", "The payer's bank has withdrawn its report of fraud.")
    scope.emit(FraudReportCanceled(**report_parts(canceled)))


async def end_return(ctx: Context, report: FraudReportDocument, code: str, detail: str) -> None:
    """Fail the return of a report, so that accounts releases what is held for it."""
    document = await ctx.get(RETURNS, report["return_id"])
    assert document is not None, "a report is stored with its return"
    if not return_is_final(document):
        await end_as_failed(ctx, document, Failure(code=code, detail=detail))
