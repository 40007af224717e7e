"""GET /v1/pix/charges/{txid}/qr.png: the QR code of a PIX charge, as a picture."""

from __future__ import annotations

from functions.providers._pix_charge import find_pix_charge
from functions.providers._qr_picture import PNG, SVG, qr_picture
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest, HttpResponse


@http_function("GET /v1/pix/charges/{txid}/qr.png", scope="pix:read", files=(PNG, SVG))
async def get_pix_charge_qr(txid: str, request: HttpRequest, ctx: Context) -> HttpResponse:
    """Retrieve the QR code of a PIX charge as a picture: PNG, or SVG when Accept names only that."""
    charge = await find_pix_charge(ctx, txid)
    return qr_picture(charge["br_code"], request)
