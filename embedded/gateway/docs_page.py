"""The page /docs: the API reference, rendered in the browser by Swagger UI from /v1/openapi.json.

Every file is part of this package (`swagger_ui/` is vendored). The Content-Security-Policy allows only scripts, styles
and connections of this server, and no inline ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from embedded.gateway.problem_pages import NO_EMBEDDING
from shared.core.problems import Problem
from shared.http.messages import HttpResponse

_HERE: Final = Path(__file__).parent
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"
_ASSETS: Final = {
    "docs.css": (_HERE / "pages/docs.css", _STYLE),
    "docs.js": (_HERE / "pages/docs.js", _SCRIPT),
    "swagger-ui.css": (_HERE / "swagger_ui/swagger-ui.css", _STYLE),
    "swagger-ui-bundle.js": (_HERE / "swagger_ui/swagger-ui-bundle.js", _SCRIPT),
}
# Swagger UI draws its icons as `data:` images.
_POLICY: Final = (
    f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; {NO_EMBEDDING}"
)


def docs_page() -> HttpResponse:
    """Return the response to /docs: an HTML page, with its Content-Security-Policy."""
    return _response(_HERE / "pages/docs.html", "text/html; charset=utf-8")


def docs_asset(name: str) -> HttpResponse:
    """Return one of the files that the page loads. Raises Problem `not_found` for a name that is not one of them."""
    if name not in _ASSETS:
        raise Problem("not_found", "Nothing is served at this path.")
    return _response(*_ASSETS[name])


def _response(file: Path, media_type: str) -> HttpResponse:
    headers = {
        "content-type": media_type,
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "max-age=300",
    }
    return HttpResponse(200, headers, file.read_bytes())
