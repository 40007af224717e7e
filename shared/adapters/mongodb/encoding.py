"""The encoding of documents and events in MongoDB, without loss.

`_id` is `<tenant>/<id>`. Two tenants can therefore use the same id, the index `_id_` is by tenant and id, and the
documents of a tenant are in the order of their ids. The field `tenant_id` is stored as `tenantId`. Every integer has 64
bits. Times are text, as in the documents port, because a date in BSON has only milliseconds.

`_expected` counts the commits that expected the document (see `writes`). Readers do not see it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.adapters.mongodb.driver import Int64
from shared.adapters.mongodb.statements import Stored
from shared.core.envelope import Envelope
from shared.ports.documents import PLATFORM, InboxMarker, InvalidWrite

TENANT: Final = "tenantId"
EXPECTED: Final = "_expected"
_SEPARATOR: Final = "/"
_BEHIND_SEPARATOR: Final = "0"
_INTEGERS: Final = range(-(2**63), 2**63)
# A key in BSON cannot contain NUL. "$" and "." are used in operators and paths, and servers differ in whether keys may
# contain them.
_SPECIAL: Final = re.compile(r"[%$.\x00]")
_ESCAPED: Final = re.compile(r"%([0-9A-F]{2})")


def key_of(tenant_id: str, id: str) -> str:
    """Return the `_id` of a document. Raises ValueError for a tenant id with the separator."""
    if _SEPARATOR in tenant_id:
        raise ValueError(f"{tenant_id!r} cannot be the id of a tenant: it contains {_SEPARATOR!r}")
    return f"{tenant_id}{_SEPARATOR}{id}"


def keys_of(tenant_id: str) -> tuple[str, str]:
    """Return the bounds of a tenant's `_id`s: one below all of them, and one above."""
    return key_of(tenant_id, ""), f"{tenant_id}{_BEHIND_SEPARATOR}"


def field_of(name: str) -> str:
    """Return the stored name of a field."""
    return TENANT if name == "tenant_id" else name


def encode(document: Mapping[str, Any]) -> Stored:
    """Return the stored form of a document. Raises InvalidWrite for a value that is not JSON or exceeds 64 bits."""
    tenant_id = document["tenant_id"]
    stored: Stored = {"_id": key_of(tenant_id, document["id"]), TENANT: tenant_id}
    for name, value in document.items():
        if name != "tenant_id":
            stored[name] = to_bson(value)
    return stored


def decode(stored: Stored) -> dict[str, Any]:
    """Return the document from its stored form (the inverse of `encode`)."""
    document = {}
    for name, value in stored.items():
        if name == TENANT:
            document["tenant_id"] = value
        elif name not in ("_id", EXPECTED):
            document[name] = value if type(value) is str else from_bson(value)
    return document


def to_bson(value: Any) -> Any:
    """Return the stored form of a JSON value. Raises InvalidWrite."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is float:
        return value
    if kind is int:
        if value not in _INTEGERS:
            raise InvalidWrite(f"{value} does not fit into 64 bits")
        return Int64(value)
    if kind is dict:
        return {_key_to_bson(key): to_bson(inner) for key, inner in value.items()}
    if kind is list:
        return [to_bson(inner) for inner in value]
    raise InvalidWrite(f"a value of the type {kind.__name__} cannot be stored: it is not JSON")


def _key_to_bson(key: Any) -> str:
    if type(key) is not str:
        raise InvalidWrite(f"{key!r} cannot be the name of a field: it is not text")
    if _SPECIAL.search(key) is None:
        return key
    return _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", key)


def from_bson(value: Any) -> Any:
    """Return the JSON value from its stored form (the inverse of `to_bson`)."""
    if isinstance(value, dict):
        return {_key_from_bson(key): from_bson(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [from_bson(inner) for inner in value]
    return int(value) if type(value) is Int64 else value


def _key_from_bson(key: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), key) if "%" in key else key


# Events


def event_key(event: Envelope) -> Stored:
    """Return the `_id` of an event in the outbox."""
    return {TENANT: event.tenant_id or PLATFORM, "source": event.source, "id": event.id}


def encode_event(event: Envelope) -> Stored:
    """Return the stored form of an event in the outbox that is not sent yet. Raises InvalidWrite for data that is not
    UTF-8."""
    try:
        data = event.data.decode()
    except UnicodeDecodeError:
        raise InvalidWrite(f"the data of the event {event.id} is not UTF-8") from None
    return {
        "_id": event_key(event),
        TENANT: event.tenant_id or PLATFORM,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "extensions": to_bson(dict(event.extensions)),
        "data": data,
        "topic": event.topic,
        "history": event.history,
        "unsent": True,
    }


def decode_event(stored: Stored) -> Envelope:
    """Return the event from its stored form (the inverse of `encode_event`). It may have been published before."""
    event = Envelope(
        id=stored["_id"]["id"],
        source=stored["_id"]["source"],
        type=stored["type"],
        subject=stored["subject"],
        time=stored["time"],
        extensions=from_bson(stored["extensions"]),
        data=stored["data"].encode(),
        topic=stored["topic"],
        repeated=True,
    )
    event.history = stored["history"]
    return event


def marker_key(marker: InboxMarker) -> Stored:
    """Return the `_id` of an inbox marker."""
    return {"consumer": marker.consumer, "source": marker.source, "eventId": marker.event_id}
