"""Answers stored under their idempotency keys, in the same commit as the effect that they report.

The collection belongs to the HTTP runtime and not to the operation's domain, so the runtime adds to the commit itself.
"""

from __future__ import annotations

from typing import cast

from shared.context.context import Context
from shared.context.runtime import Runtime
from shared.core.problems import Problem
from shared.http.messages import HttpResponse
from shared.ports.documents import Commit, CommitRefused
from shared.records.idempotency import IDEMPOTENCY, IdempotencyDocument


async def replay(runtime: Runtime, tenant_id: str, record_id: str, fingerprint: str) -> HttpResponse | None:
    """The first answer again, or None when the key is new. Raises Problem `idempotency_key_reused`."""
    record = await runtime.documents.get(IDEMPOTENCY, tenant_id, record_id)
    if record is None:
        return None
    if record["fingerprint"] != fingerprint:
        raise Problem("idempotency_key_reused", "This key was used for another body.")
    body = record["body"]
    if record["sealed"]:
        body = (await runtime.secrets.open([body], tenant_id))[0]
    headers = {**record["headers"], "idempotent-replayed": "true"}
    return HttpResponse(record["status"], headers, body.encode())


async def keep(ctx: Context, tenant_id: str, record: tuple[str, str], response: HttpResponse, *, sealed: bool) -> None:
    """Put the answer into the commit. `record` is the key's id and the body's fingerprint."""
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
    ctx.pending.inserts.append((IDEMPOTENCY, cast("dict[str, object]", document)))


async def keep_later(ctx: Context, record_id: str, response: HttpResponse) -> None:
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
