"""GET /v1/pix/charges/{txid}."""

from __future__ import annotations

from functions.providers._pix_charge import find_pix_charge
from functions.providers._pix_charge_resource import PixCharge, pix_charge_resource
from shared.context.context import Context
from shared.functions.decorators import http_function


@http_function("GET /v1/pix/charges/{txid}", scope="pix:read")
async def get_pix_charge(txid: str, ctx: Context) -> PixCharge:
    """Retrieve a PIX charge."""
    return await pix_charge_resource(await find_pix_charge(ctx, txid), ctx)
