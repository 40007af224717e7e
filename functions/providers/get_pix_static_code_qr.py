"""GET /v1/pix/static-codes/{code_txid}/qr.png: the QR code of a static PIX code, as a picture."""

from __future__ import annotations

from functions.providers._qr_picture import PNG, SVG, qr_picture
from functions.providers._static_code import find_static_code
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest, HttpResponse


@http_function("GET /v1/pix/static-codes/{code_txid}/qr.png", scope="pix:read", files=(PNG, SVG))
async def get_pix_static_code_qr(code_txid: str, request: HttpRequest, ctx: Context) -> HttpResponse:
    """Retrieve the QR code of a static PIX code as a picture: PNG, or SVG when Accept names only that."""
    code = await find_static_code(ctx, code_txid)
    return qr_picture(code["br_code"], request)
