"""Card payments at the gateway: what is stored before a command, and what each report changes."""

from __future__ import annotations

from typing import Any, Final, Unpack

from events.cards import CardAuthorized, CardDeclined, CardRefundPaid, CardRefundRefused
from events.failure import Failure
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.money import money
from shared.ports.card_gateway import CardMovement, CardPayment
from shared.ports.documents import PLATFORM
from shared.records.card_payments import (
    CARD_PAYMENTS,
    CARD_REFUNDS,
    CardPaymentChanges,
    CardPaymentDocument,
    CardRefundChanges,
    CardRefundDocument,
)
from shared.records.failure import failure_document
from shared.records.payments import PAYMENTS, REFUNDS, PaymentDocument, RefundDocument
from shared.records.rail_payments import RAIL_REFERENCES, RailReferenceDocument, reference_id

PROVIDER: Final = "card"
_RANKS: Final = {"sending": 0, "pending": 1, "authorized": 2, "declined": 3, "canceled": 3, "expired": 3}
"""A report that is older than what is known has a lower rank, and changes nothing."""
_REASONS: Final = {
    "insufficient_funds": Failure(code="insufficient_funds", detail="The card has not enough available."),
    "limit_exceeded": Failure(code="limit_exceeded", detail="The payment is above a limit of the card."),
    "expired_card": Failure(code="card_expired", detail="The card has expired."),
    "lost_card": Failure(code="card_blocked", detail="The card's issuer has blocked the card."),
    "stolen_card": Failure(code="card_blocked", detail="The card's issuer has blocked the card."),
    "suspected_fraud": Failure(code="card_declined", detail="The card's issuer has declined the payment."),
    "invalid_token": Failure(code="invalid_card_token", detail="The gateway does not know the token, or it was used."),
}
"""The failure of a payment by the gateway's code. The issuer's suspicion is not shown to whoever holds the card."""


def decline_failure(code: str | None) -> Failure:
    """Return the failure of a payment that the gateway or the issuer has refused with this code."""
    found = _REASONS.get(code or "")
    return found or Failure(code="card_declined", detail=f"The card's issuer has declined the payment: {code}.")


async def remember_authorization(ctx: Context, payment: PaymentDocument) -> CardPaymentDocument:
    """Store a payment and its reference before its first command, durably, and return it.

    A callback must find the payment, whatever happens to this process; and the next attempt must know that a command
    may have been sent.
    """
    made: CardPaymentDocument = {
        "id": payment["id"],
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "status": "sending",
        "gateway_id": None,
        "amount": payment["amount"],
        "currency": payment["currency"],
        "authorized_until": None,
        "failure": None,
        "report": None,
        "correlation_id": ctx.origin.correlation_id,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }

    async def remember_reference(scope: Context) -> None:
        if await scope.get(RAIL_REFERENCES, reference_id(PROVIDER, payment["id"])) is None:
            found: RailReferenceDocument = {
                "id": reference_id(PROVIDER, payment["id"]),
                "tenant_id": PLATFORM,
                "version": 1,
                "paying_tenant_id": ctx.tenant_id,
                "payment_id": payment["id"],
                "correlation_id": ctx.origin.correlation_id,
                "created_at": scope.now_text,
            }
            scope.insert(RAIL_REFERENCES, found)

    async def remember(scope: Context) -> CardPaymentDocument:
        found = await scope.get(CARD_PAYMENTS, payment["id"])
        return scope.insert(CARD_PAYMENTS, made) if found is None else found

    # The reference comes first: a payment that is stored has one that callbacks find.
    await run_in_tenant_unit_of_work(ctx, PLATFORM, f"authorize/{payment['id']}", remember_reference)
    stored = await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, f"authorize/{payment['id']}", remember)
    await ctx.durable()
    return stored


async def remember_refund(ctx: Context, refund: RefundDocument) -> CardRefundDocument:
    """Store a refund before its first command, durably, and return it."""
    made: CardRefundDocument = {
        "id": refund["id"],
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "payment_id": refund["payment_id"],
        "status": "sending",
        "amount": refund["amount"],
        "amount_moved": None,
        "failure": None,
        "report": None,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }

    async def remember(scope: Context) -> CardRefundDocument:
        found = await scope.get(CARD_REFUNDS, refund["id"])
        return scope.insert(CARD_REFUNDS, made) if found is None else found

    stored = await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, f"refund/{refund['id']}", remember)
    await ctx.durable()
    return stored


async def apply_authorization(ctx: Context, known: CardPaymentDocument, found: CardPayment) -> CardPaymentDocument:
    """Change the payment as the gateway shows it, and publish a new decision of the issuer. An older report changes
    nothing."""
    if _RANKS[found.status] <= _RANKS[known["status"]]:
        return known
    changes: CardPaymentChanges = {
        "status": found.status,
        "gateway_id": found.id,
        "authorized_until": found.authorized_until,
        "report": found.report,
    }
    if found.status == "declined":
        failure = decline_failure(found.decline_code)
        changes["failure"] = failure_document(failure.code, failure.detail)
    changed = _changed(ctx, known, **changes)
    if known["status"] in ("sending", "pending"):
        await publish_decision(ctx, changed)
    return changed


async def refuse_authorization(ctx: Context, known: CardPaymentDocument, code: str) -> None:
    """Decline a payment that the gateway has refused with this code, and publish it."""
    failure = decline_failure(code)
    stored = failure_document(failure.code, failure.detail)
    await publish_decision(ctx, _changed(ctx, known, status="declined", failure=stored))


async def publish_decision(ctx: Context, known: CardPaymentDocument) -> None:
    """Publish the issuer's decision on a payment. Nothing is published while there is none."""
    payment = await ctx.required(PAYMENTS, known["id"])
    fields: dict[str, Any] = {
        "payment_id": known["id"],
        "amount": money(payment["amount"], payment["currency"]),
        "payer_account_id": payment["payer_account_id"],
        "payee_account_id": payment["payee_account_id"],
    }
    failure = known["failure"]
    if failure is not None:
        ctx.emit(CardDeclined(**fields, failure=Failure(code=failure["code"], detail=failure["detail"])))
    elif known["status"] == "authorized":
        expires_at = min(payment["expires_at"], known["authorized_until"] or payment["expires_at"])
        ctx.emit(CardAuthorized(**fields, expires_at=expires_at))
    elif known["status"] in ("canceled", "expired"):
        gone = Failure(code="card_declined", detail=f"The card gateway shows the authorization as {known['status']}.")
        ctx.emit(CardDeclined(**fields, failure=gone))


async def apply_refund(ctx: Context, known: CardRefundDocument, found: CardMovement) -> None:
    """Change the refund as the gateway shows it, and publish its outcome. A report after the outcome changes
    nothing."""
    if known["status"] in ("settled", "refused"):
        return
    if found.status == "pending":
        if known["status"] == "sending":
            _changed_refund(ctx, known, status="processing")
        return
    if found.status == "failed":
        await refuse_refund(ctx, known, found.code or "unknown", "The card gateway did not refund the payment.")
        return
    if found.amount != known["amount"]:
        # The ledger records what was ordered; a reconciliation shows the difference of the clearing account.
        ctx.log.error("the refund %s is of %d, and the gateway returned %d", known["id"], known["amount"], found.amount)
    await publish_refund(ctx, _changed_refund(ctx, known, status="settled", amount_moved=found.amount))


async def refuse_refund(ctx: Context, known: CardRefundDocument, code: str, detail: str) -> None:
    """End a refund that the gateway has refused, and publish it."""
    failure = failure_document("provider_refused", f"{code}: {detail}")
    await publish_refund(ctx, _changed_refund(ctx, known, status="refused", failure=failure))


async def publish_refund(ctx: Context, known: CardRefundDocument) -> None:
    """Publish the outcome of a refund."""
    refund = await ctx.required(REFUNDS, known["id"])
    fields: dict[str, Any] = {
        "refund_id": refund["id"],
        "payment_id": refund["payment_id"],
        "amount": money(refund["amount"], refund["currency"]),
    }
    failure = known["failure"]
    if failure is not None:
        ctx.emit(CardRefundRefused(**fields, failure=Failure(code=failure["code"], detail=failure["detail"])))
        return
    fact = CardRefundPaid(
        **fields,
        transfer_id=refund["transfer_id"],
        account_id=refund["payer_account_id"],
        clearing_account_id=refund["payee_account_id"],
    )
    ctx.emit(fact)


def mark_ended(ctx: Context, known: CardPaymentDocument, found: CardPayment) -> None:
    """Store that an authorization has ended, as the gateway shows it."""
    if _RANKS[found.status] > _RANKS[known["status"]]:
        _changed(ctx, known, status=found.status, gateway_id=found.id, report=found.report)


def _changed(ctx: Context, known: CardPaymentDocument, /, **changes: Unpack[CardPaymentChanges]) -> CardPaymentDocument:
    changes["updated_at"] = ctx.now_text
    return ctx.update(CARD_PAYMENTS, known, **changes)


def _changed_refund(
    ctx: Context, known: CardRefundDocument, /, **changes: Unpack[CardRefundChanges]
) -> CardRefundDocument:
    changes["updated_at"] = ctx.now_text
    return ctx.update(CARD_REFUNDS, known, **changes)
