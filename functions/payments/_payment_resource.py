"""The payment resource of the HTTP API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from functions.payments._states import awaits_caller
from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.failures import FailureResource, failure_resource
from shared.http.models import METADATA, CreatedAt, Resource, Time, UpdatedAt
from shared.records.payments import PAYMENTS, PaymentDocument, PaymentMethod, PaymentStatus, RailPartDocument


class PixPayment(Resource):
    """What a payment by PIX has in addition."""

    key: str | None = Field(description="The receiver's key, masked; null for a payment of a BR Code.")
    br_code: str | None = Field(description="The BR Code that is paid, with its key masked; null without one.")
    end_to_end_id: str | None = Field(description="The end-to-end id of PIX; null until the provider has the payment.")


class CardPaymentPart(Resource):
    """What a payment by card has in addition."""

    token: str = Field(description="The token of the card, masked.")


class BankTransferPayment(Resource):
    """What a payment by bank transfer has in addition: the account that receives the money, masked."""

    bank: str = Field(description="The bank's code: three digits (COMPE), or the eight characters of its ISPB.")
    branch: str = Field(description="The branch, masked.")
    number: str = Field(description="The account's number, masked.")
    type: str = Field(description="The kind of account: `checking`, `savings` or `payment`.")
    holder_name: str = Field(description="The holder's name, masked.")
    holder_document: str = Field(description="The holder's taxpayer number, masked.")
    end_to_end_id: str | None = Field(
        description="Our reference of the transfer at the bank, which settlement files have; null until it is ordered."
    )


def _with_rails(schema: dict[str, Any]) -> None:
    """Add the objects of the rails, which only payments over that rail have."""
    schema["properties"]["pix"] = PixPayment.model_json_schema(mode="serialization")
    schema["properties"]["card"] = CardPaymentPart.model_json_schema(mode="serialization")
    schema["properties"]["bank_account"] = BankTransferPayment.model_json_schema(mode="serialization")


class Payment(Resource):
    """A payment between two accounts, or over a rail."""

    model_config = ConfigDict(json_schema_extra=_with_rails)

    id: str = Field(description="The payment's id, `pay_…`.")
    status: PaymentStatus = Field(
        description="`created`: accepted, the amount is not held yet. `authorized`: the amount is held on the payer's "
        "account. `capturing`: the ledger, or the provider of the rail, was asked to move the money. `processing`: the "
        "provider has the payment. `review`: the provider has moved another amount; an operator decides. `settled`: "
        "the money has moved. `declined`: the amount could not be held (see `failure`). `failed`: the ledger or the "
        "provider did not move the money (see `failure`). `canceled` by the caller. `expired`: not captured before "
        "`expires_at`."
    )
    amount: Money = Field(description="The amount that was requested.")
    amount_captured: Money = Field(description="The part of `amount` that was moved to the payee; 0 before settlement.")
    amount_refunded: Money = Field(description="The sum of all settled refunds.")
    method: PaymentMethod = Field(
        description="How the money moves. `internal`: between two accounts here. Otherwise the rail; the payment then "
        "has an object of this name."
    )
    payer_account_id: str | None = Field(description="The id of the account that pays; null for a card.")
    payee_account_id: str | None = Field(
        description="The id of the account that receives the money; null for a receiver elsewhere."
    )
    capture: Literal["automatic", "manual"] = Field(
        description="`automatic`: captured as soon as the amount is held. `manual`: the caller captures or cancels it."
    )
    reference: str | None = Field(description="The caller's own reference, or null.")
    description: str | None = Field(description="The text for the statements of both accounts, or null.")
    metadata: dict[str, str] | None = Field(description=METADATA)
    failure: FailureResource | None = Field(
        description="Why the payment is `declined`, `failed` or `expired`; null where nothing failed."
    )
    created_at: CreatedAt
    updated_at: UpdatedAt
    expires_at: Time = Field(description="When an amount that is held and not captured is released.")


class CardInPayment(Payment):
    """A payment by card."""

    card: CardPaymentPart


class PixOutPayment(Payment):
    """A payment by PIX."""

    pix: PixPayment


class BankPayment(Payment):
    """A payment by bank transfer."""

    bank_account: BankTransferPayment


def payment_resource(payment: PaymentDocument) -> Payment:
    """Return the resource of a payment, which has an object of its rail when it is one over a rail."""
    currency = payment["currency"]
    resource = Payment(
        id=payment["id"],
        status=payment["status"],
        amount=money(payment["amount"], currency),
        amount_captured=money(payment["amount_captured"], currency),
        amount_refunded=money(payment["amount_refunded"], currency),
        method=payment["method"],
        payer_account_id=payment["payer_account_id"],
        payee_account_id=payment["payee_account_id"],
        capture=payment["capture"],
        reference=payment["reference"],
        description=payment["description"],
        metadata=payment["metadata"],
        failure=failure_resource(payment["failure"]),
        created_at=payment["created_at"],
        updated_at=payment["updated_at"],
        expires_at=payment["expires_at"],
    )
    if payment["method"] == "internal":
        return resource
    part = payment.get("rail")
    assert part is not None, "a payment with another method than `internal` has the part of its rail"
    return _OVER_RAIL[payment["method"]](resource, part)


def _by_pix(resource: Payment, part: RailPartDocument) -> Payment:
    shown = part["shown"]
    pix = PixPayment(key=shown.get("key"), br_code=shown.get("br_code"), end_to_end_id=part["end_to_end_id"])
    return PixOutPayment(**{**dict(resource), "payee_account_id": None, "pix": pix})


def _by_card(resource: Payment, part: RailPartDocument) -> Payment:
    card = CardPaymentPart(token=part["shown"]["token"])
    return CardInPayment(**{**dict(resource), "payer_account_id": None, "card": card})


def _by_bank_transfer(resource: Payment, part: RailPartDocument) -> Payment:
    account = BankTransferPayment.model_validate({**part["shown"], "end_to_end_id": part["end_to_end_id"]})
    return BankPayment(**{**dict(resource), "payee_account_id": None, "bank_account": account})


_OVER_RAIL: Final[dict[PaymentMethod, Callable[[Payment, RailPartDocument], Payment]]] = {
    "pix": _by_pix,
    "card": _by_card,
    "bank_transfer": _by_bank_transfer,
}
"""The resource of a payment over a rail, by the payment method."""


async def payment_progress(ctx: Context, last: Payment) -> tuple[Payment, bool]:
    """Return the payment as it is now, and whether the platform has finished its work on it for now."""
    payment = await ctx.required(PAYMENTS, last.id)
    return payment_resource(payment), awaits_caller(payment)
