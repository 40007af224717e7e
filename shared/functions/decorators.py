"""The two decorators of functions: the whole contract between an operation and Knative.

Each returns a plain `functions_framework.aio` target with the http signature, so the unmodified framework can deploy a
function. The target converts the framework's request, runs the operation's pipeline, and converts its response. The
framework's `cloud_event` signature is not used: it answers `200 OK` with a body, which the Kafka broker counts as a
failed delivery (docs/decisions/0001).

The code for HTTP requests and the code for events are loaded only when a function uses them: a process serves one
function, and starts faster without the other code.
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
    from shared.messaging.operation import Unwanted


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
    files: tuple[str, ...] = (),
) -> Callable[[Handler], Target]:
    """Make a handler answer `METHOD /path/{parameter}`. Callers of a tenant may call it, unless `access` names others.

    The handler's parameters are recognised by their annotations: Context; a BaseModel (the body of a POST, PUT or
    PATCH, otherwise the query); HttpRequest (the raw request); str (a path parameter of that name).

    `location` is a format string over `result` and the path parameters. `progress` is called repeatedly while a request
    with `Prefer: wait` waits. `sensitive` encrypts the stored response. `problems` lists codes beyond those that every
    operation may return, and `files` the media types of the files that it returns by Accept, for OpenAPI.
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
            files=files,
            runtime=process_runtime,
        )

    return decorate


def event_function(
    *models: type[Event], platform: bool = False, unwanted: Unwanted | None = None
) -> Callable[[Handler], Target]:
    """Make a handler react to events of these types: `async def handler(event, ctx) -> None`.

    Without types it receives every event as an Envelope (dead letters, webhooks). `platform` marks an operation that
    runs outside any tenant until it chooses one (a sweep, started by a schedule). `unwanted` tells a broker in this
    process that the handler would do nothing with an event, so that the broker does not deliver it.
    """
    from shared.messaging.target import event_target

    def decorate(handler: Handler) -> Target:
        check_when_loaded_alone(handler)
        return event_target(handler, models, process_runtime, platform=platform, unwanted=unwanted)

    return decorate


def operation_of(target: object) -> Operation | None:
    """Return the operation of a framework target, or None when the target was not made by these decorators."""
    return getattr(target, "operation", None)
