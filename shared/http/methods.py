"""HTTP methods: which handler answers a request, and the answers to HEAD, OPTIONS and methods that are not allowed.

Everything that routes requests uses this module: the gateway, the platform's own paths and a function that runs alone.
`starlette.routing.Route` is not used. It compares percent-decoded paths, tries one route after the other, and refuses
OPTIONS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse

T = TypeVar("T")


def handler_for(request: HttpRequest, handlers: Mapping[str, T]) -> T | HttpResponse:
    """Return the handler for the request's method. `handlers` holds the handlers of one path by method.

    - HEAD is answered by the GET handler, and the request becomes a GET (RFC 9110 §9.3.2). The server that sends the
      response leaves the content out. A signature on a HEAD request therefore covers `GET`.
    - OPTIONS returns a finished response: 204 with `Allow` (RFC 9110 §9.3.7).

    Raises Problem `method_not_allowed` for any other method; its detail and its `Allow` header list the allowed ones.
    """
    method = request.method
    handler = handlers.get(method)
    if handler is not None:
        return handler
    if method == "HEAD" and "GET" in handlers:
        request.method = "GET"
        return handlers["GET"]
    allowed = allowed_methods(handlers)
    if method == "OPTIONS":
        return HttpResponse(204, {"allow": allowed}, b"")
    raise Problem(
        "method_not_allowed",
        f"{method} is not allowed on this path. Allowed methods: {allowed}.",
        headers={"Allow": allowed},
    )


def allowed_methods(handlers: Mapping[str, object]) -> str:
    """Return the value of the `Allow` header for these handlers: sorted, with HEAD where there is GET, and OPTIONS."""
    methods = {*handlers, "OPTIONS"}
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))
