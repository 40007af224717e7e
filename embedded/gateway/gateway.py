"""The front door: what Kong does at the edge of a cluster, as a bare ASGI application.

It finds the function behind a method and a path, limits the size of requests, limits the rate of each tenant, and
queues new work while enough is under way. Other paths may be the platform's own (own_paths.py).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol

from embedded.gateway.routing import Router
from shared.context.runtime import Runtime
from shared.core.problems import Problem
from shared.http.admission import bearer_token
from shared.http.messages import HttpRequest, HttpResponse, RateGate, read_headers
from shared.http.methods import handler_for
from shared.http.pipeline import problem_response
from shared.http.request_id import request_id_of
from shared.identity.tenancy import tenant_of
from shared.ports.documents import Unavailable

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Serve = Callable[[str, HttpRequest], Awaitable[HttpResponse]]
"""Called with the name of a Service. Returns the response of its function."""
Admission = Callable[[str], Awaitable[None]]
"""Called with a tenant's id. Returns when one more of its requests may start, or raises Problem."""
_OWN_PATHS: Final = frozenset(
    {"brokers", "docs", "healthz", "metrics", "platform", "problems", "readyz", "realms", "schemas", "simulators"}
)
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class OwnPaths(Protocol):
    """The paths that no function answers (own_paths.py)."""

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request. Raises Problem; `not_found` when the path does not exist at all."""
        ...


@dataclass(frozen=True, slots=True)
class Upstream:
    """The target of a route: the name of its Service, and the limits that Kong's plugins set for it."""

    service: str
    rate_gate: RateGate | None
    max_body_bytes: int


class Gateway:
    """The ASGI application. Start and stop belong to the platform; there is nothing here to be closed."""

    def __init__(
        self,
        runtime: Runtime,
        router: Router,
        upstreams: Mapping[str, Upstream],
        serve: Serve,
        own_paths: OwnPaths,
        admission: Admission,
        *,
        limits_here: bool = False,
        max_in_flight: int = 4096,
    ) -> None:
        """`limits_here`: `serve` does not pass the rate gate on, so the gateway calls it itself."""
        self._runtime = runtime
        self._router = router
        self._upstreams = upstreams
        self._serve = serve
        self._own_paths = own_paths
        self._admission = admission
        self._limits_here = limits_here
        self._max_in_flight = max_in_flight
        self._max_body_bytes = runtime.settings.max_body_bytes
        self.in_flight = 0
        """Requests that have not been answered yet."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection's request (ASGI 3.0)."""
        if scope["type"] != "http":
            await _decline(scope, receive, send)
            return
        self.in_flight += 1
        try:
            response = await self._response(scope, receive)
            if response is not None:
                await _send(send, response, with_body=scope["method"] != "HEAD")
        finally:
            self.in_flight -= 1

    async def _response(self, scope: Message, receive: Receive) -> HttpResponse | None:
        """The answer; None when the client left before its request was complete."""
        headers, repeated = read_headers(scope["headers"])
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        request = HttpRequest(
            scope["method"],
            raw_path.partition(b"?")[0].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            headers,
            b"",
            repeated,
        )
        started = perf_counter()
        try:
            self._check_room()
            body = await self._body(request, receive)
        except Problem as problem:
            return self._refusal(request, problem, started)
        if body is None:
            return None
        request.body = body
        return await self.handle(request)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request whose body is there. Never raises."""
        started = perf_counter()
        try:
            response = await self._routed(request)
        except Problem as problem:
            return self._refusal(request, problem, started)
        except Unavailable as error:
            log.warning("a request cannot be answered now: %s", error)
            unavailable = Problem("dependency_unavailable", "A store cannot answer now; try again.")
            return self._refusal(request, unavailable, started)
        except Exception:
            log.exception("a request failed at the gateway")
            failed = Problem("internal_error", "Something went wrong at the gateway.")
            return self._refusal(request, failed, started)
        if "x-request-id" not in response.headers:
            response.headers["x-request-id"] = request_id_of(request.header("x-request-id"), self._runtime.random)
            self._log(request, response, started)
        return response

    def unreadable(self) -> HttpResponse:
        """The answer to what is no HTTP request."""
        problem = Problem("malformed_request", "This cannot be read as an HTTP request.")
        return self._refusal(HttpRequest("", "", "", {}, b""), problem, perf_counter())

    def _check_room(self) -> None:
        if self.in_flight > self._max_in_flight:
            raise Problem("dependency_unavailable", "Too many requests are under way; try again in a moment.")

    async def _body(self, request: HttpRequest, receive: Receive) -> bytes | None:
        """The request's body, or None when the client left. Raises Problem `payload_too_large` without reading on."""
        length = request.headers.get("content-length")
        if length is None:
            if request.method in _BODILESS and "transfer-encoding" not in request.headers:
                return b""
        elif length.isdigit() and int(length) > self._max_body_bytes:
            raise _too_large(self._max_body_bytes)
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk: bytes = message.get("body", b"")
            body = body + chunk if body else chunk
            if len(body) > self._max_body_bytes:
                raise _too_large(self._max_body_bytes)
            if not message.get("more_body", False):
                return body

    async def _routed(self, request: HttpRequest) -> HttpResponse:
        routes = self._router.routes(request.path)
        if not routes:
            return await self._own_paths.answer(request)
        route = handler_for(request, routes)
        if isinstance(route, HttpResponse):
            return route
        upstream = self._upstreams[route]
        if len(request.body) > upstream.max_body_bytes:
            raise _too_large(upstream.max_body_bytes)
        if request.method == "POST":
            await self._admitted(request)
        if self._limits_here:
            headers = await self._limited(request, upstream)
            response = await self._serve(upstream.service, request)
            response.headers.update(headers)
            return response
        request.rate_gate = upstream.rate_gate
        return await self._serve(upstream.service, request)

    async def _admitted(self, request: HttpRequest) -> None:
        """Wait in the admission queue until it is the tenant's turn."""
        tenant_id = await self._tenant_id(request)
        if tenant_id is not None:
            await self._admission(tenant_id)

    async def _limited(self, request: HttpRequest, upstream: Upstream) -> Mapping[str, str]:
        tenant_id = await self._tenant_id(request)
        if tenant_id is None or upstream.rate_gate is None:
            return {}
        tenant = await tenant_of(self._runtime.documents, tenant_id)
        return upstream.rate_gate(tenant_id, tenant["limits"]["requests_per_second"] if tenant is not None else None)

    async def _tenant_id(self, request: HttpRequest) -> str | None:
        """Return the token's tenant, or None for a request without a valid token, which the function will refuse."""
        try:
            request.caller = await self._runtime.verifier.verify(bearer_token(request))
        except Problem:
            return None
        return request.caller.tenant_id

    def _refusal(self, request: HttpRequest, problem: Problem, started: float) -> HttpResponse:
        request_id = request_id_of(request.header("x-request-id"), self._runtime.random)
        response = problem_response(problem, self._runtime, request, request_id)
        if problem.code == "payload_too_large":
            # The rest of the body is still on its way and would be taken for the next request.
            response.headers["connection"] = "close"
        self._log(request, response, started)
        return response

    def _log(self, request: HttpRequest, response: HttpResponse, started: float) -> None:
        """Log a request that no function answered; a function's pipeline logs its own.

        The path is the client's text and may hold anything: only the platform's own names are logged of it.
        """
        requests = self._runtime.telemetry.requests
        if requests is None:
            return
        first = request.path[1:].partition("/")[0]
        operation = f"platform/{first}" if first in _OWN_PATHS else "gateway"
        tenant_id = (request.caller.tenant_id or "") if request.caller is not None else ""
        seconds = perf_counter() - started
        requests.request(operation, response.status, seconds, tenant_id, response.headers["x-request-id"], "")


def _too_large(limit: int) -> Problem:
    return Problem("payload_too_large", f"A body has at most {limit} bytes.")


_MAX_RAW_NAMES: Final = 256
_raw_names: dict[str, bytes] = {}


def _raw_name(name: str) -> bytes:
    """A header's name as bytes, remembered."""
    raw = name.encode("latin-1")
    if len(_raw_names) < _MAX_RAW_NAMES:
        _raw_names[name] = raw
    return raw


async def _send(send: Send, response: HttpResponse, *, with_body: bool) -> None:
    known = _raw_names
    headers = [
        (known.get(name) or _raw_name(name), value.encode("latin-1")) for name, value in response.headers.items()
    ]
    if response.status != 204:
        headers.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body if with_body else b""})


async def _decline(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await receive()
    await send({"type": "websocket.close", "code": 1000})
