"""GET /v1/pix/charges/{txid}/qr.png: the QR code of a PIX charge, as a picture."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from functions.providers._pix_charge import find_pix_charge
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest, HttpResponse

PNG: Final = "image/png"
SVG: Final = "image/svg+xml"
_SCALE: Final = 8
"""The pixels of a module of the QR code."""


@http_function("GET /v1/pix/charges/{txid}/qr.png", scope="pix:read", files=(PNG, SVG))
async def get_pix_charge_qr(txid: str, request: HttpRequest, ctx: Context) -> HttpResponse:
    """Retrieve the QR code of a PIX charge as a picture: PNG, or SVG when Accept names only that."""
    charge = await find_pix_charge(ctx, txid)
    media_type = SVG if _prefers_svg(request.header("accept")) else PNG
    headers = {"content-type": media_type, "vary": "Accept"}
    return HttpResponse(200, headers, _picture(charge["br_code"], media_type))


def _prefers_svg(accept: str | None) -> bool:
    ranges = [part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",")]
    return SVG in ranges and PNG not in ranges


def _picture(text: str, media_type: str) -> bytes:
    """Return the QR code of a text (ISO/IEC 18004), with error correction level M and the margin of four modules."""
    import segno

    picture = BytesIO()
    code = segno.make_qr(text, error="m")
    code.save(picture, kind="png" if media_type == PNG else "svg", scale=_SCALE, border=4)
    return picture.getvalue()
