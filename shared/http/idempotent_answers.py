"""Answers stored under their idempotency keys, in the same commit as the effect that they report.

The collection belongs to the HTTP runtime and not to the operation's domain, so the runtime adds to the commit itself.
"""

from __future__ import annotations

from typing import Final, cast

from shared.context.commits import Points, decide_and_commit
from shared.context.context import Context, Origin
from shared.context.runtime import Runtime
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

    Where it is `own`, which the caller has tried to store, it is the first answer and no replay. Otherwise it is final
    from now on. Raises Problem `idempotency_key_reused`.
    """
    found = await runtime.documents.get(IDEMPOTENCY, tenant_id, record[0])
    if found is None:
        return None
    if found["fingerprint"] != record[1]:
        raise Problem("idempotency_key_reused", "This key was used for another body.")
    if found == own:
        return await _answer_of(found, runtime)
    if _is_open(found):
        found = await close(runtime, tenant_id, record, origin)
    answer = await _answer_of(found, runtime)
    answer.headers[REPLAYED] = "true"
    return answer


async def store(
    ctx: Context, tenant_id: str, record: Record, response: HttpResponse, *, sealed: bool, waits: bool
) -> IdempotencyDocument:
    """Put the answer into the commit, first of what it makes, so that it is what a second one of the key meets.

    `waits`: the request goes on to wait for a later one, and this one is open meanwhile.
    """
    body = response.body.decode()
    if sealed:
        body = (await ctx.runtime.secrets.seal([body], tenant_id))[0]
    document: IdempotencyDocument = {
        "id": record[0],
        "tenant_id": tenant_id,
        "version": 1,
        "fingerprint": record[1],
        "status": response.status,
        "headers": response.headers,
        "body": body,
        "sealed": sealed,
        "open": waits,
        "created_at": ctx.now_text,
    }
    ctx.pending.inserts.insert(0, (IDEMPOTENCY, cast("dict[str, object]", document)))
    return document


async def close(
    runtime: Runtime, tenant_id: str, record: Record, origin: Origin, answer: HttpResponse | None = None
) -> IdempotencyDocument:
    """Make the stored answer final, and return it: `answer`, by the request that has waited for it, or the one that is
    there, by another request of the key. Whichever comes first is the key's answer for good.
    """

    async def decide(ctx: Context) -> IdempotencyDocument:
        found = await ctx.get(IDEMPOTENCY, record[0])
        assert found is not None, "an answer is never removed"
        if not _is_open(found):
            return found
        final: IdempotencyDocument = {**found, "open": False}
        if answer is not None:
            final = {**final, "body": answer.body.decode(), "headers": dict(answer.headers)}
        ctx.pending.replaces.append((IDEMPOTENCY, cast("dict[str, object]", final)))
        return final

    return (await decide_and_commit(runtime, decide, tenant_id, origin, _POINTS))[1]


def _is_open(found: IdempotencyDocument) -> bool:
    # An earlier version stored answers without it.
    return found.get("open", False)


async def _answer_of(found: IdempotencyDocument, runtime: Runtime) -> HttpResponse:
    body = found["body"]
    if found["sealed"]:
        body = (await runtime.secrets.open([body], found["tenant_id"]))[0]
    return HttpResponse(found["status"], dict(found["headers"]), body.encode())
