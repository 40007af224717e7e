"""The dead letter sink of every Trigger and source: stores the events that consumers could not process."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Final
from urllib.parse import urlsplit

from events.dead_letters import DeadLetterDiscarded, DeadLetterParked, DeadLetterReplayed
from functions.operations._dead_letter import REPLAYS, dead_letter_parts, emit
from shared.context.context import Context
from shared.context.tenant_work import is_tenant
from shared.core.envelope import DEAD_LETTER_ID, Envelope
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.dead_letters import DEAD_LETTERS, CauseDocument, DeadLetterDocument

# Extensions that Knative's data plane adds when it dispatches an event and when it sends it to the dead letter sink:
# they are not the event's own. It adds the consumer's Kne-* response headers with or without that prefix. No event
# type of Lastro has extensions of these names.
_ADDED: Final = re.compile(
    r"knative(error.*|kafkaoffset|kafkapartition|arrivaltime|brokerttl)|kne.*|code|detail|tenant"
)
_NO_NUMBER: Final = -1
_FACTS: Final = frozenset({DeadLetterParked.type, DeadLetterReplayed.type, DeadLetterDiscarded.type})


@event_function(platform=True)
async def park_dead_letter(event: Envelope, ctx: Context) -> None:
    """Store an event that a consumer could not process, with the reason. Its tenant may replay or discard it.

    An event without a known tenant is stored for the platform. A fact about a dead letter, and an event that such a
    fact has caused, is logged and not stored: if a consumer cannot process it, each dead letter would cause another.
    """
    if DEAD_LETTER_ID in event.extensions or event.type in _FACTS:
        ctx.log.warning("%s %s was caused by a dead letter and is not parked", event.type, event.id)
        return
    tenant_id = event.tenant_id
    if tenant_id and await is_tenant(ctx, tenant_id):
        ctx.scope_to(tenant_id)
    consumer = _consumer(event.extensions.get("knativeerrordest", ""))
    replays = _number(event.extensions.get(REPLAYS, "0"))
    key = ctx.derived_id("dlk", event.id, f"{consumer}\n{event.source}")
    known = await ctx.find(DEAD_LETTERS, Query(where={"letter_key": key}, limit=1))
    if not known:
        letter = ctx.insert(DEAD_LETTERS, _new_letter(ctx, key, event, consumer, replays))
    elif replays >= known[0]["attempts"]:
        letter = ctx.update(
            DEAD_LETTERS,
            known[0],
            event=_as_published(event),
            data=event.data.decode(),
            cause=_cause(event),
            attempts=replays + 1,
            status="parked",
            reason=None,
            parked_at=ctx.now_text,
            updated_at=ctx.now_text,
        )
    else:
        return
    ctx.log.warning("%s failed on %s %s: %s", consumer, event.type, event.id, letter["cause"]["code"])
    emit(DeadLetterParked(**dead_letter_parts(letter), code=letter["cause"]["code"]), ctx)


def _new_letter(ctx: Context, key: str, event: Envelope, consumer: str, replays: int) -> DeadLetterDocument:
    return {
        "id": ctx.new_id("dlt"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "letter_key": key,
        "event": _as_published(event),
        "data": event.data.decode(),
        "consumer": consumer,
        "cause": _cause(event),
        "attempts": max(replays, 0) + 1,
        "status": "parked",
        "reason": None,
        "parked_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }


def _as_published(event: Envelope) -> dict[str, str]:
    return {name: value for name, value in event.attributes().items() if not _ADDED.fullmatch(name)}


def _consumer(destination: str) -> str:
    """Return the consumer's name: the first label of its URL's host name, or the address itself without a host."""
    host = urlsplit(destination).hostname if "//" in destination else None
    return (host or destination).partition(".")[0] or "unknown"


def _cause(event: Envelope) -> CauseDocument:
    """Return the reason of the failure. Knative's data plane gives none for a 2xx response that has a body."""
    status = _number(event.extensions.get("knativeerrorcode", ""))
    code = event.extensions.get("knecode") or event.extensions.get("code")
    if code is None:
        code = "no_answer" if status == _NO_NUMBER else f"http_{status}"
    explained = event.extensions.get("knedetail") or event.extensions.get("detail")
    detail = explained or _text(event.extensions.get("knativeerrordata", ""))
    return {"code": code, "status": None if status == _NO_NUMBER else status, "detail": detail}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else _NO_NUMBER


def _text(encoded: str) -> str:
    """Return the start of the consumer's response body, which the data plane sends in base64, as text."""
    try:
        return b64decode(encoded, validate=True).decode(errors="replace")
    except ValueError:
        return encoded
