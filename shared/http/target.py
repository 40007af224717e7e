"""The target for the functions framework that answers HTTP requests: Starlette requests in, Starlette responses out."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, get_args, get_type_hints

from pydantic import BaseModel

from shared.context.context import Context, Handler
from shared.context.runtime import Runtime, RuntimeSource
from shared.context.target import Target, as_target, chunked_body, domain_of, read_body, summary_of
from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse, read_headers
from shared.http.operation import Access, HttpOperation, Progress, compile_path, path_parameters
from shared.http.pipeline import serve

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def http_target(
    handler: Handler,
    route: str,
    *,
    scope: str | None,
    access: Access | None,
    status: int,
    location: str | None,
    progress: Progress | None,
    empty_body_is_object: bool,
    sensitive: bool,
    problems: tuple[str, ...],
    files: tuple[str, ...],
    runtime: RuntimeSource,
) -> Target:
    """Make the target of a handler. The arguments are those of `shared.functions.decorators.http_function`."""
    method, _, path = route.partition(" ")
    found = _parameters(handler)
    body = found.model_parameter if method in ("POST", "PUT", "PATCH") else None
    query = found.model_parameter if body is None else None
    domain = domain_of(handler)
    operation = HttpOperation(
        id=f"{domain}/{handler.__name__}",
        name=handler.__name__,
        domain=domain,
        method=method,
        path=path,
        scope=scope,
        access=access or Access.TENANT,
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
        summary=summary_of(handler),
        pattern=compile_path(path),
        files=files,
    )
    return as_target(_adapter(operation, runtime), handler, operation)


def _adapter(operation: HttpOperation, runtime: RuntimeSource) -> Callable[[Request], Awaitable[Response]]:
    async def target(request: Request) -> Response:
        from starlette.responses import Response as FrameworkResponse

        answer = await _serve_framework_request(operation, request, runtime())
        if answer.stream is not None:
            from starlette.responses import StreamingResponse

            return StreamingResponse(answer.stream, answer.status, answer.headers)
        return FrameworkResponse(answer.body, answer.status, answer.headers)

    return target


async def _serve_framework_request(operation: HttpOperation, request: Request, runtime: Runtime) -> HttpResponse:
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
    problem = chunked_body(request)
    if problem is not None:
        return await serve(operation, incoming, runtime, problem)
    body = await read_body(request.stream(), runtime.settings.max_body_bytes)
    if body is None:
        problem = Problem("payload_too_large", f"The body is larger than {runtime.settings.max_body_bytes} bytes.")
        return await serve(operation, incoming, runtime, problem)
    incoming.body = body
    return await serve(operation, incoming, runtime)


class _Parameters:
    """The names of a handler's parameters by their purpose, and the models in their annotations."""

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
    returned = hints.get("return")
    # An operation that answers with JSON or a file returns a union of both.
    for result in (returned, *get_args(returned)):
        if isinstance(result, type) and issubclass(result, BaseModel):
            found.result = result
    return found
