"""The target for the functions framework that receives events: it reads an event, delivers it, and returns a status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.context.context import Handler
from shared.context.runtime import Runtime, RuntimeSource
from shared.context.target import Target, as_target, chunked_body, domain_of, read_body, summary_of
from shared.core.envelope import Envelope, Event
from shared.core.problems import Problem
from shared.messaging.attributes import InvalidEvent
from shared.messaging.delivery import Delivery, deliver, refused
from shared.messaging.http_binding import from_http
from shared.messaging.operation import EventOperation, Unwanted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_ENVELOPE_ALLOWANCE: Final = 16 * 1024
_UNREADABLE: Final = Envelope(id="", source="", type="unreadable", subject=None, time=None, extensions={})


def event_target(
    handler: Handler,
    models: tuple[type[Event], ...],
    runtime: RuntimeSource,
    *,
    platform: bool,
    unwanted: Unwanted | None = None,
) -> Target:
    """Make the target of a handler. The arguments are those of `shared.functions.decorators.event_function`."""
    domain = domain_of(handler)
    operation = EventOperation(
        id=f"{domain}/{handler.__name__}",
        name=handler.__name__,
        domain=domain,
        models={model.type: model for model in models},
        any_event=not models,
        platform=platform,
        handler=handler,
        summary=summary_of(handler),
        unwanted=unwanted,
    )

    async def target(request: Request) -> Response:
        from starlette.responses import Response as FrameworkResponse

        problem = chunked_body(request)
        if problem is not None:
            delivery = refused(problem, _UNREADABLE)
            return FrameworkResponse(b"", delivery.status, {**delivery.headers, **problem.headers})
        in_use = runtime()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]]
        body = await read_body(request.stream(), in_use.settings.max_body_bytes)
        delivery = await _deliver_message(operation, headers, body, in_use)
        return FrameworkResponse(b"", delivery.status, delivery.headers)

    return as_target(target, handler, operation)


async def _deliver_message(
    operation: EventOperation, headers: list[tuple[str, str]], body: bytes | None, runtime: Runtime
) -> Delivery:
    """Deliver an event that was received over HTTP. `body` is None when it was too large."""
    limit = runtime.settings.max_event_bytes
    if body is None or len(body) > limit + _ENVELOPE_ALLOWANCE:
        return refused(_too_large(limit), _UNREADABLE)
    try:
        envelope = from_http(headers, body)
    except InvalidEvent as error:
        return refused(Problem("malformed_request", f"This is not a CloudEvent: {error}."), _UNREADABLE)
    if len(envelope.data) > limit:
        return refused(_too_large(limit), envelope)
    delivery = await deliver(operation, envelope, runtime)
    if delivery.status == 204:
        await runtime.documents.durable()
    return delivery


def _too_large(limit: int) -> Problem:
    return Problem("payload_too_large", f"An event's data has at most {limit} bytes.")
