"""One delivery of one event to one function: from the envelope to the commit and the status that Knative reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Final, NamedTuple

from pydantic import ValidationError

from shared.context import locks
from shared.context.commits import Points, TooManyConflicts, decide_and_commit
from shared.context.context import Origin
from shared.context.runtime import Runtime
from shared.core.envelope import DEAD_LETTER_ID, Envelope, Event
from shared.core.problems import Problem
from shared.messaging.operation import EventOperation
from shared.ports.documents import PLATFORM, AlreadyApplied, InboxMarker, Unavailable
from shared.telemetry.log_lines import current_run

log = logging.getLogger(__name__)
_KNE_DETAIL_LENGTH: Final = 200
_POINTS: Final = Points("event.decided", "event.committed")
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Delivery(NamedTuple):
    """The result of a delivery: a status and, when the event was refused, `Kne-*` headers for the dead letter sink."""

    status: int
    headers: Mapping[str, str] = _NO_HEADERS
    body: bytes = b""
    """Always empty: the sender would take a body with a 2xx status for a reply. The reason of a refusal is in the
    headers."""


DONE: Final = Delivery(204)


async def deliver(operation: EventOperation, envelope: Envelope, runtime: Runtime, *, first: bool = False) -> Delivery:
    """Apply an event at most once, and return the status for Knative.

    204: applied, now or before. 400 or 422: the event can never be applied. 409: another process is applying it. 503:
    try again later.

    `first` states that this consumer has never received the event, and that no other process delivers it to the
    consumer now. The inbox and the lock are then not used.
    """
    started, now = perf_counter(), runtime.clock.now()
    telemetry = runtime.telemetry
    parent = envelope.extensions.get("traceparent")
    traceparent = telemetry.trace(parent)
    run = _apply if first else _apply_guarded
    logged_as = current_run.set((operation.id, envelope, traceparent))
    try:
        tenant_id, event = _read(operation, envelope)
        # A dead letter sink receives every event that a consumer failed on. It can receive one event several times,
        # from several consumers, so it recognises a repeated one by its own documents and not by the id of the event.
        marker = None if operation.any_event else InboxMarker(operation.id, envelope.source, envelope.id)
        delivery = await run(operation, envelope, event, tenant_id, marker, runtime, traceparent)
    except Unavailable as error:
        log.warning("event %s cannot be applied now: %s", envelope.id, error)
        delivery = Delivery(503, {"Kne-Code": "dependency_unavailable", "Kne-Detail": _header_text(error.told)})
    except Problem as problem:
        delivery = refused(problem, envelope)
    except Exception:
        log.exception("%s %s failed", envelope.type, envelope.id)
        delivery = Delivery(500, {"Kne-Code": "internal_error"})
    finally:
        current_run.reset(logged_as)
    seconds, age = perf_counter() - started, envelope.age_seconds(now)
    if age is not None:
        age += seconds
    telemetry.record_event(operation.id, envelope.type, delivery.status, seconds, age, traceparent, parent)
    if telemetry.deliveries is not None:
        _log_delivery(telemetry.deliveries, operation, envelope, delivery.status, seconds, traceparent)
    return delivery


def _log_delivery(
    logger: logging.Logger,
    operation: EventOperation,
    envelope: Envelope,
    status: int,
    seconds: float,
    traceparent: str,
) -> None:
    logged_as = current_run.set((operation.id, envelope, traceparent))
    logger.debug("%s %s answered %d in %.1f ms", envelope.type, envelope.id, status, seconds * 1000)
    current_run.reset(logged_as)


async def _apply_guarded(
    operation: EventOperation,
    envelope: Envelope,
    event: Event | Envelope,
    tenant_id: str,
    marker: InboxMarker | None,
    runtime: Runtime,
    traceparent: str,
) -> Delivery:
    """Apply an event, unless it was applied before or another process is applying it.

    Without a marker, the operation recognises a repeated event by its own documents, and two processes may run it. With
    one, the inbox of a server is read while the lock is taken, in one round trip. When the event is applied between the
    two, the commit finds the marker.
    """
    if marker is None:
        return await _apply(operation, envelope, event, tenant_id, marker, runtime, traceparent)
    lock_key = f"inbox/{operation.id}/{envelope.source}/{envelope.id}"
    seen: bool | BaseException = False
    lock: int | BaseException | None
    if runtime.documents.answers_at_once:
        if await runtime.documents.seen(marker):
            return DONE
        lock = await locks.take(runtime, lock_key)
    else:
        seen, lock = await asyncio.gather(
            runtime.documents.seen(marker), locks.take(runtime, lock_key), return_exceptions=True
        )
    if isinstance(lock, BaseException):
        raise lock
    try:
        if isinstance(seen, BaseException):
            raise seen
        if seen:
            return DONE
        if lock is None:
            return Delivery(409, {"Kne-Code": "request_in_progress"})
        return await _apply(operation, envelope, event, tenant_id, marker, runtime, traceparent)
    finally:
        if lock is not None:
            await locks.release(runtime, lock_key, lock)


def _read(operation: EventOperation, envelope: Envelope) -> tuple[str, Event | Envelope]:
    tenant_id = envelope.tenant_id
    if operation.platform:
        tenant_id = PLATFORM
    elif not tenant_id or tenant_id == PLATFORM:
        raise Problem("malformed_request", "The event names no tenant (extension attribute tenantid).")
    elif not envelope.partition_key.startswith(tenant_id + "/"):
        if not envelope.extensions.get("partitionkey"):
            raise Problem("malformed_request", "The event has no extension attribute partitionkey.")
        raise Problem("tenant_mismatch", "The event's partitionkey does not begin with its tenant.")
    if operation.any_event:
        return tenant_id, envelope
    model = operation.models.get(envelope.type)
    if model is None:
        raise Problem("malformed_request", f"{operation.id} does not accept events of type {envelope.type}.")
    try:
        return tenant_id, envelope.parsed(model)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"])
        raise Problem("validation_failed", f"The event's data at /{where}: {first['msg']}.") from None


async def _apply(
    operation: EventOperation,
    envelope: Envelope,
    event: Event | Envelope,
    tenant_id: str,
    marker: InboxMarker | None,
    runtime: Runtime,
    traceparent: str,
) -> Delivery:
    dead_letter_id = envelope.extensions.get(DEAD_LETTER_ID)
    origin = Origin(operation.id, envelope.id, envelope.correlation_id, envelope.id, traceparent, dead_letter_id)
    try:
        await decide_and_commit(runtime, partial(operation.handler, event), tenant_id, origin, _POINTS, marker=marker)
    except AlreadyApplied:
        return DONE
    except TooManyConflicts as conflicts:
        log.warning("%s cannot apply event %s now: %s", operation.id, envelope.id, conflicts)
        return Delivery(503, {"Kne-Code": "version_conflict"})
    return DONE


def refused(problem: Problem, envelope: Envelope) -> Delivery:
    """Return the delivery for a refused event, with headers that give the reason to the dead letter sink."""
    headers = {"Kne-Code": problem.code, "Kne-Detail": _header_text(problem.detail)}
    if envelope.tenant_id:
        headers["Kne-Tenant"] = envelope.tenant_id
    # The detail may quote data of the event. It goes to the dead letter, which belongs to the tenant, and not to the
    # log.
    log.warning("%s %s refused: %s", envelope.type, envelope.id, problem.code)
    return Delivery(problem.status, headers)


def _header_text(text: str) -> str:
    """Return the start of a text as the value of a header: ASCII, in one line."""
    return text[:_KNE_DETAIL_LENGTH].encode("ascii", "replace").decode().replace("\n", " ")
