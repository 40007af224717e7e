"""Answers stored under their idempotency keys, in the same commit as the effect that they report.

The collection belongs to the HTTP runtime and not to the operation's domain, so the runtime adds to the commit itself.
"""

from __future__ import annotations

from typing import Final, cast

from shared.context.context import Context
from shared.context.runtime import Runtime
from shared.core.problems import Problem
from shared.http.messages import HttpResponse
from shared.ports.documents import Commit, CommitRefused
from shared.records.idempotency import IDEMPOTENCY, IdempotencyDocument

REPLAYED: Final = "idempotent-replayed"
"""The header that tells a stored answer from the first one."""

Record = tuple[str, str]
"""A key's id and the fingerprint of the body that came with it."""


def in_progress() -> Problem:
    """What a request is refused with while another of its key is being answered."""
    return Problem("request_in_progress", "A request with this key is in progress.", headers={"Retry-After": "1"})


async def replay(
    runtime: Runtime, tenant_id: str, record: Record, *, own: IdempotencyDocument | None = None
) -> HttpResponse | None:
    """The answer that is stored under a key, or None when the key is new. Raises Problem `idempotency_key_reused`.

    Where it is `own`, which the caller has tried to store, it is the first answer and no replay.
    """
    found = await runtime.documents.get(IDEMPOTENCY, tenant_id, record[0])
    if found is None:
        return None
    if found["fingerprint"] != record[1]:
        raise Problem("idempotency_key_reused", "This key was used for another body.")
    body = found["body"]
    if found["sealed"]:
        body = (await runtime.secrets.open([body], tenant_id))[0]
    headers = dict(found["headers"])
    if found != own:
        headers[REPLAYED] = "true"
    return HttpResponse(found["status"], headers, body.encode())


async def store(
    ctx: Context, tenant_id: str, record: Record, response: HttpResponse, *, sealed: bool
) -> IdempotencyDocument:
    """Put the answer into the commit, first of what it makes, so that it is what a second one of the key meets."""
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
        "created_at": ctx.now_text,
    }
    ctx.pending.inserts.insert(0, (IDEMPOTENCY, cast("dict[str, object]", document)))
    return document


async def replace(ctx: Context, record_id: str, response: HttpResponse) -> None:
    """Put the answer that was waited for in the place of the one that was kept with the effect.

    Nobody has seen the earlier one: a crash in between leaves it as the first answer.
    """
    record = await ctx.get(IDEMPOTENCY, record_id)
    if record is None:
        return
    later = {**record, "headers": dict(response.headers), "body": response.body.decode()}
    commit = Commit(ctx.tenant_id, replaces=[(IDEMPOTENCY, later)], read_token=ctx.pending.read_token)
    try:
        await ctx.runtime.documents.commit(commit)
    except CommitRefused:
        ctx.log.warning("the answer kept under %s was changed by another run", record_id)
