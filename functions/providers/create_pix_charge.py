"""POST /v1/pix/charges → pix.charge_created."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from events.charges import ChargeCreated
from functions.providers._charge_owner import remember_charge
from functions.providers._due_terms import (
    DueRequest,
    debtor_index,
    due_order,
    require_portions,
    require_terms,
    sealed_debtor,
    terms_of_request,
)
from functions.providers._pix_charge import MAX_SECONDS, PROVIDER, provider_id, require_amount
from functions.providers._pix_charge_resource import PixCharge, pix_charge_resource
from shared.context.context import Context
from shared.context.payment_methods import require_method
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.clock import format_time
from shared.core.money import Amount
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Description, Identifier
from shared.ports.documents import PLATFORM
from shared.ports.rail import ChargeOrder, PayableCharge, RailRefused
from shared.records.accounts import ACCOUNTS, CLOSED
from shared.records.pix_charges import PIX_CHARGES, PixChargeDocument

DEFAULT_SECONDS: Final = 86_400


class CreatePixCharge(Command):
    """A new PIX charge: the amount to pay, and the account to credit."""

    account_id: Identifier = Field(description="The id of the account that receives the money.")
    amount: Amount = Field(description="The amount to pay, in BRL.")
    txid: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9]{26,35}$")] | None = Field(
        default=None,
        description="Your id of the charge: 26 to 35 letters and digits, never used before. Without it, one is made.",
    )
    expires_in: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        default=None,
        description="For how many seconds it can be paid. The default is one day. A charge with a due date has none.",
    )
    description: Description | None = Field(
        default=None, description="A text for the payer, whose bank shows its first 140 characters."
    )
    due: DueRequest | None = Field(
        default=None, description="The due date and what belongs to it. Without it, the charge is immediate."
    )


@http_function(
    "POST /v1/pix/charges",
    scope="pix:write",
    status=201,
    location="/v1/pix/charges/{result.txid}",
    sensitive=True,
    problems=("unknown_reference", "currency_mismatch", "account_closed"),
)
async def create_pix_charge(command: CreatePixCharge, ctx: Context) -> PixCharge:
    """Create a PIX charge.

    The charge is created at the provider, whose BR Code the response has. When the provider does not answer, the
    response is 503 `dependency_unavailable`: send the request again. The charge is `paid` when the provider has
    reported a payment of exactly its amount and the ledger has recorded it. With a due date, that is the amount of the
    day on which it was paid (the date in São Paulo), with fine, interest, rebate and discount.
    """
    require_method(ctx, PROVIDER)
    await _check(command, ctx)
    expires_at = _expires_at(command, ctx)
    txid = command.txid or ctx.new_id("chg").partition("_")[2]
    charge_id = provider_id(ctx, txid)
    if await ctx.get(PIX_CHARGES, charge_id) is not None:
        raise _taken(txid)
    deposit_id = ctx.derived_id("dep", f"chg_{charge_id}", "pix charge")
    payable = await _create_at_provider(ctx, command, txid, charge_id, deposit_id)
    due = command.due
    charge: PixChargeDocument = {
        "id": charge_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "txid": txid,
        "status": "active",
        "account_id": command.account_id,
        "amount": command.amount.value,
        "currency": command.amount.currency,
        "description": command.description,
        "expires_in": command.expires_in,
        "expires_at": expires_at,
        "br_code": payable.code,
        "location": payable.location,
        "exchange": payable.exchange,
        "deposit_id": deposit_id,
        "end_to_end_id": None,
        "correlation_id": ctx.origin.correlation_id,
        "revision": 0,
        "revising": None,
        "due": None if due is None else terms_of_request(due),
        "debtor": None if due is None else await sealed_debtor(ctx, due.debtor),
        "debtor_index": None if due is None else await debtor_index(ctx, due.debtor),
        "amount_paid": None,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
    ctx.insert(PIX_CHARGES, charge)
    ctx.emit(ChargeCreated(charge_id=txid, account_id=command.account_id, amount=command.amount, expires_at=expires_at))
    return await pix_charge_resource(charge, ctx)


def _expires_at(command: CreatePixCharge, ctx: Context) -> str:
    """Return until when the charge can be paid. Raises Problem when its due date and terms do not fit."""
    if command.due is None:
        return format_time(ctx.now + timedelta(seconds=command.expires_in or DEFAULT_SECONDS))
    if command.expires_in is not None:
        detail = "A charge with a due date has `due.valid_days` and no `expires_in`."
        raise Problem.at("validation_failed", "/expires_in", detail)
    require_portions(command.due, command.amount.currency)
    terms = terms_of_request(command.due)
    return require_terms(command.amount.value, terms, ctx.now, ctx.now, ctx.rails[PROVIDER].max_amount)


async def _check(command: CreatePixCharge, ctx: Context) -> None:
    account = await ctx.referenced(ACCOUNTS, command.account_id, "/account_id")
    if account["status"] in CLOSED:
        raise Problem.at("account_closed", "/account_id", "The account is closed.")
    require_amount(ctx, command.amount)
    if account["currency"] != command.amount.currency:
        raise Problem.at("currency_mismatch", "/account_id", f"The currency of the account is {account['currency']}.")


async def _create_at_provider(
    ctx: Context, command: CreatePixCharge, txid: str, charge_id: str, deposit_id: str
) -> PayableCharge:
    """Create the charge at the provider. Raises Unavailable when the outcome is unknown.

    The tenant of the charge is stored first, and durably: a callback must find it, whatever happens to this process.
    """
    tenant_id = ctx.tenant_id

    async def remember(scope: Context) -> None:
        await remember_charge(scope, PROVIDER, charge_id, tenant_id, deposit_id, ctx.origin.correlation_id)

    await run_in_tenant_unit_of_work(ctx, PLATFORM, charge_id, remember)
    await ctx.durable()
    order = ChargeOrder(
        charge_id,
        command.amount.value,
        command.expires_in or DEFAULT_SECONDS,
        command.description,
        ctx.public_url(f"/v1/providers/{PROVIDER}/callbacks"),
        None if command.due is None else due_order(command.due),
    )
    try:
        return await ctx.rails[PROVIDER].create_charge(order)
    except RailRefused as refusal:
        if refusal.code == "txid":
            raise _taken(txid) from None
        ctx.log.warning("the rail refused the PIX charge %s: %s: %s", charge_id, refusal.code, refusal)
        raise Problem("validation_failed", f"The PIX provider refused the charge: {refusal.code}: {refusal}") from None


def _taken(txid: str) -> Problem:
    return Problem.at("already_exists", "/txid", f"There is a charge of the txid {txid}; a txid is never used again.")
