"""Payments at a provider: what is stored before a command, and what each report changes."""

from __future__ import annotations

from typing import Any, Final, Unpack

from events.failure import Failure
from events.rail_payments import RailPaymentEvent
from functions.providers._look_ups import give_back
from functions.providers._rail_facts import RAIL_FACTS
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.money import money
from shared.ports.documents import PLATFORM
from shared.ports.rail_payments import PROVIDER_REFUSED, RailReport
from shared.records.accounts import ACCOUNTS
from shared.records.failure import failure_document
from shared.records.payments import PaymentDocument
from shared.records.rail_payments import (
    RAIL_PAYMENTS,
    RAIL_REFERENCES,
    RailPaymentChanges,
    RailPaymentDocument,
    RailReferenceDocument,
    reference_id,
)

FINAL: Final = frozenset({"settled", "refused", "returned"})
"""The statuses that a report does not change any more, except for the return of a settled payment."""


async def remember_payment(ctx: Context, payment: PaymentDocument) -> RailPaymentDocument:
    """Store a payment and its reference before its first command, durably, and return it.

    A callback must find the payment, whatever happens to this process; and the next attempt must know that a command
    may have been sent.
    """
    rail, amount = payment["method"], payment["capture_amount"]
    assert amount is not None, "a payment is captured before it is ordered"
    reference = ctx.payment_rails[rail].reference(ctx.tenant_id, payment["id"], ctx.now)
    payer = await ctx.get(ACCOUNTS, payment["payer_account_id"])
    made: RailPaymentDocument = {
        "id": payment["id"],
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "rail": rail,
        "reference": reference,
        "payer_user_id": None if payer is None else payer["owner_id"],
        "status": "sending",
        "amount": amount,
        "currency": payment["currency"],
        "amount_moved": None,
        "amount_returned": None,
        "failure": None,
        "report": None,
        "reported_at": None,
        "returned_at": None,
        "correlation_id": ctx.origin.correlation_id,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }

    async def remember_reference(scope: Context) -> None:
        if await scope.get(RAIL_REFERENCES, reference_id(rail, reference)) is None:
            found: RailReferenceDocument = {
                "id": reference_id(rail, reference),
                "tenant_id": PLATFORM,
                "version": 1,
                "paying_tenant_id": ctx.tenant_id,
                "payment_id": payment["id"],
                "correlation_id": ctx.origin.correlation_id,
                "created_at": scope.now_text,
            }
            scope.insert(RAIL_REFERENCES, found)

    async def remember(scope: Context) -> RailPaymentDocument:
        found = await scope.get(RAIL_PAYMENTS, payment["id"])
        return scope.insert(RAIL_PAYMENTS, made) if found is None else found

    # The reference comes first: a payment that is stored has one that callbacks find.
    await run_in_tenant_unit_of_work(ctx, PLATFORM, f"{rail}/{payment['id']}", remember_reference)
    stored = await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, f"{rail}/{payment['id']}", remember)
    await ctx.durable()
    return stored


async def apply_report(ctx: Context, known: RailPaymentDocument, report: RailReport) -> None:
    """Change the payment as the provider reports it, and publish a new status. A report after the outcome changes
    nothing, unless a settled payment came back. A return that is reported first says that it was settled, too."""
    known = await _apply_outcome(ctx, known, report)
    if report.returns:
        # Imported here, because few payments come back.
        from functions.providers._rail_returns import take_returns

        await take_returns(ctx, known, report)


async def _apply_outcome(ctx: Context, known: RailPaymentDocument, report: RailReport) -> RailPaymentDocument:
    """Change the payment by the status of the report, and return it."""
    if report.status == "returned" and known["status"] not in ("refused", "returned"):
        return _return(ctx, known, report)
    if known["status"] in FINAL:
        is_late = (known["status"], report.status) == ("returned", "settled")
        if known["status"] != report.status and report.status in FINAL and not is_late:
            ctx.log.error("%s reports %s as %s after %s", known["rail"], known["id"], report.status, known["status"])
        return known
    if report.status == "processing":
        if known["status"] == "sending":
            known = changed(ctx, known, status="processing", report=report.report)
            ctx.emit(fact_of(known))
        return known
    if report.status == "settled":
        await give_back(ctx, known)
        known = changed(
            ctx, known, status="settled", report=report.report, amount_moved=report.amount, reported_at=ctx.now_text
        )
    else:
        detail = f"{report.code}: {report.detail}" if report.reason == PROVIDER_REFUSED else report.detail
        failure = failure_document(report.reason, detail)
        known = changed(ctx, known, status="refused", report=report.report, failure=failure)
    ctx.emit(fact_of(known))
    return known


def _return(ctx: Context, known: RailPaymentDocument, report: RailReport) -> RailPaymentDocument:
    returned = RAIL_FACTS[known["rail"]].returned
    if returned is None:
        ctx.log.error("%s reports %s as returned, which its payments never are", known["rail"], known["id"])
        return known
    if known["status"] != "settled":
        known = changed(ctx, known, status="settled", amount_moved=report.amount, reported_at=ctx.now_text)
        ctx.emit(fact_of(known))
    known = changed(
        ctx, known, status="returned", report=report.report, amount_returned=report.amount, returned_at=ctx.now_text
    )
    fields = {**payment_parts(known), "amount_returned": money(report.amount, known["currency"])}
    ctx.emit(returned({**fields, "reason": report.code}))
    return known


def changed(ctx: Context, known: RailPaymentDocument, /, **changes: Unpack[RailPaymentChanges]) -> RailPaymentDocument:
    """Change fields of the payment, and return it."""
    changes["updated_at"] = ctx.now_text
    return ctx.update(RAIL_PAYMENTS, known, **changes)


def fact_of(known: RailPaymentDocument) -> RailPaymentEvent:
    """Return the fact about the payment's outcome or, without one, that it is with the provider."""
    facts, currency, fields = RAIL_FACTS[known["rail"]], known["currency"], payment_parts(known)
    moved, failure = known["amount_moved"], known["failure"]
    if failure is not None:
        return facts.refused({**fields, "failure": Failure(code=failure["code"], detail=failure["detail"])})
    if moved is not None:
        return facts.confirmed({**fields, "amount_moved": money(moved, currency)})
    return facts.sent(fields)


def payment_parts(known: RailPaymentDocument) -> dict[str, Any]:
    """Return the fields that every fact about a payment at a provider has (events.rail_payments.RailPaymentEvent)."""
    return {
        "payment_id": known["id"],
        "end_to_end_id": known["reference"],
        "amount": money(known["amount"], known["currency"]),
    }
