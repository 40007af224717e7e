"""The two decorators: the whole contract between an operation and Knative in one place.

Each returns a plain `functions_framework.aio` http-signature target, so a function is deployed by the ordinary
framework. The target is a thin adapter: framework request in, the operation's pipeline, framework answer out.
The framework's `cloud_event` signature is not used: it answers `200 OK` with a body, which the Kafka broker counts
as a failed delivery (docs/decisions/0001).

What answers requests and what takes events are loaded when a function asks for them: a process serves one function,
and starts sooner without the other half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.context.context import Handler
from shared.context.target import Target
from shared.functions.process import check_when_loaded_alone, process_runtime

if TYPE_CHECKING:
    from shared.core.envelope import Event
    from shared.functions.operation import Operation
    from shared.http.operation import Access, Progress


def http_function(
    route: str,
    *,
    scope: str | None = None,
    access: Access | None = None,
    status: int = 200,
    location: str | None = None,
    progress: Progress | None = None,
    empty_body_is_object: bool = False,
    sensitive: bool = False,
    problems: tuple[str, ...] = (),
) -> Callable[[Handler], Target]:
    """Make a handler answer `METHOD /path/{parameter}`; a tenant's callers may, unless `access` says who else.

    The handler's parameters are recognised by their annotations: Context; a BaseModel (the body of a POST, PUT or
    PATCH, else the query); HttpRequest (the raw request); str (a path parameter of that name).

    `location` is a format over `result` and the path's parameters; `progress` is what `Prefer: wait` asks;
    `sensitive` seals the stored answer; `problems` lists codes beyond those that every operation may give, for
    OpenAPI.
    """
    from shared.http.target import http_target

    def decorate(handler: Handler) -> Target:
        check_when_loaded_alone(handler)
        return http_target(
            handler,
            route,
            scope=scope,
            access=access,
            status=status,
            location=location,
            progress=progress,
            empty_body_is_object=empty_body_is_object,
            sensitive=sensitive,
            problems=problems,
            runtime=process_runtime,
        )

    return decorate


def event_function(*models: type[Event], platform: bool = False) -> Callable[[Handler], Target]:
    """Make a handler react to events of these types: `async def handler(event, ctx) -> None`.

    With no type it takes every event as an Envelope (dead letters). `platform` marks an operation that runs for no
    tenant until it chooses one (a schedule's sweep).
    """
    from shared.messaging.target import event_target

    def decorate(handler: Handler) -> Target:
        check_when_loaded_alone(handler)
        return event_target(handler, models, process_runtime, platform=platform)

    return decorate


def operation_of(target: object) -> Operation | None:
    """The operation of a framework target, or None when it is no function of ours."""
    return getattr(target, "operation", None)
