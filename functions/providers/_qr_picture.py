"""The picture of a QR code."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from shared.http.messages import HttpRequest, HttpResponse

PNG: Final = "image/png"
SVG: Final = "image/svg+xml"
_SCALE: Final = 8
"""The pixels of a module of the QR code."""


def qr_picture(text: str, request: HttpRequest) -> HttpResponse:
    """Return the QR code of a text (ISO/IEC 18004): PNG, or SVG when Accept names only that.

    It has the error correction level M, and the margin of four modules.
    """
    import segno

    media_type = SVG if _prefers_svg(request.header("accept")) else PNG
    picture = BytesIO()
    code = segno.make_qr(text, error="m")
    code.save(picture, kind="png" if media_type == PNG else "svg", scale=_SCALE, border=4)
    return HttpResponse(200, {"content-type": media_type, "vary": "Accept"}, picture.getvalue())


def _prefers_svg(accept: str | None) -> bool:
    ranges = [part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",")]
    return SVG in ranges and PNG not in ranges
