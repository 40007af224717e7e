"""The CloudEvents 1.0 envelope: one normal form for binary, structured and in-process events (docs/decisions/0004).

Extensions are always text, `datacontenttype` is always set, and data is JSON. shared/messaging/http_binding.py reads
envelopes from HTTP messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final, Self
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ConfigDict

from shared.core.clock import parse_time

JSON: Final = "application/json"
_JSON_BYTES: Final = JSON.encode()
DEAD_LETTER_ID: Final = "deadletterid"
"""Extension attribute of every fact about a dead letter: the dead letter's id.

Each event that such a fact causes has it, too. None of them is parked when its delivery fails: a consumer that refuses
facts about dead letters would otherwise cause a new dead letter with each.
"""
ROUTE: Final = "embeddedroute"
"""Extension attribute of an event that was sent to a Broker, or to another topic than that of its domain.

It is not sent to functions. A dead letter has it, so that a replay sends the event there again.
"""
_OURS: Final = "lastro."
_SCHEMAS: Final = "https://lastro.dev/schemas/"
_IMPLIED: Final = frozenset({"id", "source", "type", "subject", "time", "specversion", "datacontenttype"})
# CloudEvents HTTP binding §3.1.3.2: these printable characters travel as they are.
_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def schema_uri(type: str) -> str:
    """Return the `dataschema` of an event type: the identifier of its JSON Schema, the same on every platform.

    A platform serves the schema at the same path, `/schemas/<type>.json`.
    """
    return f"{_SCHEMAS}{type}.json"


class Event(BaseModel):
    """The data of one event type. A subclass defines the name of the type and the aggregate that its events are
    about."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    topic: ClassVar[str]
    subject_field: ClassVar[str]
    terminal: ClassVar[bool] = False
    """Whether no function consumes the type: it is published for other systems only."""

    @property
    def subject(self) -> str:
        """The id of the aggregate to which the fact belongs."""
        subject: str = getattr(self, self.subject_field)
        return subject


class Envelope:
    """A CloudEvent: context attributes as text, and data as bytes of JSON, as a model, or both.

    An event that a function publishes holds the model, and is serialised only when it is stored or sent. A received
    event holds the bytes, and its consumers share the model that the first of them has parsed.

    `repeated` means that this event (source and id) may have been published before, so that consumers must check
    whether they have applied it. `history` is the place by which the store that commits the event can read it again
    (see Documents.history), or None. `repeated`, `occurred_at` and `history` are not attributes and are not sent.
    """

    __slots__ = (
        "_data",
        "_event",
        "_topic",
        "extensions",
        "history",
        "id",
        "occurred_at",
        "repeated",
        "source",
        "subject",
        "time",
        "type",
    )

    def __init__(
        self,
        id: str,
        source: str,
        type: str,
        subject: str | None,
        time: str | None,
        extensions: Mapping[str, str],
        *,
        data: bytes | None = None,
        event: Event | None = None,
        topic: str | None = None,
        repeated: bool = False,
        occurred_at: datetime | None = None,
    ) -> None:
        self.id = id
        self.source = source
        self.type = type
        self.subject = subject
        self.time = time
        self.extensions = extensions
        self._data = data
        self._event = event
        self._topic = topic
        self.repeated = repeated
        self.occurred_at = occurred_at
        self.history: str | None = None

    @classmethod
    def of(cls, attributes: Mapping[str, str], data: bytes) -> Self:
        """Return the event with these context attributes and this data (JSON text). Neither is checked.

        It may have been published before. The attributes may be what `attributes` returned: `specversion` and
        `datacontenttype` always have the same value and are ignored.
        """
        return cls(
            id=attributes["id"],
            source=attributes["source"],
            type=attributes["type"],
            subject=attributes.get("subject"),
            time=attributes.get("time"),
            extensions={name: value for name, value in attributes.items() if name not in _IMPLIED},
            data=data,
            repeated=True,
        )

    @property
    def topic(self) -> str | None:
        """The topic to which the event is published; None for an event that no domain of Lastro has published.

        It is stored with the event but is not an attribute. For an event received over HTTP, it is the topic of the
        domain in its source.
        """
        if self._topic is None:
            self._topic = _topic_of(self.source)
        return self._topic

    @property
    def tenant_id(self) -> str | None:
        """The tenant (extension `tenantid`); None for an event of the platform itself."""
        return self.extensions.get("tenantid")

    @property
    def partition_key(self) -> str:
        """The key by which events are ordered (extension `partitionkey`); without one, the id of the event."""
        return self.extensions.get("partitionkey") or self.id

    @property
    def correlation_id(self) -> str:
        """What joins the events of one request (extension `correlationid`); without one, the id of the event."""
        return self.extensions.get("correlationid") or self.id

    def age_seconds(self, now: datetime) -> float | None:
        """Return the seconds since the fact was committed, or None when the event has no valid time.

        Returns 0 for a time after `now`, as it occurs after the wall clock was set back.
        """
        occurred_at = self.occurred_at
        if occurred_at is None:
            if self.time is None:
                return None
            try:
                occurred_at = self.occurred_at = parse_time(self.time)
            except ValueError:
                return None
        age = (now - occurred_at).total_seconds()
        if age < 0.0:
            return 0.0
        return age

    @property
    def data(self) -> bytes:
        """The data as JSON text in UTF-8."""
        if self._data is None:
            self._data = b"null" if self._event is None else self._event.__pydantic_serializer__.to_json(self._event)
        return self._data

    def parsed(self, model: type[Event]) -> Event:
        """Return the data as the model. Raises pydantic.ValidationError when the data is not valid for it."""
        if type(self._event) is not model:
            self._event = model.model_validate_json(self.data)
        return self._event

    def attributes(self) -> dict[str, str]:
        """Return all context attributes that are set, extensions included."""
        attributes = {"specversion": "1.0", "id": self.id, "source": self.source, "type": self.type}
        if self.subject is not None:
            attributes["subject"] = self.subject
        if self.time is not None:
            attributes["time"] = self.time
        attributes["datacontenttype"] = JSON
        if self.type.startswith(_OURS):
            attributes["dataschema"] = schema_uri(self.type)
        attributes.update(self.extensions)
        return attributes

    def with_extensions(self, extra: Mapping[str, str]) -> Envelope:
        """Return the same event with more extensions."""
        return Envelope(
            id=self.id,
            source=self.source,
            type=self.type,
            subject=self.subject,
            time=self.time,
            extensions={**self.extensions, **extra},
            data=self._data,
            event=self._event,
            topic=self._topic,
            repeated=self.repeated,
        )

    def without_extension(self, name: str) -> Envelope:
        """Return the same event without an extension; the event itself when it has none of this name."""
        if name not in self.extensions:
            return self
        bare = self.with_extensions({})
        bare.extensions = {kept: value for kept, value in self.extensions.items() if kept != name}
        return bare

    def to_structured(self) -> bytes:
        """Return the event in the JSON event format. The data's text is inserted unchanged, so no number is rounded."""
        return orjson.dumps({**self.attributes(), "data": orjson.Fragment(self.data)})

    def to_binary(self) -> tuple[dict[str, str], bytes]:
        """Return the headers and body of the HTTP binding's binary mode."""
        headers = {f"ce-{name}": quote(value, safe=_HEADER_SAFE) for name, value in self.attributes().items()}
        del headers["ce-datacontenttype"]
        headers["content-type"] = JSON
        return headers, self.data

    def to_record(self) -> tuple[bytes | None, bytes, list[tuple[str, bytes]]]:
        """Return the key, value and headers of the Kafka binding's binary mode.

        The key is `partitionkey`, so that Kafka preserves the order of the events of one aggregate; None without one.
        """
        headers = [(f"ce_{name}", value.encode()) for name, value in self.attributes().items()]
        headers = [header for header in headers if header[0] != "ce_datacontenttype"]
        headers.append(("content-type", _JSON_BYTES))
        key = self.extensions.get("partitionkey")
        return None if key is None else key.encode(), self.data, headers


def _topic_of(source: str) -> str | None:
    """Return the topic of the domain in a source: `/lastro/payments/settle` publishes to `lastro.payments.v1`."""
    parts = source.split("/")
    if len(parts) < 4 or parts[0] or not parts[1] or not parts[2]:
        return None
    return f"{parts[1]}.{parts[2]}.v1"
