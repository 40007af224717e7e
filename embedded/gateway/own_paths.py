"""The paths that the platform answers itself: probes, documentation, tokens, the Broker's ingress, and its state.

A function behind one of Kong's routes answers every other path (gateway.py).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import orjson

from embedded.gateway.docs_page import docs_asset, docs_page
from embedded.gateway.problem_pages import problem_page, problems_index
from embedded.identity.issuer import JWKS_PATH, REALM_PATH, TOKEN_PATH, Issuer
from embedded.identity.issuer import Answer as IssuerAnswer
from events.catalogue import CATALOGUE
from events.export import schema_of
from shared.context.runtime import Runtime
from shared.core.envelope import Envelope
from shared.core.problems import Problem
from shared.core.version import VERSION
from shared.http.admission import bearer_token, refuse_repeated_headers, require_scope
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.methods import handler_for
from shared.http.operation import compile_path
from shared.http.pipeline import JSON_TYPE
from shared.http.query_string import parse_query
from shared.identity.keys import DISCOVERY_PATH
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


class Simulator(Protocol):
    """Replaces a payment provider, or a gateway of messages, on one machine."""

    def start(self) -> None:
        """Continue with the callbacks that were due when the previous process ended."""
        ...

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request in the protocol of what it replaces."""
        ...


class PlatformState(Protocol):
    """The state that these paths read from the platform, and `publish`, which changes it."""

    async def ready(self) -> str | None:
        """Return the reason why the platform cannot serve requests now, or None when it can."""
        ...

    def impairments(self) -> list[str]:
        """Return what does not work at present while the platform can serve requests."""
        ...

    async def openapi(self) -> bytes:
        """Return the OpenAPI document as JSON."""
        ...

    def functions(self) -> list[dict[str, Any]]:
        """Return every function with its state, its routes and Triggers, and its counts."""
        ...

    async def events(self, after: int, limit: int, tenant_id: str) -> tuple[list[tuple[int, Envelope]], int]:
        """Return a tenant's events after a position in the log, oldest first, and the position that was read up to."""
        ...

    def last_place(self) -> int:
        """Return the position of the newest event in the log."""
        ...

    async def publish(self, broker: str, envelope: Envelope) -> None:
        """Publish an event to a Broker. Raises Problem `not_found` when no Broker has this name."""
        ...

    def metrics(self) -> str:
        """Return the measurements in Prometheus' text format."""
        ...


class PlatformPaths:
    """Routes a request to the platform's own paths."""

    def __init__(self, runtime: Runtime, state: PlatformState, issuer: Issuer | None) -> None:
        """`issuer` is None when a realm on a server issues the tokens: its paths are then not served here."""
        self._runtime = runtime
        self._state = state
        self.simulators: Mapping[str, Simulator] = {}
        """The simulators by the name of the rail or channel; each answers every path under /simulators/<name>/."""
        self._routes: list[tuple[re.Pattern[str], dict[str, Answer]]] = [
            (compile_path(template), {method: answer})
            for method, template, answer in (
                ("GET", "/healthz", self._healthz),
                ("GET", "/readyz", self._readyz),
                *([] if issuer is None else _paths_of(issuer)),
                ("GET", "/", self._index),
                ("GET", "/v1/openapi.json", self._openapi),
                ("GET", "/docs", self._docs),
                ("GET", "/docs/{asset}", self._docs_asset),
                ("GET", "/problems", self._problems),
                ("GET", "/problems/", self._problems),
                ("GET", "/problems/{code}", self._problem),
                ("GET", "/schemas/{type}.json", self._schema),
                ("GET", "/metrics", self._metrics),
                ("GET", "/platform/functions", self._functions),
                ("GET", "/platform/events", self._events),
                ("POST", "/brokers/{broker}", self._ingress),
            )
        ]

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request. Raises Problem; `not_found` when the path is not one of the platform's own."""
        path = request.path
        if path.startswith("/simulators/"):
            simulator = self.simulators.get(path.split("/")[2])
            if simulator is not None:
                return await simulator(request)
        for pattern, answers in self._routes:
            match = pattern.fullmatch(path)
            if match is not None:
                answer = handler_for(request, answers)
                if isinstance(answer, HttpResponse):
                    return answer
                refuse_repeated_headers(request)
                return await answer(request, match.groupdict())
        raise Problem("not_found", "Nothing is served at this path.")

    # Paths without a token

    async def _index(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        return _json(
            {
                "name": "lastro",
                "version": VERSION,
                "docs": "/docs",
                "openapi": "/v1/openapi.json",
                "problems": "/problems/",
                "ready": "/readyz",
            }
        )

    async def _healthz(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        return _json({"status": "alive"})

    async def _readyz(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        reason = await self._state.ready()
        if reason is not None:
            raise Problem("dependency_unavailable", reason)
        impaired = self._state.impairments()
        return _json({"status": "ready", **({"impaired": impaired} if impaired else {})})

    async def _openapi(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        return HttpResponse(200, {"content-type": JSON_TYPE}, await self._state.openapi())

    async def _docs(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        return docs_page()

    async def _docs_asset(self, _request: HttpRequest, found: Found) -> HttpResponse:
        return docs_asset(found["asset"])

    async def _problems(self, _request: HttpRequest, _found: Found) -> HttpResponse:
        return problems_index()

    async def _problem(self, _request: HttpRequest, found: Found) -> HttpResponse:
        return problem_page(found["code"])

    async def _schema(self, _request: HttpRequest, found: Found) -> HttpResponse:
        model = CATALOGUE.get(found["type"])
        if model is None:
            raise Problem("not_found", f"No event type is named {found['type']}.")
        return HttpResponse(200, {"content-type": "application/schema+json"}, orjson.dumps(schema_of(model)))

    # Paths with a token

    async def _metrics(self, request: HttpRequest, _found: Found) -> HttpResponse:
        await self._platform_caller(request)
        return HttpResponse(200, {"content-type": "text/plain; version=0.0.4"}, self._state.metrics().encode())

    async def _functions(self, request: HttpRequest, _found: Found) -> HttpResponse:
        await self._platform_caller(request)
        return _json({"data": self._state.functions()})

    async def _events(self, request: HttpRequest, _found: Found) -> HttpResponse:
        """The tenant's own events; with a platform token, the events that belong to no tenant.

        `after=-1` returns no events, only the position of the newest one.
        """
        caller = await self._caller(request)
        scope = PLATFORM_SCOPE if caller.is_platform else READ_EVENTS_SCOPE
        require_scope(caller, scope)
        query = parse_query(request.query)
        for name in query.keys() - {"after", "limit"}:
            raise Problem.parameter(
                "malformed_request", name, "Unknown parameter. The parameters are `after` and `limit`."
            )
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
        """Knative's Broker ingress: 202 when the event is stored, 400 when the request is not a CloudEvent."""
        await self._platform_caller(request)
        try:
            envelope = from_http(request.headers.items(), request.body)
        except InvalidEvent as error:
            raise Problem("malformed_request", f"The request is not a CloudEvent: {error}.") from None
        if len(envelope.data) > self._runtime.settings.max_event_bytes:
            raise Problem(
                "payload_too_large", f"An event's data has at most {self._runtime.settings.max_event_bytes} bytes."
            )
        await self._state.publish(found["broker"], envelope)
        await self._runtime.documents.durable()
        return HttpResponse(202, {}, b"")

    async def require_operator(self, request: HttpRequest) -> None:
        """Raise Problem unless the request has a platform token."""
        await self._platform_caller(request)

    async def _platform_caller(self, request: HttpRequest) -> Caller:
        caller = await self._caller(request)
        require_scope(caller, PLATFORM_SCOPE)
        if not caller.is_platform or request.header("x-tenant-id") is not None:
            raise Problem("tenant_mismatch", "This path needs a platform token and no X-Tenant-Id.")
        return caller

    async def _caller(self, request: HttpRequest) -> Caller:
        return await self._runtime.verifier.verify(bearer_token(request))


def _paths_of(issuer: Issuer) -> list[tuple[str, str, Answer]]:
    """Return the routes of the local issuer."""

    async def token(request: HttpRequest, _found: Found) -> HttpResponse:
        return _of_issuer(await issuer.answer_token(request.headers, request.body))

    async def jwks(_request: HttpRequest, _found: Found) -> HttpResponse:
        return _of_issuer(issuer.answer_jwks())

    async def discovery(_request: HttpRequest, _found: Found) -> HttpResponse:
        return _of_issuer(issuer.answer_discovery())

    return [
        ("POST", REALM_PATH + TOKEN_PATH, token),
        ("GET", REALM_PATH + JWKS_PATH, jwks),
        ("GET", REALM_PATH + DISCOVERY_PATH, discovery),
    ]


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if _WHOLE.fullmatch(text) is None:
        raise Problem.parameter("malformed_request", name, "The value must be a whole number of at most 18 digits.")
    return int(text)


def _of_issuer(answer: IssuerAnswer) -> HttpResponse:
    status, headers, body = answer
    return HttpResponse(status, {name.lower(): value for name, value in headers.items()}, body)


def _json(document: object) -> HttpResponse:
    return HttpResponse(200, {"content-type": JSON_TYPE}, orjson.dumps(document))
