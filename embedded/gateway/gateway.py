"""The gateway: it does what Kong does at the edge of a cluster.

It finds the function for a method and a path, limits the size of requests and the rate of each tenant, and queues new
requests while too many are in progress. Other paths may be the platform's own (own_paths.py).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Protocol

from embedded.gateway.routing import Router
from shared.context.rate_limits import RateGate
from shared.context.runtime import Runtime
from shared.core.problems import Problem
from shared.http.admission import bearer_token
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.methods import handler_for
from shared.http.pipeline import problem_response, unavailable
from shared.http.request_id import request_id_of
from shared.identity.tenancy import tenant_of
from shared.ports.documents import Unavailable

log = logging.getLogger(__name__)

Serve = Callable[[str, HttpRequest], Awaitable[HttpResponse]]
"""Called with the name of a Service. Returns the response of its function."""
Admission = Callable[[str], Awaitable[None]]
"""Called with a tenant's id. Returns when one more of its requests may start, or raises Problem."""
_OWN_PATHS: Final = frozenset(
    {"brokers", "docs", "healthz", "metrics", "platform", "problems", "readyz", "realms", "schemas", "simulators"}
)


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
    """Answers requests, from the server or from within this process. The platform starts and stops it."""

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
        """`limits_here` means that `serve` does not pass the rate gate on, so the gateway calls it itself."""
        self._runtime = runtime
        self._router = router
        self._upstreams = upstreams
        self._serve = serve
        self._own_paths = own_paths
        self._admission = admission
        self._limits_here = limits_here
        self._max_in_flight = max_in_flight
        self.in_flight = 0
        """Requests that have not been answered yet."""

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a client's request. If too many are in progress, it is a refusal. Never raises."""
        if self.in_flight >= self._max_in_flight:
            busy = Problem("dependency_unavailable", "Too many requests are in progress. Retry later.")
            return self.refuse(request, busy)
        self.in_flight += 1
        try:
            response = await self.handle(request)
        except BaseException:
            self._answered()
            raise
        response.on_end(self._answered)
        return response

    def _answered(self) -> None:
        self.in_flight -= 1

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request. Never raises."""
        started = perf_counter()
        try:
            response = await self._routed(request)
        except Problem as problem:
            return self.refuse(request, problem, started)
        except Unavailable as error:
            log.warning("a request cannot be answered now: %s", error)
            return self.refuse(request, unavailable(request, error), started)
        except Exception:
            log.exception("a request failed at the gateway")
            failed = Problem("internal_error", "The gateway failed. Its log has the details under the request id.")
            return self.refuse(request, failed, started)
        if "x-request-id" not in response.headers:
            response.headers["x-request-id"] = request_id_of(request.header("x-request-id"), self._runtime.random)
            self._log(request, response, started)
        return response

    def refuse(self, request: HttpRequest, problem: Problem, started: float | None = None) -> HttpResponse:
        """Return a problem as the response to a request, which may be incomplete.

        `started` is the time of `perf_counter` at which the request arrived.
        """
        request_id = request_id_of(request.header("x-request-id"), self._runtime.random)
        response = problem_response(problem, self._runtime, request, request_id)
        self._log(request, response, perf_counter() if started is None else started)
        return response

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
        """Wait in the admission queue until the request of the tenant may start."""
        tenant_id = await self._tenant_id(request)
        if tenant_id is not None:
            await self._admission(tenant_id)

    async def _limited(self, request: HttpRequest, upstream: Upstream) -> Mapping[str, str]:
        tenant_id = await self._tenant_id(request)
        if tenant_id is None or upstream.rate_gate is None:
            return {}
        tenant = await tenant_of(self._runtime.documents, tenant_id)
        limit = tenant["limits"]["requests_per_second"] if tenant is not None else None
        return await upstream.rate_gate(tenant_id, limit)

    async def _tenant_id(self, request: HttpRequest) -> str | None:
        """Return the token's tenant, or None for a request without a valid token, which the function will refuse."""
        try:
            request.caller = await self._runtime.verifier.verify(bearer_token(request))
        except Problem:
            return None
        return request.caller.tenant_id

    def _log(self, request: HttpRequest, response: HttpResponse, started: float) -> None:
        """Log a request that no function answered. A function's pipeline logs its own requests.

        The path is the client's text and may contain anything, so only names that the platform knows are logged.
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
