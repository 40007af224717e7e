"""POST /v1/pix/static-codes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from functions.providers._charge_owner import remember_charge
from functions.providers._pix_charge import require_amount
from functions.providers._static_code import PROVIDER, code_id, new_txid
from functions.providers._static_code_resource import StaticCode, static_code_resource
from shared.context.context import Context
from shared.context.payment_methods import require_method
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.money import Amount
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Identifier
from shared.ports.documents import PLATFORM
from shared.ports.rail import RailRefused, StaticCodeOrder
from shared.records.accounts import ACCOUNTS, CLOSED
from shared.records.pix_static_codes import STATIC_CODES, StaticCodeDocument
from shared.records.tenants import TENANTS


class CreateStaticCode(Command):
    """A new static code: the account to credit."""

    account_id: Identifier = Field(description="The id of the account that receives the money.")
    amount: Amount | None = Field(
        default=None, description="The amount of each payment, in BRL. Without it, the payer chooses the amount."
    )
    txid: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9]{1,25}$")] | None = Field(
        default=None, description="Your id of the code: 1 to 25 letters and digits. Without it, one is made."
    )


@http_function(
    "POST /v1/pix/static-codes",
    scope="pix:write",
    status=201,
    location="/v1/pix/static-codes/{result.txid}",
    problems=("already_exists", "unknown_reference", "currency_mismatch", "account_closed"),
)
async def create_pix_static_code(command: CreateStaticCode, ctx: Context) -> StaticCode:
    """Create a static BR Code of an account.

    Any number of payers may pay it, and it does not expire. Each payment becomes a deposit to the account, once; one
    that does not fit the code's amount, or the account any more, goes to the suspense account. When the provider does
    not answer, the response is 503 `dependency_unavailable`: send the request again.
    """
    require_method(ctx, PROVIDER)
    rail = ctx.rails[PROVIDER]
    await _check(command, ctx)
    txid = command.txid or new_txid(ctx)
    id = code_id(ctx, txid)
    if await ctx.get(STATIC_CODES, id) is not None:
        raise Problem.at("already_exists", "/txid", f"There is a static code of the txid {txid}.")
    await _remember(ctx, id)
    tenant = await ctx.required(TENANTS, ctx.tenant_id)
    amount = None if command.amount is None else command.amount.value
    callback_url = ctx.public_url(f"/v1/providers/{PROVIDER}/callbacks")
    try:
        br_code = await rail.static_code(StaticCodeOrder(id, amount, tenant["name"], callback_url))
    except RailRefused as refusal:
        ctx.log.warning("the rail refused the static code %s: %s: %s", id, refusal.code, refusal)
        raise Problem("validation_failed", f"The PIX provider refused the code: {refusal.code}: {refusal}") from None
    code: StaticCodeDocument = {
        "id": id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "txid": txid,
        "account_id": command.account_id,
        "amount": amount,
        "currency": rail.currency,
        "br_code": br_code,
        "correlation_id": ctx.origin.correlation_id,
        "created_at": ctx.now_text,
    }
    ctx.insert(STATIC_CODES, code)
    return static_code_resource(code)


async def _check(command: CreateStaticCode, ctx: Context) -> None:
    account = await ctx.referenced(ACCOUNTS, command.account_id, "/account_id")
    if account["status"] in CLOSED:
        raise Problem.at("account_closed", "/account_id", "The account is closed.")
    if command.amount is not None:
        require_amount(ctx, command.amount)
    if account["currency"] != ctx.rails[PROVIDER].currency:
        raise Problem.at("currency_mismatch", "/account_id", f"The currency of the account is {account['currency']}.")


async def _remember(ctx: Context, id: str) -> None:
    """Store the tenant of the code, durably, before it can be paid."""
    tenant_id, deposit_id = ctx.tenant_id, ctx.derived_id("dep", f"chg_{id}", "static code")

    async def remember(scope: Context) -> None:
        await remember_charge(scope, PROVIDER, id, tenant_id, deposit_id, ctx.origin.correlation_id)

    await run_in_tenant_unit_of_work(ctx, PLATFORM, id, remember)
    await ctx.durable()
