"""POST /v1/pix/charges/{txid}/remove → pix.charge_removed."""

from __future__ import annotations

from events.charges import ChargeRemoved
from functions.providers._pix_charge import PROVIDER, change_status, find_pix_charge
from functions.providers._pix_charge_resource import PixCharge, pix_charge_resource
from functions.providers._revision import require_active
from shared.context.context import Context
from shared.core.money import money
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.ports.rail import CHARGE_OVER, RailRefused


class RemovePixCharge(Command):
    """An object without fields, or no body at all."""


@http_function(
    "POST /v1/pix/charges/{txid}/remove",
    scope="pix:write",
    empty_body_is_object=True,
    sensitive=True,
    problems=("illegal_state",),
)
async def remove_pix_charge(txid: str, command: RemovePixCharge, ctx: Context) -> PixCharge:
    """Withdraw an active PIX charge, so that it cannot be paid any more.

    A charge that is withdrawn already stays as it is; one that is paid or expired cannot be withdrawn. When the
    provider does not answer, the response is 503 `dependency_unavailable`: send the request again.
    """
    del command
    charge = await find_pix_charge(ctx, txid)
    if charge["status"] == "removed":
        return await pix_charge_resource(charge, ctx)
    require_active(ctx, charge)
    try:
        await ctx.rails[PROVIDER].remove_charge(charge["id"], is_due=charge.get("due") is not None)
    except RailRefused as refusal:
        if refusal.code == CHARGE_OVER:
            raise Problem("illegal_state", f"The charge cannot be withdrawn: {refusal}") from None
        ctx.log.warning("the rail refused to remove the charge %s: %s: %s", charge["id"], refusal.code, refusal)
        raise Problem("validation_failed", f"The PIX provider refused: {refusal.code}: {refusal}") from None
    removed = change_status(ctx, charge, "removed")
    ctx.emit(
        ChargeRemoved(
            charge_id=txid,
            account_id=charge["account_id"],
            amount=money(charge["amount"], charge["currency"]),
            expires_at=charge["expires_at"],
        )
    )
    return await pix_charge_resource(removed, ctx)
