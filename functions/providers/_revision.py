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
from shared.core.clock import format_time, parse_time
from shared.core.problems import Problem
from shared.records.pix_charges import PIX_CHARGES, PixChargeDocument, RevisionDocument

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


def terms_of(revision: RevisionDocument) -> tuple[int, str | None, int | None]:
    """Return what a payer sees of a change."""
    return revision["amount"], revision["description"], revision["expires_in"]


def amounts_of(charge: PixChargeDocument) -> frozenset[int]:
    """Return the amounts, in minor units, that pay the charge: two while the outcome of a change is unknown."""
    revising = charge.get("revising")
    return frozenset({charge["amount"]} if revising is None else {charge["amount"], revising["amount"]})


def can_be_paid(charge: PixChargeDocument, paid_at: str) -> bool:
    """Return whether a payment that was made at this time (RFC 3339 in UTC) pays the charge.

    The provider counts the seconds from its own creation of the charge, so it may accept a payment a little later.
    """
    revising = charge.get("revising")
    ends = [charge["expires_at"]] if revising is None else [charge["expires_at"], revising["expires_at"]]
    last = parse_time(max(ends)) + timedelta(seconds=GRACE_SECONDS)
    return charge["status"] in ("active", "expired") and paid_at < format_time(last)
