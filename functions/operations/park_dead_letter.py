"""The dead letter sink of every Trigger and source: what a consumer gave up is kept, whole."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Final
from urllib.parse import urlsplit

from events.dead_letters import DeadLetterDiscarded, DeadLetterParked, DeadLetterReplayed
from functions.operations._dead_letter import REPLAYS, dead_letter_parts, emit
from shared.context.context import Context
from shared.core.envelope import DEAD_LETTER_ID, Envelope
from shared.functions.decorators import event_function
from shared.identity.tenancy import tenant_of
from shared.ports.documents import Query
from shared.records.dead_letters import DEAD_LETTERS, CauseDocument, DeadLetterDocument

# What the data plane adds when it gives an event up (Knative: dead letter extensions, and Kne-* answer headers),
# and when it dispatches it: none of it is the event's own. The data plane may leave a Kne-* header its prefix or cut
# it off; no event of ours has extensions of the names that are left then.
_ADDED: Final = re.compile(r"knativeerror.*|kne.*|knativekafka(offset|partition)|code|detail|tenant")
_NO_NUMBER: Final = -1
_FACTS: Final = frozenset({DeadLetterParked.type, DeadLetterReplayed.type, DeadLetterDiscarded.type})


@event_function(platform=True)
async def park_dead_letter(event: Envelope, ctx: Context) -> None:
    """Store an event that a consumer could not take, with the reason; its tenant may replay or discard it.

    An event of no known tenant is stored for the platform. An event that comes of a dead letter is not stored: a
    consumer that refuses it would otherwise make a dead letter of every fact about the last one, without end.
    """
    if DEAD_LETTER_ID in event.extensions or event.type in _FACTS:
        ctx.log.warning("%s %s comes of a dead letter and is not parked", event.type, event.id)
        return
    tenant_id = event.tenant_id
    if tenant_id and await tenant_of(ctx.runtime.documents, tenant_id) is not None:
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
    ctx.log.warning("%s gave up %s %s: %s", consumer, event.type, event.id, letter["cause"]["code"])
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
    """The consumer's name: the first label of its address' host, or the address when it has none."""
    host = urlsplit(destination).hostname if "//" in destination else None
    return (host or destination).partition(".")[0] or "unknown"


def _cause(event: Envelope) -> CauseDocument:
    """The reason, as far as the data plane tells it; a 2xx with a body travels without any."""
    status = _number(event.extensions.get("knativeerrorcode", ""))
    code = event.extensions.get("knecode") or event.extensions.get("code")
    if code is None:
        code = "no_answer" if status == _NO_NUMBER else f"http_{status}"
    told = event.extensions.get("knedetail") or event.extensions.get("detail")
    detail = told or _text(event.extensions.get("knativeerrordata", ""))
    return {"code": code, "status": None if status == _NO_NUMBER else status, "detail": detail}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else _NO_NUMBER


def _text(encoded: str) -> str:
    """The answer's first bytes, which travel in base64, as text."""
    try:
        return b64decode(encoded, validate=True).decode(errors="replace")
    except ValueError:
        return encoded
