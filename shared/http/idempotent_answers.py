"""Answers stored under their idempotency keys, in the same commit as the effect that they report.

The collection belongs to the HTTP runtime and not to the operation's domain, so the runtime adds to the commit itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, cast

from shared.context.commits import Points, decide_and_commit
from shared.context.context import Context, Origin
from shared.context.runtime import Runtime
from shared.core.clock import format_time
from shared.core.problems import Problem
from shared.http.messages import HttpResponse
from shared.records.idempotency import IDEMPOTENCY, IdempotencyDocument

REPLAYED: Final = "idempotent-replayed"
"""The header that tells a stored answer from the first one."""

_POINTS: Final = Points("request.waited", "request.closed")

Record = tuple[str, str]
"""A key's id and the fingerprint of the body that came with it."""


def in_progress() -> Problem:
    """What a request is refused with while another of its key is being answered."""
    return Problem("request_in_progress", "A request with this key is in progress.", headers={"Retry-After": "1"})


async def replay(
    runtime: Runtime, tenant_id: str, record: Record, origin: Origin, *, own: IdempotencyDocument | None = None
) -> HttpResponse | None:
    """The answer that is stored under a key, or None when the key is new.

    Where it is `own`, which the caller has tried to store, it is the first answer and no replay. Raises Problem
    `idempotency_key_reused`, or `request_in_progress` while the answer is not final.
    """
    found = await runtime.documents.get(IDEMPOTENCY, tenant_id, record[0])
    if found is None:
        return None
    if found["fingerprint"] != record[1]:
        raise Problem("idempotency_key_reused", "This key was used for another body.")
    if found == own:
        return await _answer_of(found, runtime)
    if _open_until(found) is not None:
        found = await close(runtime, tenant_id, record, origin)
    answer = await _answer_of(found, runtime)
    answer.headers[REPLAYED] = "true"
    return answer


async def store(
    ctx: Context, tenant_id: str, record: Record, response: HttpResponse, *, sealed: bool, wait_seconds: int
) -> IdempotencyDocument:
    """Put the answer into the commit, first of what it makes, so that it is what a second one of the key meets.

    With `wait_seconds` the request goes on to wait for a later one, and this one is open meanwhile.
    """
    body = response.body.decode()
    if sealed:
        body = (await ctx.runtime.secrets.seal([body], tenant_id))[0]
    patience = timedelta(seconds=wait_seconds + ctx.runtime.settings.lock_seconds)
    document: IdempotencyDocument = {
        "id": record[0],
        "tenant_id": tenant_id,
        "version": 1,
        "fingerprint": record[1],
        "status": response.status,
        "headers": response.headers,
        "body": body,
        "sealed": sealed,
        "open_until": format_time(ctx.now + patience) if wait_seconds else None,
        "created_at": ctx.now_text,
    }
    ctx.pending.inserts.insert(0, (IDEMPOTENCY, cast("dict[str, object]", document)))
    return document


async def close(
    runtime: Runtime, tenant_id: str, record: Record, origin: Origin, answer: HttpResponse | None = None
) -> IdempotencyDocument:
    """Make the stored answer final, and return it: `answer`, by the request that has waited for it, or the one that is
    there, by another request once the time for waiting is over. Whichever comes first is the key's answer for good.

    Raises Problem `request_in_progress` when another request still waits.
    """

    async def decide(ctx: Context) -> IdempotencyDocument:
        found = await ctx.get(IDEMPOTENCY, record[0])
        assert found is not None, "an answer is never removed"
        open_until = _open_until(found)
        if open_until is None:
            return found
        final: IdempotencyDocument = {**found, "open_until": None}
        if answer is not None:
            final = {**final, "body": answer.body.decode(), "headers": dict(answer.headers)}
        elif ctx.now_text < open_until:
            raise in_progress()
        ctx.pending.replaces.append((IDEMPOTENCY, cast("dict[str, object]", final)))
        return final

    return (await decide_and_commit(runtime, decide, tenant_id, origin, _POINTS))[1]


def _open_until(found: IdempotencyDocument) -> str | None:
    # An earlier version stored answers without it.
    return found.get("open_until")


async def _answer_of(found: IdempotencyDocument, runtime: Runtime) -> HttpResponse:
    body = found["body"]
    if found["sealed"]:
        body = (await runtime.secrets.open([body], found["tenant_id"]))[0]
    return HttpResponse(found["status"], dict(found["headers"]), body.encode())
