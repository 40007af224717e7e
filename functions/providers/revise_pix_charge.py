"""PATCH /v1/pix/charges/{txid} → pix.charge_revised."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from events.charges import ChargeRevised
from functions.providers._due_terms import DueRevision, require_portions, require_terms, revised_terms
from functions.providers._pix_charge import MAX_SECONDS, PROVIDER, find_pix_charge, require_amount
from functions.providers._pix_charge_resource import PixCharge, pix_charge_resource
from functions.providers._revision import ask_for, forget, require_active, terms_of
from shared.context.context import Context
from shared.core.clock import format_time, parse_time
from shared.core.money import Amount, money
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.ports.rail import CHARGE_OVER, ChargeRevision, RailRefused
from shared.records.pix_charges import PIX_CHARGES, PixChargeDocument, RevisionDocument


class RevisePixCharge(Command):
    """The fields to change. A field that is absent or null stays as it is."""

    amount: Amount | None = Field(default=None, description="The new amount to pay, in BRL. Null changes nothing.")
    expires_in: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        default=None,
        description="For how many seconds after its creation an immediate charge can be paid. Null changes nothing.",
    )
    description: Description | None = Field(
        default=None, description="The new text for the payer. Null changes nothing."
    )
    due: DueRevision | None = Field(
        default=None, description="The new terms of a charge with a due date. Null changes nothing."
    )


@http_function("PATCH /v1/pix/charges/{txid}", scope="pix:write", problems=("illegal_state", "currency_mismatch"))
async def revise_pix_charge(txid: str, command: RevisePixCharge, ctx: Context) -> PixCharge:
    """Change the amount, the expiry, the text, or the terms of the due date of an active PIX charge.

    The BR Code stays the same; a payer who reads it from now on sees the new terms. When the provider does not answer,
    the response is 503 `dependency_unavailable`: send the request again. Until then a payment on the old terms and one
    on the new terms both pay the charge. A charge that is paid, removed or expired cannot be changed. An immediate
    charge gets no due date, and the debtor of a charge stays the same.
    """
    charge = await find_pix_charge(ctx, txid)
    require_active(ctx, charge)
    if command.amount is not None:
        require_amount(ctx, command.amount)
    revision = _revision(command, charge, ctx)
    present = (charge["amount"], charge["description"], charge["expires_in"], charge.get("due"))
    if terms_of(revision) == present and charge.get("revising") is None:
        return await pix_charge_resource(charge, ctx)
    await ask_for(ctx, charge["id"], revision)
    try:
        await ctx.rails[PROVIDER].revise_charge(_order(charge["id"], revision))
    except RailRefused as refusal:
        await forget(ctx, charge["id"], revision)
        if refusal.code == CHARGE_OVER:
            raise Problem("illegal_state", f"The charge cannot be changed: {refusal}") from None
        ctx.log.warning("the rail refused to change the charge %s: %s: %s", charge["id"], refusal.code, refusal)
        raise Problem("validation_failed", f"The PIX provider refused the change: {refusal.code}: {refusal}") from None
    return await _revised(ctx, txid, revision)


def _revision(command: RevisePixCharge, charge: PixChargeDocument, ctx: Context) -> RevisionDocument:
    expires_in, expires_at, due = charge["expires_in"], charge["expires_at"], charge.get("due")
    amount = charge["amount"] if command.amount is None else command.amount.value
    if due is None and command.due is not None:
        raise Problem.at("validation_failed", "/due", "The charge is an immediate one; it gets no due date.")
    if due is not None:
        if command.expires_in is not None:
            detail = "A charge with a due date has `due.valid_days` and no `expires_in`."
            raise Problem.at("validation_failed", "/expires_in", detail)
        if command.due is not None:
            require_portions(command.due, charge["currency"])
            due = revised_terms(due, command.due)
        created, maximum = parse_time(charge["created_at"]), ctx.rails[PROVIDER].max_amount
        expires_at = require_terms(amount, due, created, ctx.now, maximum)
    if command.expires_in is not None:
        expires_in = command.expires_in
        expires_at = format_time(parse_time(charge["created_at"]) + timedelta(seconds=expires_in))
        if expires_at <= ctx.now_text:
            detail = "The seconds count from the creation of the charge; that time has passed."
            raise Problem.at("validation_failed", "/expires_in", detail)
    return {
        "amount": amount,
        "description": charge["description"] if command.description is None else command.description,
        "expires_in": expires_in,
        "expires_at": expires_at,
        "requested_at": ctx.now_text,
        "due": due,
    }


def _order(charge_id: str, revision: RevisionDocument) -> ChargeRevision:
    """Return the command with all terms: it also undoes an earlier change whose answer was lost."""
    return ChargeRevision(
        charge_id, revision["amount"], revision["expires_in"], revision["description"], revision.get("due")
    )


async def _revised(ctx: Context, txid: str, revision: RevisionDocument) -> PixCharge:
    """Store the change that the provider has made."""
    charge = await find_pix_charge(ctx, txid)
    if charge["end_to_end_id"] is not None or charge["status"] != "active":
        raise Problem("illegal_state", "The charge was paid or has ended meanwhile.")
    number = charge.get("revision", 0) + 1
    charge = ctx.update(
        PIX_CHARGES,
        charge,
        amount=revision["amount"],
        description=revision["description"],
        expires_in=revision["expires_in"],
        expires_at=revision["expires_at"],
        due=revision.get("due"),
        revision=number,
        revising=None,
        updated_at=ctx.now_text,
    )
    ctx.emit(
        ChargeRevised(
            charge_id=txid,
            account_id=charge["account_id"],
            amount=money(charge["amount"], charge["currency"]),
            expires_at=charge["expires_at"],
            revision=number,
        )
    )
    return await pix_charge_resource(charge, ctx)
