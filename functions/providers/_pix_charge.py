"""The ids of PIX charges, their statuses, and the legal changes between them."""

from __future__ import annotations

import re
from typing import Final

from shared.context.context import Context
from shared.core.money import Money
from shared.core.problems import Problem
from shared.records.deposits import DepositDocument
from shared.records.pix_charges import PIX_CHARGES, PixChargeDocument, PixChargeStatus

PIX_CHARGE_CHANGES: Final[dict[PixChargeStatus, frozenset[PixChargeStatus]]] = {
    "active": frozenset({"paid", "removed", "expired"}),
    # A payment that was made in time may be reported after the charge has expired.
    "expired": frozenset({"paid"}),
    "paid": frozenset(),
    "removed": frozenset(),
}

PROVIDER: Final = "pix"
GRACE_SECONDS: Final = 60
MAX_SECONDS: Final = 31_536_000
"""The longest time for which a charge can be paid, in seconds: a year."""
_OUR_TXID: Final = re.compile(r"[0-9a-f]{32}")


def provider_id(ctx: Context, txid: str) -> str:
    """Return the id at the provider of the charge that the tenant knows by `txid`.

    All tenants share the receiver's account at the provider, where a txid is unique for ever. With an id that is
    derived from the tenant and its txid, no tenant can take or detect a txid of another (docs/decisions/0032).
    """
    # A txid that the platform made begins with the time, which the derived id keeps.
    cause = f"chg_{txid}" if _OUR_TXID.fullmatch(txid) else f"{txid}/"
    return ctx.derived_id("chg", cause, "pix charge").partition("_")[2]


async def find_pix_charge(ctx: Context, txid: str) -> PixChargeDocument:
    """Return the tenant's charge of this txid. Raises Problem `not_found`."""
    charge = await ctx.get(PIX_CHARGES, provider_id(ctx, txid))
    if charge is None:
        raise Problem("not_found", "There is no such PIX charge.")
    return charge


def is_overdue(charge: PixChargeDocument, now_text: str) -> bool:
    """Return whether an active charge has expired by now; the sweep writes it down later."""
    return charge["status"] == "active" and charge["end_to_end_id"] is None and charge["expires_at"] <= now_text


def require_amount(ctx: Context, amount: Money) -> None:
    """Raise Problem `currency_mismatch` or `validation_failed` for an amount that the rail does not move."""
    rail = ctx.rails[PROVIDER]
    if amount.currency != rail.currency:
        raise Problem.at("currency_mismatch", "/amount/currency", f"{rail.title} moves {rail.currency}.")
    if amount.value > rail.max_amount:
        detail = f"{rail.title} moves at most {rail.max_amount} minor units at once."
        raise Problem.at("validation_failed", "/amount/value", detail)


def change_status(ctx: Context, charge: PixChargeDocument, status: PixChargeStatus) -> PixChargeDocument:
    """Change the status and return the charge. Raises Problem `illegal_state` when the change is not legal."""
    if status not in PIX_CHARGE_CHANGES[charge["status"]]:
        raise Problem("illegal_state", f"The charge is {charge['status']}; it cannot change to {status}.")
    return ctx.update(PIX_CHARGES, charge, status=status, updated_at=ctx.now_text)


async def settle_pix_charge(ctx: Context, deposit: DepositDocument) -> None:
    """Change the PIX charge whose payment this settled deposit is to `paid`; a deposit of no charge changes nothing."""
    charge = await ctx.get(PIX_CHARGES, provider_id(ctx, deposit["txid"]))
    if charge is not None and charge["deposit_id"] == deposit["id"] and charge["status"] != "paid":
        change_status(ctx, charge, "paid")
