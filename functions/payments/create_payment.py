"""POST /v1/payments → payment.created."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from functions.payments._creation import created_fact
from functions.payments._payment_resource import Payment, payment_progress, payment_resource
from functions.payments._timeline import publish_and_record
from shared.context import saga
from shared.context.context import Context
from shared.context.payment_methods import require_method
from shared.context.persons import person_of, referenced_account
from shared.core.clock import format_time
from shared.core.money import Amount
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import METADATA, Command, Description, Identifier, Metadata, NullIsDefault, Reference
from shared.records.accounts import ACCOUNTS, CLOSED, AccountDocument
from shared.records.payments import PAYMENTS, PaymentDocument

_SEVEN_DAYS = 7 * 24 * 3600


class CreatePayment(Command):
    """A new payment: the amount, the two accounts, and whether it is captured at once."""

    amount: Amount = Field(description="The amount to pay. Both accounts must have its currency.")
    method: Literal["internal"] = Field(description="How the money moves. `internal`: between two accounts here.")
    payer_account_id: Identifier = Field(description="The id of the account that pays.")
    payee_account_id: Identifier = Field(description="The id of the account that receives the money; not the payer's.")
    capture: Annotated[Literal["automatic", "manual"], NullIsDefault()] = Field(
        default="automatic",
        description="`automatic` captures the payment as soon as the amount is held. With `manual`, capture or cancel "
        "it before it expires.",
    )
    expires_in: Annotated[int, Field(ge=60, le=2_592_000), NullIsDefault()] = Field(
        default=_SEVEN_DAYS,
        description="For how many seconds the amount is held for a capture. The default is seven days.",
    )
    reference: Reference | None = Field(default=None, description="Your own reference. Payments can be listed by it.")
    description: Description | None = Field(default=None, description="A text for the statements of both accounts.")
    metadata: Metadata | None = Field(default=None, description=METADATA)


@http_function(
    "POST /v1/payments",
    scope="payments:write",
    status=201,
    location="/v1/payments/{result.id}",
    progress=payment_progress,
    problems=("unknown_reference", "currency_mismatch", "account_closed"),
)
async def create_payment(command: CreatePayment, ctx: Context) -> Payment:
    """Create a payment between two accounts.

    The response has the status `created`. The amount is then held and moved, and the status changes to `settled`, or
    to `declined` with a `failure`. A person's token pays from accounts of the person only.
    """
    require_method(ctx, command.method)
    await _check_accounts(command, ctx)
    payment = await _new_payment(command, ctx)
    publish_and_record(ctx, payment["id"], payment["facts"], created_fact(payment, attempt=1))
    return payment_resource(ctx.insert(PAYMENTS, payment))


async def _check_accounts(command: CreatePayment, ctx: Context) -> None:
    if command.payer_account_id == command.payee_account_id:
        raise Problem.at("validation_failed", "/payee_account_id", "The payee's account is the payer's own.")
    await ctx.load((ACCOUNTS, command.payer_account_id), (ACCOUNTS, command.payee_account_id))
    payer = await referenced_account(ctx, command.payer_account_id, "/payer_account_id")
    _check_account(command, payer, "/payer_account_id")
    payee = await ctx.referenced(ACCOUNTS, command.payee_account_id, "/payee_account_id")
    _check_account(command, payee, "/payee_account_id")


def _check_account(command: CreatePayment, account: AccountDocument, pointer: str) -> None:
    if account["status"] in CLOSED:
        raise Problem.at("account_closed", pointer, "The account is closed.")
    if account["currency"] != command.amount.currency:
        raise Problem.at("currency_mismatch", pointer, f"The currency of the account is {account['currency']}.")


async def _new_payment(command: CreatePayment, ctx: Context) -> PaymentDocument:
    payment_id = ctx.new_id("pay")
    return {
        "id": payment_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "status": "created",
        "amount": command.amount.value,
        "currency": command.amount.currency,
        "amount_captured": 0,
        "amount_refunded": 0,
        "amount_refunding": 0,
        "capture_amount": None,
        "method": command.method,
        "payer_account_id": command.payer_account_id,
        "payee_account_id": command.payee_account_id,
        "capture": command.capture,
        "reference": command.reference,
        "description": command.description,
        "metadata": command.metadata,
        "created_by": person_of(ctx),
        "failure": None,
        "transfer_id": ctx.derived_id("ltr", payment_id, "capture"),
        "ledger_deadline": None,
        "attempt": 1,
        "due_at": await saga.begin(ctx, "payment", payment_id),
        "facts": 1,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
        "expires_at": format_time(ctx.now + timedelta(seconds=command.expires_in)),
    }
