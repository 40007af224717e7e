"""The change of a PIX charge at the provider, and the terms on which a payment pays it meanwhile.

The platform stores what it asks for before it asks. So, when the answer is lost, a payment on the old terms and one on
the new terms both pay the charge (docs/decisions/0037).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from functions.providers._pix_charge import GRACE_SECONDS, is_overdue
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.business_days import day_in_sao_paulo
from shared.core.clock import format_time, parse_time
from shared.core.due_terms import DueTerms, payable
from shared.core.problems import Problem
from shared.records.pix_charges import PIX_CHARGES, PixChargeChanges, PixChargeDocument, RevisionDocument

REVISING_SECONDS: Final = 60
"""How long a change that is asked for refuses another one: longer than the provider's answer takes."""


def require_active(ctx: Context, charge: PixChargeDocument) -> None:
    """Raise Problem `illegal_state` unless the charge can be paid and no payment of it was reported."""
    if charge["end_to_end_id"] is not None:
        raise Problem("illegal_state", "A payment of the charge was reported; it cannot be changed or removed.")
    if charge["status"] != "active" or is_overdue(charge, ctx.now_text):
        status = charge["status"] if charge["status"] != "active" else "expired"
        raise Problem("illegal_state", f"The charge is {status}; only an active one can be changed or removed.")


async def ask_for(ctx: Context, charge_id: str, revision: RevisionDocument) -> None:
    """Store what the provider is going to be asked for, durably.

    Raises Problem `illegal_state` while another change is being made.
    """

    async def store(scope: Context) -> None:
        found = await scope.required(PIX_CHARGES, charge_id)
        require_active(scope, found)
        other = found.get("revising")
        if other is not None:
            if terms_of(other) == terms_of(revision):
                return
            ends = parse_time(other["requested_at"]) + timedelta(seconds=REVISING_SECONDS)
            if format_time(ends) > scope.now_text:
                raise Problem("illegal_state", "The charge is being changed. Send the request again in a minute.")
        scope.update(PIX_CHARGES, found, revising=revision, updated_at=scope.now_text)

    cause_id = f"revise/{revision['requested_at']}/chg_{charge_id}"
    await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, cause_id, store)
    await ctx.durable()


async def forget(ctx: Context, charge_id: str, revision: RevisionDocument) -> None:
    """Remove a change that the provider has refused."""

    async def remove(scope: Context) -> None:
        found = await scope.required(PIX_CHARGES, charge_id)
        other = found.get("revising")
        if other is not None and terms_of(other) == terms_of(revision):
            scope.update(PIX_CHARGES, found, revising=None, updated_at=scope.now_text)

    cause_id = f"refused/{revision['requested_at']}/chg_{charge_id}"
    await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, cause_id, remove)


def terms_of(revision: RevisionDocument) -> tuple[int, str | None, int | None, DueTerms | None]:
    """Return what a payer sees of a change."""
    return revision["amount"], revision["description"], revision["expires_in"], revision.get("due")


def changes_of_payment(charge: PixChargeDocument, amount: int, paid_at: str) -> PixChargeChanges | None:
    """Return what a payment changes in the terms of the charge, or None when its amount does not pay the charge.

    `amount` is in minor units and `paid_at` is RFC 3339 in UTC. A charge with a due date is paid by what is payable on
    that day in São Paulo. While the outcome of a change is unknown, a payment on its terms pays, too: the charge takes
    the terms that the payer has seen.
    """
    revising = charge.get("revising")
    if amount == _payable(charge["amount"], charge.get("due"), paid_at):
        return {} if charge.get("due") is None else {"amount_paid": amount}
    if revising is None or amount != _payable(revising["amount"], revising.get("due"), paid_at):
        return None
    changes: PixChargeChanges = {"amount": revising["amount"]}
    if revising.get("due") is not None:
        changes |= {"due": revising.get("due"), "expires_at": revising["expires_at"], "amount_paid": amount}
    return changes


def _payable(amount: int, terms: DueTerms | None, paid_at: str) -> int:
    return amount if terms is None else payable(amount, terms, day_in_sao_paulo(parse_time(paid_at))).final


def can_be_paid(charge: PixChargeDocument, paid_at: str) -> bool:
    """Return whether a payment that was made at this time (RFC 3339 in UTC) pays the charge.

    The provider counts the seconds from its own creation of the charge, so it may accept a payment a little later.
    """
    revising = charge.get("revising")
    ends = [charge["expires_at"]] if revising is None else [charge["expires_at"], revising["expires_at"]]
    last = parse_time(max(ends)) + timedelta(seconds=GRACE_SECONDS)
    return charge["status"] in ("active", "expired") and paid_at < format_time(last)
