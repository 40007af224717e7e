"""Responses stored under their idempotency keys, in the same commit as the effect that they report.

The collection belongs to the HTTP runtime and not to the operation's domain. The runtime therefore adds the document to
the commit itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import orjson

from shared.context.commits import Points, decide_and_commit
from shared.context.context import Context, Origin
from shared.context.runtime import Runtime
from shared.core.problems import Problem
from shared.http.messages import HttpResponse
from shared.ports.documents import Unavailable
from shared.records.idempotency import IDEMPOTENCY, IdempotencyDocument

REPLAYED: Final = "idempotent-replayed"
"""The response header that marks a stored response."""

_GONE_STATUS: Final = 409
_POINTS: Final = Points("request.waited", "request.closed")

Record = tuple[str, str]
"""The id of the document of an idempotency key, and the fingerprint of the request's body."""


def in_progress() -> Problem:
    """Return the Problem for a request whose key another request is still using."""
    return Problem("request_in_progress", "A request with this key is in progress.", headers={"Retry-After": "1"})


async def replay(
    runtime: Runtime, tenant_id: str, record: Record, origin: Origin, *, own: IdempotencyDocument | None = None
) -> HttpResponse | None:
    """Return the response that is stored under a key, or None when the key is new.

    A stored document equal to `own` was stored by this request: its response is the first one and not marked as
    replayed. An open document of another request is made final first. Raises Problem `idempotency_key_reused` for
    another body, and `already_exists` for a response whose content was removed.
    """
    found = await runtime.documents.get(IDEMPOTENCY, tenant_id, record[0])
    if found is None:
        return None
    if found["fingerprint"] != record[1]:
        raise Problem("idempotency_key_reused", "This key was used for another body.")
    if found["created_at"] is None:
        raise _removed(found)
    if found == own:
        return await _response_of(found, runtime)
    if _is_open(found):
        found = await close(runtime, tenant_id, record, origin)
    answer = await _response_of(found, runtime)
    answer.headers[REPLAYED] = "true"
    return answer


async def store(
    ctx: Context,
    tenant_id: str,
    record: Record,
    response: HttpResponse,
    *,
    sealed: bool,
    waits: bool,
    subject: str | None = None,
) -> IdempotencyDocument:
    """Add the response to the commit and return its document.

    The document is the first insert of the commit, so that a concurrent request with the same key fails on it. With
    `waits` the document is open: the request goes on waiting and replaces the response later. `subject` is the id of
    the resource in a sealed body.
    """
    body = response.body.decode()
    if sealed:
        body = (await ctx.runtime.secrets.seal([body], tenant_id, "responses"))[0]
    document: IdempotencyDocument = {
        "id": record[0],
        "tenant_id": tenant_id,
        "version": 1,
        "fingerprint": record[1],
        "subject": subject,
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
    """Make the stored response final and return its document.

    The request that stored it passes the later response as `answer`. Another request with the same key passes none and
    so keeps the stored response. The first of them to commit decides. Raises Unavailable when the store has lost it.
    """

    async def decide(ctx: Context) -> IdempotencyDocument:
        found = await ctx.get(IDEMPOTENCY, record[0])
        if found is None:
            # Nothing removes a stored response; the store may lose it until it is on disk.
            raise Unavailable("the response under the idempotency key was lost before it was on disk")
        if not _is_open(found):
            return found
        final: IdempotencyDocument = {**found, "open": False}
        if answer is not None:
            body = answer.body.decode()
            if found["sealed"]:
                (body,) = await runtime.secrets.seal([body], tenant_id, "responses")
            final = {**final, "body": body, "headers": dict(answer.headers)}
        ctx.pending.replaces.append((IDEMPOTENCY, cast("dict[str, object]", final)))
        return final

    return (await decide_and_commit(runtime, decide, tenant_id, origin, _POINTS))[1]


def remove_contents(found: Sequence[IdempotencyDocument], ctx: Context) -> None:
    """Remove the contents of stored responses in the commit.

    What is left keeps each key from having a second effect.
    """
    for document in found:
        left: IdempotencyDocument = {
            **document,
            "subject": None,
            # A function of an earlier version answers with this status and no body.
            "status": _GONE_STATUS,
            "headers": {name: value for name, value in document["headers"].items() if name == "location"},
            "body": "",
            "sealed": False,
            "open": False,
            "created_at": None,
        }
        ctx.pending.replaces.append((IDEMPOTENCY, cast("dict[str, object]", left)))


def _removed(found: IdempotencyDocument) -> Problem:
    """Return the Problem for a key whose request was carried out so long ago that its response is removed."""
    location = found["headers"].get("location")
    where = "" if location is None else f" GET {location} shows what it created."
    return Problem(
        "already_exists",
        "A request with this Idempotency-Key was carried out before, and is not carried out again. Its response is no "
        f"longer stored.{where} A new request needs a new key.",
    )


async def replace_bodies(body: bytes, found: Sequence[IdempotencyDocument], ctx: Context) -> None:
    """Replace the bodies of stored responses in the commit: the personal data in them was erased."""
    sealed = await ctx.runtime.secrets.seal([body.decode()] * len(found), ctx.tenant_id, "responses")
    for document, text in zip(found, sealed, strict=True):
        ctx.pending.replaces.append((IDEMPOTENCY, cast("dict[str, object]", {**document, "body": text})))


async def change_bodies(
    change: Callable[[dict[str, Any]], None], found: Sequence[IdempotencyDocument], ctx: Context
) -> None:
    """Change the bodies of stored responses in the commit, as `replace_bodies` does. `change` is called with the JSON
    object of each body, and changes it in place."""
    for document in found:
        shown = orjson.loads(await body_of(document, ctx.runtime))
        change(shown)
        await replace_bodies(orjson.dumps(shown), [document], ctx)


def _is_open(found: IdempotencyDocument) -> bool:
    # Documents of earlier versions do not have the field.
    return found.get("open", False)


async def body_of(found: IdempotencyDocument, runtime: Runtime) -> bytes:
    """Return the body of a stored response, decrypted."""
    body = found["body"]
    if found["sealed"]:
        (body,) = await runtime.secrets.open([body], found["tenant_id"])
    return body.encode()


async def _response_of(found: IdempotencyDocument, runtime: Runtime) -> HttpResponse:
    return HttpResponse(found["status"], dict(found["headers"]), await body_of(found, runtime))
