"""POST /v1/deposits → deposit.created."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from events.deposits import DepositCreated
from functions.providers._deposit import deposit_parts
from functions.providers._deposit_resource import Deposit, deposit_progress, deposit_resource
from shared.context import saga
from shared.context.context import Context
from shared.context.payment_methods import require_method
from shared.context.persons import referenced_account
from shared.core.money import Amount
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Identifier
from shared.records.accounts import CLOSED
from shared.records.deposits import DEPOSITS, DepositDocument


class CreateDeposit(Command):
    """A new deposit: the amount to collect, and the account to credit."""

    account_id: Identifier = Field(description="The id of the account that receives the money.")
    amount: Amount = Field(description="The amount to collect, in the account's currency.")
    method: Literal["pix"] = Field(description="The rail to collect the money by.")


@http_function(
    "POST /v1/deposits",
    scope="deposits:write",
    status=201,
    location="/v1/deposits/{result.id}",
    progress=deposit_progress,
    problems=("unknown_reference", "currency_mismatch", "account_closed"),
)
async def create_deposit(command: CreateDeposit, ctx: Context) -> Deposit:
    """Create a deposit.

    The provider is asked to collect the money. The deposit is `settled` when the provider has reported the payment and
    the ledger has recorded it.
    """
    require_method(ctx, command.method)
    await _check(command, ctx)
    deposit = await _new_deposit(command, ctx)
    ctx.insert(DEPOSITS, deposit)
    ctx.emit(DepositCreated(**deposit_parts(deposit), method=deposit["method"]))
    return deposit_resource(deposit)


async def _check(command: CreateDeposit, ctx: Context) -> None:
    account = await referenced_account(ctx, command.account_id, "/account_id")
    if account["status"] in CLOSED:
        raise Problem.at("account_closed", "/account_id", "The account is closed.")
    rail = ctx.rails[command.method]
    if command.amount.currency != rail.currency:
        raise Problem.at("currency_mismatch", "/amount/currency", f"{rail.title} moves {rail.currency}.")
    if account["currency"] != command.amount.currency:
        raise Problem.at("currency_mismatch", "/account_id", f"The currency of the account is {account['currency']}.")
    if command.amount.value > rail.max_amount:
        detail = f"{rail.title} moves at most {rail.max_amount} minor units at once."
        raise Problem.at("validation_failed", "/amount/value", detail)


async def _new_deposit(command: CreateDeposit, ctx: Context) -> DepositDocument:
    deposit_id = ctx.new_id("dep")
    return {
        "id": deposit_id,
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "status": "created",
        "account_id": command.account_id,
        "amount": command.amount.value,
        "currency": command.amount.currency,
        "method": command.method,
        # A txid (BCB, Pix API) consists of letters and digits, so the prefix with its underscore is removed.
        "txid": ctx.derived_id("chg", deposit_id, "charge").partition("_")[2],
        "transfer_id": ctx.derived_id("ltr", deposit_id, "deposit"),
        "end_to_end_id": None,
        "failure": None,
        "correlation_id": ctx.origin.correlation_id,
        "attempt": 1,
        "due_at": await saga.begin(ctx, "deposit", deposit_id),
        "paid_at": None,
        "amount_returned": 0,
        "amount_returning": 0,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
