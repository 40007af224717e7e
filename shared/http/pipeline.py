"""Processes a request: checks, handler, commit, response.

The order of the checks is part of the HTTP contract (docs/architecture.md): size, path, method, repeated headers,
token, scope, tenant, rate limit, signature, media type, idempotency key, replay, body, and then the handler's rules.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from shared.context import locks
from shared.context.commits import Points, TooManyConflicts, decide_and_commit
from shared.context.context import Context, Origin
from shared.context.runtime import Runtime
from shared.core.crash_points import reach
from shared.core.problems import Problem, render
from shared.http import idempotency_key as idempotency
from shared.http import idempotent_answers
from shared.http.admission import admit, refuse_repeated_headers, signature_replayed, verify_signature
from shared.http.files import File
from shared.http.idempotent_answers import REPLAYED, Record
from shared.http.messages import MUTATING, HttpRequest, HttpResponse, Stream
from shared.http.methods import handler_for
from shared.http.models import Command
from shared.http.operation import Access, HttpOperation, Progress
from shared.http.query_string import parse_query
from shared.http.request_id import request_id_of
from shared.http.strict_json import fingerprint, parse
from shared.http.validation import body_problem, query_problem
from shared.identity.tokens import Caller
from shared.ports.documents import PRIMARY_INDEX, AlreadyExists, NonceUsed, ReadToken, Unavailable
from shared.ports.lifecycle import NotOpened
from shared.ports.nonces import Nonce
from shared.records.idempotency import IDEMPOTENCY, IdempotencyDocument
from shared.telemetry.log_lines import current_run

log = logging.getLogger(__name__)
JSON_TYPE: Final = "application/json"
_POINTS: Final = Points("request.decided", "request.committed")
_FIRST_READ_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.25
_SECONDS: Final = re.compile(r"0*([0-9]{1,9})|[0-9]+")


@dataclass(slots=True)
class _Run:
    """The state of one request."""

    operation: HttpOperation
    request: HttpRequest
    runtime: Runtime
    request_id: str
    traceparent: str
    caller: Caller | None = None
    tenant_id: str = ""
    headers: dict[str, str] | None = None
    nonce: Nonce | None = None
    """The nonce of the signature, when the request is signed and changes something."""
    parameters: dict[str, str] = field(default_factory=dict)
    read_token: ReadToken | None = field(init=False)

    def __post_init__(self) -> None:
        self.read_token = self.runtime.documents.read_token

    @property
    def correlation_id(self) -> str:
        """The id that the events, log lines and traces of this request have in common."""
        return self.request_id

    async def durable(self) -> None:
        """Wait until everything that the request has read or committed is on disk.

        Raises Unavailable when that fails, also when a commit that was read has been undone.
        """
        await self.runtime.documents.durable(self.read_token)


async def serve(
    operation: HttpOperation, request: HttpRequest, runtime: Runtime, refused: Problem | None = None
) -> HttpResponse:
    """Process a request, log it, and return the response. Never raises: an error becomes a problem document.

    `refused` is a reason to refuse the request that is known before, such as a body that was not read.
    """
    started = perf_counter()
    parent = request.header("traceparent")
    traceparent = runtime.telemetry.trace(parent)
    request_id = request_id_of(request.header("x-request-id"), runtime.random)
    run = _Run(operation, request, runtime, request_id, traceparent)
    logged_as = current_run.set((operation.id, run, traceparent))
    try:
        response = await (_respond(run) if refused is None else _problem_response(run, refused))
    finally:
        current_run.reset(logged_as)
    response.headers["x-request-id"] = request_id
    if run.headers:
        response.headers.update(run.headers)
    seconds = perf_counter() - started
    runtime.telemetry.record_http(
        operation.id, response.status, seconds, traceparent, parent, run.tenant_id, request_id
    )
    return response


async def _respond(run: _Run) -> HttpResponse:
    try:
        response = await _admit_and_execute(run)
        await run.durable()
        reach("request.durable")
        return response
    except Problem as problem:
        return await _problem_response(run, problem)
    except Unavailable as error:
        log.warning("a request cannot be answered now: %s", error)
        return problem_response(unavailable(run.request, error), run.runtime, run.request, run.request_id)
    except Exception:
        log.exception("a request failed")
        failed = Problem("internal_error", "An unexpected error occurred. It is logged under the request id.")
        return problem_response(failed, run.runtime, run.request, run.request_id)


async def _problem_response(run: _Run, problem: Problem) -> HttpResponse:
    # The response may depend on data that is not durable yet, and a used signature must be stored before the client is
    # informed that it was used.
    try:
        await run.durable()
    except Unavailable as error:
        problem = unavailable(run.request, error)
    return problem_response(problem, run.runtime, run.request, run.request_id)


def unavailable(request: HttpRequest, error: Unavailable) -> Problem:
    """Return the problem `dependency_unavailable`, which tells the client to retry. The reason is in the log and at
    /readyz, for the operator."""
    if isinstance(error, NotOpened):
        detail = "A store cannot be opened. GET /readyz of this process shows the reason."
    elif request.header("idempotency-key") is not None:
        detail = (
            f"{error.told} It is not known whether the request was carried out. Send it again with the same "
            "Idempotency-Key: it is carried out once."
        )
    else:
        detail = f"{error.told} Try again."
    return Problem("dependency_unavailable", detail)


def problem_response(problem: Problem, runtime: Runtime, request: HttpRequest, request_id: str) -> HttpResponse:
    """Return a problem as a response (RFC 9457)."""
    body = render(problem, base_url=runtime.settings.base_url, instance=request.path, request_id=request_id)
    headers = {"content-type": "application/problem+json", "x-request-id": request_id}
    headers.update({name.lower(): value for name, value in problem.headers.items()})
    return HttpResponse(problem.status, headers, body)


async def _admit_and_execute(run: _Run) -> HttpResponse:
    operation, request, settings = run.operation, run.request, run.runtime.settings
    if len(request.body) > settings.max_body_bytes:
        raise Problem("payload_too_large", f"The body is larger than {settings.max_body_bytes} bytes.")
    match = operation.pattern.fullmatch(request.path)
    if match is None:
        raise Problem("not_found", "Nothing is served at this path.")
    if request.method != operation.method:
        # A gateway has done this already. A function that runs alone has no gateway.
        answered = handler_for(request, {operation.method: operation})
        if isinstance(answered, HttpResponse):
            return answered
    refuse_repeated_headers(request)
    if operation.access is not Access.PROVIDER:
        run.caller, tenant = await admit(operation, request, run.runtime)
        run.tenant_id = run.caller.tenant_id or "-"
        gate = request.rate_gate or run.runtime.rate_gate
        if gate is not None:
            limit = tenant["limits"]["requests_per_second"] if tenant is not None else None
            run.headers = dict(await gate(run.tenant_id, limit))
        if operation.access is Access.TENANT and (
            request.method in MUTATING or request.header("x-signature") is not None
        ):
            run.nonce = await verify_signature(request, run.tenant_id, run.runtime)
    else:
        run.tenant_id = "-"
    run.parameters = match.groupdict()
    arguments: dict[str, Any] = dict(run.parameters)
    if operation.query is not None:
        arguments[operation.query_parameter or "query"] = _validate_query(operation.query, request.query)
    elif request.query:
        raise query_problem("This operation takes no query parameters.")
    if request.method != "POST" or operation.access is Access.PROVIDER:
        if operation.command is not None:
            _check_media_type(run)
            arguments[operation.body_parameter or "command"] = _validate_body(operation, _parse_body(run))
        return await _execute(run, arguments, _origin(run), None)
    return await _idempotent(run, arguments)


async def _idempotent(run: _Run, arguments: dict[str, Any]) -> HttpResponse:
    operation, request, runtime = run.operation, run.request, run.runtime
    _check_media_type(run)
    raw_key = request.header("idempotency-key")
    if raw_key is None:
        raise Problem("missing_idempotency_key", "A POST needs an Idempotency-Key header.")
    key = idempotency.parse_key(raw_key)
    person = None if run.caller is None else run.caller.user_id
    record_id = idempotency.record_id(run.tenant_id, request.method, request.path, key, person)
    lock_key = f"idem/{record_id}"
    lock = await locks.take(runtime, lock_key)
    if lock is None:
        raise idempotent_answers.in_progress()
    try:
        value = _parse_body(run)
        digest = fingerprint(value)
        record = (record_id, digest)
        origin = _origin(run)
        replayed = await idempotent_answers.replay(runtime, run.tenant_id, record, origin)
        if replayed is not None:
            return replayed
        if operation.command is not None:
            arguments[operation.body_parameter or "command"] = _validate_body(operation, value)
        elif value != {}:
            raise Problem("validation_failed", "This operation has no fields. Send an empty body or `{}`.")
        return await _execute(run, arguments, origin, record)
    finally:
        await locks.release(runtime, lock_key, lock)


class _Execution:
    """One run of the handler for a request, and the response that is stored with its commit."""

    __slots__ = ("_arguments", "_existing", "_origin", "_record", "_run", "_stored", "_waits", "result")

    def __init__(
        self, run: _Run, arguments: dict[str, Any], origin: Origin, record: Record | None, *, waits: bool
    ) -> None:
        """`record` is the id of the idempotency key and the fingerprint of the body.

        `waits` says that the request goes on waiting for a later response.
        """
        self._run = run
        self._origin = origin
        self._waits = waits
        self._arguments = arguments
        self._record = record
        self._stored: IdempotencyDocument | None = None
        self._existing: tuple[str, str] | None = None
        self.result: Any = None

    async def decide(self, ctx: Context) -> HttpResponse:
        """Run the handler, and add its response to the commit."""
        run, arguments = self._run, self._arguments
        operation = run.operation
        ctx.pending.nonce = run.nonce
        arguments[operation.context_parameter] = ctx
        self.result = result = await operation.handler(**arguments)
        response = _response(run, result)
        if self._record is not None:
            self._stored = await idempotent_answers.store(
                ctx,
                run.tenant_id,
                self._record,
                response,
                sealed=operation.sensitive,
                waits=self._waits,
                subject=result.subject if operation.sensitive else None,
            )
        return response

    async def exists(self, existing: AlreadyExists) -> HttpResponse | None:
        """Return the response when the commit fails because a document exists already; None to run the handler again.

        Raises Problem `request_in_progress` or `already_exists`.
        """
        stored = await self.stored()
        if stored is not None:
            return stored
        if existing.collection == IDEMPOTENCY.name:
            raise idempotent_answers.in_progress()
        if existing.index == PRIMARY_INDEX:
            return None
        # The second run of the handler finds the other document and raises a problem that names the field. When it does
        # not, the name of the index is reported.
        if self._existing == (existing.collection, existing.index):
            raise Problem("already_exists", f"Another document has the same value in {existing.index}.")
        self._existing = (existing.collection, existing.index)
        return None

    async def stored(self) -> HttpResponse | None:
        """Return the response that is stored under the request's key now, by this request or another."""
        if self._record is None:
            return None
        runtime, tenant_id = self._run.runtime, self._run.tenant_id
        return await idempotent_answers.replay(runtime, tenant_id, self._record, self._origin, own=self._stored)


def _origin(run: _Run) -> Origin:
    """Return the origin of the request's commits. Each request is a cause of its own."""
    return Origin(run.operation.id, run.runtime.ids.new("req"), run.request_id, None, run.traceparent)


async def _execute(run: _Run, arguments: dict[str, Any], origin: Origin, record: Record | None) -> HttpResponse:
    operation, runtime = run.operation, run.runtime
    if operation.request_parameter is not None:
        arguments[operation.request_parameter] = run.request
    wait_seconds = 0 if operation.progress is None else _preferred_wait(run)
    execution = _Execution(run, arguments, origin, record, waits=wait_seconds > 0)
    try:
        ctx, response = await decide_and_commit(
            runtime, execution.decide, run.tenant_id, origin, _POINTS, caller=run.caller, exists=execution.exists
        )
    except NonceUsed:
        raise signature_replayed() from None
    except TooManyConflicts as conflicts:
        log.warning("request %s: %s", run.request_id, conflicts)
        raise Problem("dependency_unavailable", "Other requests change the same data now. Try again.") from conflicts
    except Problem:
        # The lock separates requests of one key as long as the cache remembers it. When the cache forgets the lock, the
        # handler may find the effect of another request of its key; then the response of that request is the response
        # of the key.
        stored = await execution.stored()
        if stored is None:
            raise
        return stored
    if operation.progress is None or wait_seconds <= 0 or REPLAYED in response.headers:
        return response
    result = await _await_result(run, ctx, operation.progress, execution.result, wait_seconds)
    response = _response(run, result)
    if record is not None:
        final = await idempotent_answers.close(runtime, run.tenant_id, record, origin, response)
        # If the cache forgot the lock, another request of the key may have received a response meanwhile.
        response.body = await idempotent_answers.body_of(final, runtime)
    response.headers["preference-applied"] = f"wait={wait_seconds}"
    return response


async def _await_result(run: _Run, ctx: Context, progress: Progress, result: Any, seconds: int) -> Any:
    """Return the result when the platform has finished with it, or as it is after `seconds`."""
    runtime = run.runtime
    deadline = perf_counter() + seconds
    pause = _FIRST_READ_SECONDS
    while True:
        remaining = max(0.0, deadline - perf_counter())
        quiet = runtime.request_quiet is None or await runtime.request_quiet(run.request_id, remaining)
        reader = Context(runtime, run.tenant_id, ctx.origin, run.caller)
        result, done = await progress(reader, result)
        if (done and quiet) or perf_counter() >= deadline:
            return result
        if quiet:
            # The next step belongs to another process or to a later retry: read the document at growing intervals.
            await asyncio.sleep(min(pause, max(0.0, deadline - perf_counter())))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _response(run: _Run, result: BaseModel | File | HttpResponse | None) -> HttpResponse:
    operation = run.operation
    if result is None:
        return HttpResponse(operation.status, {}, b"")
    if isinstance(result, HttpResponse):
        return result
    if isinstance(result, File):
        headers = {
            "content-type": result.media_type,
            "content-disposition": f'attachment; filename="{result.name}"',
            "vary": "Accept",
        }
        if isinstance(result.content, bytes):
            return HttpResponse(operation.status, headers, result.content)
        return HttpResponse(operation.status, headers, b"", _content(run, result.content))
    headers = {"content-type": JSON_TYPE}
    if operation.files:
        headers["vary"] = "Accept"
    if operation.location is not None:
        headers["location"] = operation.location.format(result=result, **run.parameters)
    return HttpResponse(operation.status, headers, result.__pydantic_serializer__.to_json(result))


async def _content(run: _Run, content: Stream) -> Stream:
    """Yield the pieces of a file, each when what it was read from is durable. An error is logged and ends the stream
    with it."""
    try:
        async with aclosing(content):
            async for piece in content:
                await run.durable()
                yield piece
                # Neither a store in memory nor a client that reads fast suspends: other requests go first.
                await asyncio.sleep(0)
    except (Unavailable, Problem) as error:
        log.warning("the response to %s is cut: %s", run.request_id, error)
        raise
    except Exception:
        log.exception("the response to %s is cut", run.request_id)
        raise


def _preferred_wait(run: _Run) -> int:
    """Return the seconds of `Prefer: wait` (RFC 7240 §4.3), at most `max_wait_seconds`; 0 without it.

    A value that is not a number of seconds is ignored (§2), as are other preferences.
    """
    longest = run.runtime.settings.max_wait_seconds
    prefer = run.request.header("prefer")
    if prefer is None:
        return 0
    for preference in prefer.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        seconds = _SECONDS.fullmatch(value.strip()) if name.strip().lower() == "wait" else None
        if seconds is not None:
            # Python limits the digits of an int that it parses. A number with more digits exceeds every bound.
            return longest if seconds[1] is None else min(int(seconds[1]), longest)
    return 0


def _check_media_type(run: _Run) -> None:
    request = run.request
    if not request.body:
        return  # without content there is no media type to check
    if request.header("content-encoding") not in (None, "identity"):
        raise Problem("unsupported_media_type", "Send the body uncompressed, without Content-Encoding.")
    content_type = request.header("content-type")
    if content_type == JSON_TYPE:
        return
    media_type, _, parameters = (content_type or "").lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if media_type.strip() != JSON_TYPE or charset not in ("", "utf-8"):
        raise Problem("unsupported_media_type", "Send the body as `application/json` in UTF-8.")


def _parse_body(run: _Run) -> Any:
    if not run.request.body and run.operation.empty_body_is_object:
        return {}
    return parse(run.request.body, max_depth=run.runtime.settings.max_json_depth)


def _validate_body(operation: HttpOperation, value: Any) -> BaseModel:
    assert operation.command is not None
    if not isinstance(value, dict):
        raise Problem.at("validation_failed", "", "The body must be a JSON object.")
    try:
        return operation.command.model_validate(value)
    except ValidationError as error:
        problem = body_problem(error)
    if issubclass(operation.command, Command):
        operation.command.refuse_invalid(value)
    raise problem


def _validate_query(model: type[BaseModel], raw: str) -> BaseModel:
    try:
        return model.model_validate(parse_query(raw))
    except ValidationError as error:
        raise query_problem(error) from None
