"""POST /v1/payments → payment.created."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.payments._card import CardToken, refuse_card_number
from functions.payments._creation import created_fact
from functions.payments._payment_resource import Payment, payment_progress, payment_resource
from functions.payments._receiver import RECEIVERS, BankAccountReceiver, PixReceiver, rail_of, sealed_receiver
from functions.payments._timeline import publish_and_record, publish_via_rail
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
from shared.records.system_accounts import clearing_account

_SEVEN_DAYS = 7 * 24 * 3600


class CreatePayment(Command):
    """A new payment: the amount, who pays and receives, and whether it is captured at once."""

    amount: Amount = Field(description="The amount to pay. The accounts must have its currency.")
    method: Literal["internal", "pix", "bank_transfer", "card"] = Field(
        description="How the money moves. `internal`: between two accounts here. `pix`: from an account here to a PIX "
        "key or BR Code elsewhere, in BRL. `bank_transfer`: to an account at a bank, in BRL. `card`: from a card to "
        "an account here, in BRL."
    )
    payer_account_id: Identifier | None = Field(
        default=None,
        description="The id of the account that pays. Required, but not allowed with the method `card`.",
    )
    payee_account_id: Identifier | None = Field(
        default=None,
        description="The id of the account that receives the money; not the payer's. Required with the methods "
        "`internal` and `card`, and not allowed with another.",
    )
    pix: PixReceiver | None = Field(
        default=None,
        description="Who receives the money by PIX. Required with the method `pix`, and not allowed with another.",
    )
    bank_account: BankAccountReceiver | None = Field(
        default=None,
        description="The account at a bank that receives the money. Required with the method `bank_transfer`, and not "
        "allowed with another.",
    )
    card: CardToken | None = Field(
        default=None,
        description="The card that pays. Required with the method `card`, and not allowed with another.",
    )
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

    @classmethod
    def refuse_invalid(cls, value: Any) -> None:
        """Raise Problem `validation_failed` for a card payment with a card number in any field."""
        if isinstance(value, dict) and (value.get("method") == "card" or "card" in value):
            refuse_card_number(value)


@http_function(
    "POST /v1/payments",
    scope="payments:write",
    status=201,
    location="/v1/payments/{result.id}",
    progress=payment_progress,
    problems=("unknown_reference", "currency_mismatch", "account_closed"),
)
async def create_payment(command: CreatePayment, ctx: Context) -> Payment:
    """Create a payment between two accounts, from an account to a receiver elsewhere, or from a card to an account.

    The response has the status `created`. The amount is then held and moved, and the status changes to `settled`, or
    to `declined` with a `failure`. Over a rail such as PIX it is `processing` while the provider has it, however long
    that takes, then `settled`, `failed` with a `failure`, or `review`. A person's token pays from accounts of the
    person only, and charges cards to accounts of the person only.
    """
    require_method(ctx, command.method)
    if command.method == "internal":
        accounts = await _check_accounts(command, ctx)
        payment = await _new_payment(command, ctx, *accounts)
    elif command.method == "card":
        payment = await _new_card_payment(command, ctx)
        publish_via_rail(ctx, payment["id"], payment["facts"], created_fact(payment, attempt=1))
        return payment_resource(ctx.insert(PAYMENTS, payment))
    else:
        payment = await _new_rail_payment(command, ctx)
    publish_and_record(ctx, payment["id"], payment["facts"], created_fact(payment, attempt=1))
    return payment_resource(ctx.insert(PAYMENTS, payment))


async def _check_accounts(command: CreatePayment, ctx: Context) -> tuple[str, str]:
    """Check both accounts of an internal payment, and return the payer's id and the payee's."""
    payer_id, payee_id = command.payer_account_id, command.payee_account_id
    if payee_id is None:
        raise Problem.at("validation_failed", "/payee_account_id", "Field required with the method `internal`.")
    if payer_id is None:
        raise Problem.at("validation_failed", "/payer_account_id", "Field required with the method `internal`.")
    if command.pix is not None or command.bank_account is not None:
        _refuse_receivers(command, None)
    if command.card is not None:
        refuse_card_number(command.model_dump(mode="json"))
        raise Problem.at("validation_failed", "/card", "The method `internal` has no `card`.")
    if payer_id == payee_id:
        raise Problem.at("validation_failed", "/payee_account_id", "The payee's account is the payer's own.")
    await ctx.load((ACCOUNTS, payer_id), (ACCOUNTS, payee_id))
    payer = await referenced_account(ctx, payer_id, "/payer_account_id")
    _check_account(command, payer, "/payer_account_id")
    payee = await ctx.referenced(ACCOUNTS, payee_id, "/payee_account_id")
    _check_account(command, payee, "/payee_account_id")
    return payer_id, payee_id


async def _new_rail_payment(command: CreatePayment, ctx: Context) -> PaymentDocument:
    """Check a payment over a rail, and return it with the rail's clearing account as its payee."""
    field = RECEIVERS[command.method]
    _refuse_receivers(command, field)
    if command.payee_account_id is not None:
        detail = f"The method `{command.method}` has no `payee_account_id`: its receiver is in `{field}`."
        raise Problem.at("validation_failed", "/payee_account_id", detail)
    if command.card is not None:
        raise Problem.at("validation_failed", "/card", f"The method `{command.method}` has no `card`.")
    if command.payer_account_id is None:
        detail = f"Field required with the method `{command.method}`."
        raise Problem.at("validation_failed", "/payer_account_id", detail)
    receiver: Command | None = getattr(command, field)
    if receiver is None:
        raise Problem.at("validation_failed", f"/{field}", f"Field required with the method `{command.method}`.")
    rail = rail_of(ctx, command.method, command.amount)
    part = await sealed_receiver(ctx, rail, command.method, receiver, command.amount.value)
    payer = await referenced_account(ctx, command.payer_account_id, "/payer_account_id")
    _check_account(command, payer, "/payer_account_id")
    payment = await _new_payment(command, ctx, payer["id"], clearing_account(command.method, rail.currency))
    return {**payment, "rail": part}


async def _new_card_payment(command: CreatePayment, ctx: Context) -> PaymentDocument:
    """Check a card payment, and return it with the gateway's clearing account as its payer."""
    refuse_card_number(command.model_dump(mode="json"))
    if command.payer_account_id is not None:
        detail = "The method `card` has no `payer_account_id`: the card is in `card`."
        raise Problem.at("validation_failed", "/payer_account_id", detail)
    _refuse_receivers(command, None)
    for field in ("card", "payee_account_id"):
        if getattr(command, field) is None:
            raise Problem.at("validation_failed", f"/{field}", "Field required with the method `card`.")
    assert command.card is not None
    assert command.payee_account_id is not None
    rail = rail_of(ctx, command.method, command.amount)
    part = await sealed_receiver(ctx, rail, command.method, command.card, command.amount.value)
    payee = await referenced_account(ctx, command.payee_account_id, "/payee_account_id")
    _check_account(command, payee, "/payee_account_id")
    payment = await _new_payment(command, ctx, clearing_account(command.method, rail.currency), payee["id"])
    return {**payment, "rail": part}


def _refuse_receivers(command: CreatePayment, allowed: str | None) -> None:
    """Raise Problem `validation_failed` for a receiver of another method."""
    for field in RECEIVERS.values():
        if field != allowed and getattr(command, field) is not None:
            raise Problem.at("validation_failed", f"/{field}", f"The method `{command.method}` has no `{field}`.")


def _check_account(command: CreatePayment, account: AccountDocument, pointer: str) -> None:
    if account["status"] in CLOSED:
        raise Problem.at("account_closed", pointer, "The account is closed.")
    if account["currency"] != command.amount.currency:
        raise Problem.at("currency_mismatch", pointer, f"The currency of the account is {account['currency']}.")


async def _new_payment(command: CreatePayment, ctx: Context, payer_id: str, payee_id: str) -> PaymentDocument:
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
        "rail": None,
        "payer_account_id": payer_id,
        "payee_account_id": payee_id,
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
