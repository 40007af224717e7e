"""What the embedded platform answers itself: probes, descriptions, problem pages, identity, ingress, its own state."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import orjson

from embedded.identity.issuer import REALM_PATH, Issuer
from events.catalogue import CATALOGUE
from events.export import schema_of
from shared.context.runtime import Runtime
from shared.core.envelope import Envelope
from shared.core.problems import CODES, Problem, page
from shared.core.version import VERSION
from shared.http.admission import bearer_token
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.pipeline import JSON_TYPE
from shared.http.query_string import parse_query
from shared.identity.tenancy import PLATFORM_SCOPE
from shared.identity.tokens import Caller
from shared.messaging.attributes import InvalidEvent
from shared.messaging.http_binding import from_http
from shared.ports.documents import PLATFORM

Found = Mapping[str, str]
Answer = Callable[[HttpRequest, Found], Awaitable[HttpResponse]]
MAX_EVENTS: Final = 500
READ_EVENTS_SCOPE: Final = "operations:read"
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_PAGE_TYPE: Final = "text/html; charset=utf-8"


class Simulator(Protocol):
    """Plays a rail."""

    def start(self) -> None:
        """Go on with what was owed when the process ended."""
        ...

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer by the rail's protocol."""
        ...


class PlatformState(Protocol):
    """What these paths show of the platform, and the one thing that they put into it."""

    def ready(self) -> str | None:
        """Why the platform cannot serve now, or None when it can."""
        ...

    async def openapi(self) -> bytes:
        """The OpenAPI document."""
        ...

    def functions(self) -> list[dict[str, Any]]:
        """Every function with its state, ways in and counts."""
        ...

    async def events(self, after: int, limit: int, tenant_id: str) -> tuple[list[tuple[int, Envelope]], int]:
        """A tenant's events behind a place in the log, and the place up to which it was read."""
        ...

    def last_place(self) -> int:
        """The place of the newest event."""
        ...

    async def publish(self, broker: str, envelope: Envelope) -> None:
        """Put an event into a Broker. Raises Problem `not_found` when there is none of this name."""
        ...

    def metrics(self) -> str:
        """Measurements in Prometheus' text format."""
        ...


class PlatformPaths:
    """Answers by path; everything else is `not_found`."""

    def __init__(self, runtime: Runtime, state: PlatformState, issuer: Issuer | None) -> None:
        self._runtime = runtime
        self._state = state
        self._issuer = issuer
        self.simulators: Mapping[str, Simulator] = {}
        """By the rail's name: who answers under /simulators/<rail>."""
        self._answers: list[tuple[str, re.Pattern[str], Answer]] = [
            ("GET", re.compile(r"/"), self._welcome),
            ("GET", re.compile(r"/healthz"), self._healthz),
            ("GET", re.compile(r"/readyz"), self._readyz),
            ("GET", re.compile(r"/v1/openapi\.json"), self._openapi),
            ("GET", re.compile(r"/problems/(?P<code>[a-z_]+)"), self._problem),
            ("GET", re.compile(r"/schemas/(?P<type>[a-z0-9_.]+)\.json"), self._schema),
            ("GET", re.compile(r"/metrics"), self._metrics),
            ("GET", re.compile(r"/platform/functions"), self._functions),
            ("GET", re.compile(r"/platform/events"), self._events),
            ("POST", re.compile(r"/brokers/(?P<broker>[a-z0-9-]+)"), self._ingress),
        ]

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request for one of the platform's own paths. Raises Problem."""
        path = request.path
        if self._issuer is not None and path.startswith(REALM_PATH + "/"):
            _refuse_repeated(request)
            status, headers, body = await self._issuer.handle(request.method, path, request.headers, request.body)
            return HttpResponse(status, {name.lower(): value for name, value in headers.items()}, body)
        if path.startswith("/simulators/"):
            simulator = self.simulators.get(path.split("/")[2])
            if simulator is not None:
                return await simulator(request)
        for method, pattern, answer in self._answers:
            match = pattern.fullmatch(path)
            if match is not None:
                return await self._by_method(method, answer, request, match.groupdict())
        raise Problem("not_found", "There is nothing at this path.")

    async def _by_method(self, method: str, answer: Answer, request: HttpRequest, found: Found) -> HttpResponse:
        allowed = {method, "OPTIONS"} | ({"HEAD"} if method == "GET" else set())
        allow = ", ".join(sorted(allowed))
        if request.method == "OPTIONS":
            return HttpResponse(204, {"allow": allow}, b"")
        if request.method not in allowed:
            raise Problem("method_not_allowed", f"{request.method} is not taken here.", headers={"Allow": allow})
        _refuse_repeated(request)
        return await answer(request, found)

    # Open to everybody

    async def _welcome(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        return _json({"name": "lastro", "version": VERSION, "openapi": "/v1/openapi.json", "ready": "/readyz"})

    async def _healthz(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        return _json({"status": "alive"})

    async def _readyz(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        reason = self._state.ready()
        if reason is not None:
            raise Problem("dependency_unavailable", reason)
        return _json({"status": "ready"})

    async def _openapi(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        return HttpResponse(200, {"content-type": JSON_TYPE}, await self._state.openapi())

    async def _problem(self, _request: HttpRequest, found: Found) -> HttpResponse:
        if found["code"] not in CODES:
            raise Problem("not_found", "There is no problem of this name.")
        return HttpResponse(200, {"content-type": _PAGE_TYPE}, page(found["code"]).encode())

    async def _schema(self, _request: HttpRequest, found: Found) -> HttpResponse:
        model = CATALOGUE.get(found["type"])
        if model is None:
            raise Problem("not_found", "There is no event type of this name.")
        return HttpResponse(200, {"content-type": "application/schema+json"}, orjson.dumps(schema_of(model)))

    # For a token

    async def _metrics(self, request: HttpRequest, _found: Found) -> HttpResponse:
        await self._platform_caller(request)
        return HttpResponse(200, {"content-type": "text/plain; version=0.0.4"}, self._state.metrics().encode())

    async def _functions(self, request: HttpRequest, _found: Found) -> HttpResponse:
        await self._platform_caller(request)
        return _json({"data": self._state.functions()})

    async def _events(self, request: HttpRequest, _found: Found) -> HttpResponse:
        """A tenant's own events; for a platform token those that belong to no tenant. `after=-1`: only the place."""
        caller = await self._caller(request)
        scope = PLATFORM_SCOPE if caller.is_platform else READ_EVENTS_SCOPE
        _need(caller, scope)
        query = parse_query(request.query)
        for name in query.keys() - {"after", "limit"}:
            raise Problem.parameter("malformed_request", name, "There is no such parameter.")
        after = _number(query, "after", default=0)
        limit = _number(query, "limit", default=100)
        if after < 0:
            return _json({"data": [], "next": self._state.last_place()})
        found_events, read_to = await self._state.events(
            after, min(max(limit, 1), MAX_EVENTS), caller.tenant_id or PLATFORM
        )
        data = [
            {"place": place, "event": orjson.Fragment(envelope.to_structured())} for place, envelope in found_events
        ]
        return _json({"data": data, "next": read_to})

    async def _ingress(self, request: HttpRequest, found: Found) -> HttpResponse:
        """Knative's Broker ingress: 202 when the event is kept, 400 when it is none."""
        await self._platform_caller(request)
        try:
            envelope = from_http(request.headers.items(), request.body)
        except InvalidEvent as error:
            raise Problem("malformed_request", f"This is no CloudEvent: {error}.") from None
        if len(envelope.data) > self._runtime.settings.max_event_bytes:
            raise Problem(
                "payload_too_large", f"An event's data has at most {self._runtime.settings.max_event_bytes} bytes."
            )
        await self._state.publish(found["broker"], envelope)
        await self._runtime.documents.durable()
        return HttpResponse(202, {}, b"")

    async def _platform_caller(self, request: HttpRequest) -> Caller:
        caller = await self._caller(request)
        _need(caller, PLATFORM_SCOPE)
        if not caller.is_platform or request.header("x-tenant-id") is not None:
            raise Problem("tenant_mismatch", "This belongs to the platform and to no tenant.")
        return caller

    async def _caller(self, request: HttpRequest) -> Caller:
        return await self._runtime.verifier.verify(bearer_token(request))


def _refuse_repeated(request: HttpRequest) -> None:
    if request.repeated:
        raise Problem("malformed_request", f"Sent twice: {', '.join(sorted(request.repeated))}.")


def _need(caller: Caller, scope: str) -> None:
    if scope not in caller.scopes:
        raise Problem("insufficient_scope", f"The token does not carry the scope {scope}.")


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if _WHOLE.fullmatch(text) is None:
        raise Problem.parameter("malformed_request", name, "It is no whole number of at most 18 digits.")
    return int(text)


def _json(document: object) -> HttpResponse:
    return HttpResponse(200, {"content-type": JSON_TYPE}, orjson.dumps(document))
