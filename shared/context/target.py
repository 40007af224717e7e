"""The parts that the framework targets of requests and of events have in common."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol, cast

from shared.context.context import Handler
from shared.core.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class Target(Protocol):
    """A framework target that has the description of its operation. The decorators return it."""

    operation: Any
    """The description of the function: an HttpOperation or an EventOperation."""

    def __call__(self, request: Request) -> Awaitable[Response]:
        """Answer a request of the framework: an HTTP request, or an event in the HTTP binding."""
        ...


def as_target(target: Any, handler: Handler, operation: object) -> Target:
    """Return the target with its operation, and with the name and documentation of its handler for the framework."""
    target.__name__ = handler.__name__
    target.__qualname__ = handler.__name__
    target.__doc__ = handler.__doc__
    target.__module__ = handler.__module__
    target.operation = operation
    return cast("Target", target)


def domain_of(handler: Handler) -> str:
    """Return the domain: the name of the file's folder. The module's name differs when the framework loads a file."""
    path = inspect.getfile(handler).replace("\\", "/").split("/")
    return path[-2]


def summary_of(handler: Handler) -> str:
    """Return the first line of a handler's documentation."""
    return (inspect.getdoc(handler) or "").partition("\n")[0]


def chunked_body(request: Request) -> Problem | None:
    """Return the Problem for a chunked body, or None for any other request.

    Fields can follow the chunks (trailers, RFC 9110 §6.5). If they arrive together with the head, uvicorn's httptools
    protocol adds them to the headers, and a function cannot distinguish them from headers of the head. On a cluster no
    chunked body reaches a function: Kong sends a body with its length (`request_buffering`), and so does the Kafka
    broker. The connection is closed, so that endless trailers are not read.
    """
    if "transfer-encoding" not in request.headers:
        return None
    detail = "A function that is called directly needs Content-Length. It does not support Transfer-Encoding."
    return Problem("malformed_request", detail, headers={"Connection": "close"})


async def read_body(stream: Any, limit: int) -> bytes | None:
    """Return the body of a request, or None when it is larger than `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
