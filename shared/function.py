"""The two decorators: the whole contract between an operation and Knative in one place.

Each returns a plain `functions_framework.aio` http-signature target, so a function is deployed by the ordinary
framework. The target is a thin adapter: framework request in, the operation's pipeline, framework answer out.
The framework's `cloud_event` signature is not used: it answers `200 OK` with a body, which the Kafka broker counts
as a failed delivery (docs/decisions/0001).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, cast, get_type_hints

from pydantic import BaseModel

from shared.context import Context
from shared.envelope import Envelope, Event, InvalidEvent, from_http
from shared.event_delivery import Delivery, deliver, refused
from shared.http import HttpRequest, HttpResponse, read_headers
from shared.http_serving import problem_response, serve
from shared.operation import (
    Access,
    EventOperation,
    Handler,
    HttpOperation,
    Operation,
    Progress,
    compile_path,
    path_parameters,
)
from shared.problems import Problem
from shared.request_id import request_id_of
from shared.runtime import current

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class Target(Protocol):
    """What a decorator returns: a framework target that knows its operation."""

    operation: Operation

    def __call__(self, request: Request) -> Awaitable[Response]: ...


def http_function(
    route: str,
    *,
    scope: str | None = None,
    access: Access = Access.TENANT,
    status: int = 200,
    location: str | None = None,
    progress: Progress | None = None,
    empty_body_is_object: bool = False,
    sensitive: bool = False,
    problems: tuple[str, ...] = (),
) -> Callable[[Handler], Target]:
    """Make a handler answer `METHOD /path/{parameter}`.

    The handler's parameters are recognised by their annotations: Context; a BaseModel (the body of a POST, PUT or
    PATCH, else the query); HttpRequest (the raw request); str (a path parameter of that name).

    `location` is a format over `result` and the path's parameters; `progress` is what `Prefer: wait` asks;
    `sensitive` seals the stored answer; `problems` lists codes beyond those that every operation may give, for
    OpenAPI.
    """
    method, _, path = route.partition(" ")

    def decorate(handler: Handler) -> Target:
        found = _parameters(handler)
        body = found.model_parameter if method in ("POST", "PUT", "PATCH") else None
        query = found.model_parameter if body is None else None
        operation = HttpOperation(
            name=handler.__name__,
            domain=_domain(handler),
            method=method,
            path=path,
            scope=scope,
            access=access,
            handler=handler,
            path_parameters=path_parameters(path),
            body_parameter=body,
            query_parameter=query,
            request_parameter=found.request_parameter,
            context_parameter=found.context_parameter,
            command=found.model if body is not None else None,
            query=found.model if query is not None else None,
            result=found.result,
            status=status,
            location=location,
            progress=progress,
            empty_body_is_object=empty_body_is_object,
            sensitive=sensitive,
            problems=problems,
            summary=_summary(handler),
            pattern=compile_path(path),
        )

        return _named(_http_target(operation), handler, operation)

    return decorate


def _http_target(operation: HttpOperation) -> Callable[[Request], Awaitable[Response]]:
    async def target(request: Request) -> Response:
        from starlette.responses import Response as FrameworkResponse

        answer = await _serve_framework_request(operation, request)
        return FrameworkResponse(answer.body, answer.status, answer.headers)

    return target


async def _serve_framework_request(operation: HttpOperation, request: Request) -> HttpResponse:
    runtime = current()
    raw_path = request.scope.get("raw_path") or request.scope["path"].encode()
    headers, repeated = read_headers(request.scope["headers"])
    incoming = HttpRequest(
        request.method,
        raw_path.partition(b"?")[0].decode("latin-1"),
        request.scope["query_string"].decode("latin-1"),
        headers,
        b"",
        repeated,
    )
    body = await read_body(request.stream(), runtime.settings.max_body_bytes)
    if body is None:
        problem = Problem("payload_too_large", f"A body has at most {runtime.settings.max_body_bytes} bytes.")
        return problem_response(problem, runtime, incoming, request_id_of(None, runtime.random))
    incoming.body = body
    return await serve(operation, incoming, runtime)


def event_function(*models: type[Event], platform: bool = False) -> Callable[[Handler], Target]:
    """Make a handler react to events of these types: `async def handler(event, ctx) -> None`.

    With no type it takes every event as an Envelope (dead letters). `platform` marks an operation that runs for no
    tenant until it chooses one (a schedule's sweep).
    """

    def decorate(handler: Handler) -> Target:
        operation = EventOperation(
            name=handler.__name__,
            domain=_domain(handler),
            models={model.type: model for model in models},
            any_event=not models,
            platform=platform,
            handler=handler,
            summary=_summary(handler),
        )

        async def target(request: Request) -> Response:
            from starlette.responses import Response as FrameworkResponse

            runtime = current()
            body = await read_body(request.stream(), runtime.settings.max_body_bytes)
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]]
            delivery = await deliver_http(operation, headers, body)
            return FrameworkResponse(b"", delivery.status, delivery.headers)

        return _named(target, handler, operation)

    return decorate


async def deliver_http(operation: EventOperation, headers: list[tuple[str, str]], body: bytes | None) -> Delivery:
    """Deliver an event that came over HTTP (None: its body was too large). The status and headers to answer."""
    runtime = current()
    if body is None or len(body) > runtime.settings.max_event_bytes + _ENVELOPE_ALLOWANCE:
        problem = Problem("payload_too_large", f"An event's data has at most {runtime.settings.max_event_bytes} bytes.")
        return refused(problem, _UNREADABLE)
    try:
        envelope = from_http(headers, body)
    except InvalidEvent as error:
        return refused(Problem("malformed_request", str(error)), _UNREADABLE)
    if len(envelope.data) > runtime.settings.max_event_bytes:
        problem = Problem("payload_too_large", f"An event's data has at most {runtime.settings.max_event_bytes} bytes.")
        return refused(problem, envelope)
    delivery = await deliver(operation, envelope, runtime)
    if delivery.status == 204:
        await runtime.documents.durable()
    return delivery


_ENVELOPE_ALLOWANCE = 16 * 1024
_UNREADABLE = Envelope(id="", source="", type="unreadable", subject=None, time=None, extensions={})


async def read_body(stream: Any, limit: int) -> bytes | None:
    """A request's body, or None when it is larger than `limit` (what comes after is not kept)."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def operation_of(target: object) -> Operation | None:
    """The operation of a framework target, or None when it is no function of ours."""
    return getattr(target, "operation", None)


class _Parameters:
    """A handler's parameters by what they are for."""

    def __init__(self) -> None:
        self.context_parameter = "ctx"
        self.request_parameter: str | None = None
        self.model_parameter: str | None = None
        self.model: type[BaseModel] | None = None
        self.result: type[BaseModel] | None = None


def _parameters(handler: Handler) -> _Parameters:
    hints = get_type_hints(handler)
    found = _Parameters()
    for name in inspect.signature(handler).parameters:
        hint = hints[name]
        if hint is Context:
            found.context_parameter = name
        elif hint is HttpRequest:
            found.request_parameter = name
        elif isinstance(hint, type) and issubclass(hint, BaseModel):
            found.model_parameter, found.model = name, hint
    result = hints.get("return")
    if isinstance(result, type) and issubclass(result, BaseModel):
        found.result = result
    return found


def _domain(handler: Handler) -> str:
    """The domain is the folder that the file lies in, however the framework named its module."""
    path = inspect.getfile(handler).replace("\\", "/").split("/")
    return path[-2]


def _summary(handler: Handler) -> str:
    return (inspect.getdoc(handler) or "").partition("\n")[0]


def _named(target: Any, handler: Handler, operation: Operation) -> Target:
    target.__name__ = handler.__name__
    target.__qualname__ = handler.__name__
    target.__doc__ = handler.__doc__
    target.__module__ = handler.__module__
    target.operation = operation
    return cast("Target", target)
