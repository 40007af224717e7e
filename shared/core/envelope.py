"""The CloudEvents 1.0 envelope: one normal form for binary, structured and in-process events.

The framework's and the `cloudevents` package's differences are ironed out here (docs/decisions/0004): headers
are percent-encoded both ways, extensions are always strings, extension names are checked,
`datacontenttype` is always there, and malformed JSON is refused in either mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote_to_bytes

import orjson
from pydantic import BaseModel, ConfigDict

from shared.core.clock import parse_time

JSON: Final = "application/json"
STRUCTURED: Final = "application/cloudevents+json"
_CORE: Final = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")
_OURS: Final = "lastro."
_REQUIRED: Final = ("id", "source", "type")
_EXTENSION_NAME: Final = re.compile(r"[a-z0-9]{1,20}")
# CloudEvents HTTP binding §3.1.3.2: these printable characters travel as they are.
_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class InvalidEvent(ValueError):
    """What came is no CloudEvent."""


class Event(BaseModel):
    """The data of one event type. Subclasses say what it is called and whom it is about."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    topic: ClassVar[str]
    subject_field: ClassVar[str]
    terminal: ClassVar[bool] = False
    """Whether it is published for readers outside the platform alone: no function consumes it."""

    @property
    def subject(self) -> str:
        """The id of the aggregate that the fact is about."""
        subject: str = getattr(self, self.subject_field)
        return subject


class Envelope:
    """A CloudEvent: context attributes as text, and data as bytes of JSON, as a model, or both.

    Made by a function it holds the model and is written as bytes only when it leaves the process or goes to
    disk; read from outside it holds bytes, and consumers share the model that the first of them parsed.

    `repeated` says that this very event (source and id) may have been published before, so that consumers must look
    whether they have applied it; it is no attribute and does not travel.
    """

    __slots__ = ("_data", "_event", "extensions", "id", "repeated", "source", "subject", "time", "told_at", "type")

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
        repeated: bool = False,
        told_at: datetime | None = None,
    ) -> None:
        self.id = id
        self.source = source
        self.type = type
        self.subject = subject
        self.time = time
        self.extensions = extensions
        self._data = data
        self._event = event
        self.repeated = repeated
        self.told_at = told_at

    @property
    def tenant_id(self) -> str | None:
        return self.extensions.get("tenantid")

    @property
    def partition_key(self) -> str:
        return self.extensions.get("partitionkey") or self.id

    @property
    def correlation_id(self) -> str:
        return self.extensions.get("correlationid") or self.id

    def age_seconds(self, now: datetime) -> float | None:
        """How long ago the fact was committed, or None when the event does not say when.

        0 for one that is stamped later than now, as after the wall clock was set back.
        """
        told_at = self.told_at
        if told_at is None:
            if self.time is None:
                return None
            try:
                told_at = self.told_at = parse_time(self.time)
            except ValueError:
                return None
        age = (now - told_at).total_seconds()
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
        """The data as a model. Raises pydantic.ValidationError when it does not fit."""
        if type(self._event) is not model:
            self._event = model.model_validate_json(self.data)
        return self._event

    def attributes(self) -> dict[str, str]:
        """All context attributes that are set, extensions among them."""
        attributes = {"specversion": "1.0", "id": self.id, "source": self.source, "type": self.type}
        if self.subject is not None:
            attributes["subject"] = self.subject
        if self.time is not None:
            attributes["time"] = self.time
        attributes["datacontenttype"] = JSON
        if self.type.startswith(_OURS):
            attributes["dataschema"] = f"/schemas/{self.type}.json"
        attributes.update(self.extensions)
        return attributes

    def with_extensions(self, extra: Mapping[str, str]) -> Envelope:
        """The same event with more extensions."""
        return Envelope(
            id=self.id,
            source=self.source,
            type=self.type,
            subject=self.subject,
            time=self.time,
            extensions={**self.extensions, **extra},
            data=self._data,
            event=self._event,
            repeated=self.repeated,
        )

    def to_structured(self) -> dict[str, Any]:
        """The JSON event format, data as a JSON value."""
        return {**self.attributes(), "data": orjson.loads(self.data)}

    def to_binary(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of the HTTP binding's binary mode."""
        headers = {f"ce-{name}": quote(value, safe=_HEADER_SAFE) for name, value in self.attributes().items()}
        del headers["ce-datacontenttype"]
        headers["content-type"] = JSON
        return headers, self.data


def from_http(headers: Iterable[tuple[str, str]], body: bytes) -> Envelope:
    """Read an event from an HTTP message, in binary or structured mode.

    Raises InvalidEvent: a batch, no CloudEvent at all, a required attribute missing, a specversion other than
    1.0, an extension name or value that cannot be, data that is not JSON.
    """
    fields = {name.lower(): value for name, value in headers}
    content_type = fields.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("application/cloudevents-batch"):
        raise InvalidEvent("batches of events are not taken")
    if media_type.startswith("application/cloudevents"):
        if media_type != STRUCTURED:
            raise InvalidEvent(f"event format {media_type} is not taken; {STRUCTURED} is")
        return from_structured(body)
    attributes = {name[3:]: _decoded(value) for name, value in fields.items() if name.startswith("ce-")}
    if not attributes:
        raise InvalidEvent("no CloudEvent: neither ce- headers nor a structured body")
    if media_type and media_type != JSON and not media_type.endswith("+json"):
        raise InvalidEvent(f"data of type {media_type} is not taken; {JSON} is")
    return _build(attributes, _checked_json(body))


def from_structured(body: bytes) -> Envelope:
    """Read an event in the JSON event format. Raises InvalidEvent."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidEvent(f"the structured event is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidEvent("the structured event is not a JSON object")
    if "data_base64" in document:
        raise InvalidEvent("data_base64 is not taken; data of our events is JSON")
    data = orjson.dumps(document.pop("data", None))
    return _build({name: _as_text(name, value) for name, value in document.items() if value is not None}, data)


def _build(attributes: dict[str, str], data: bytes) -> Envelope:
    missing = [name for name in _REQUIRED if not attributes.get(name)]
    if missing:
        raise InvalidEvent(f"the event has no {' and no '.join(missing)}")
    if attributes.pop("specversion", "") != "1.0":
        raise InvalidEvent("specversion is not 1.0")
    extensions = {name: value for name, value in attributes.items() if name not in _CORE or name == "dataschema"}
    for name in extensions:
        if not _EXTENSION_NAME.fullmatch(name):
            raise InvalidEvent(f"{name!r} is no name of an extension attribute")
    return Envelope(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=attributes.get("time"),
        extensions=extensions,
        data=data,
        repeated=True,
    )


def _decoded(value: str) -> str:
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeError:
        raise InvalidEvent("a ce- header is not UTF-8") from None


def _as_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise InvalidEvent(f"attribute {name} is neither text, integer nor boolean")


def _checked_json(body: bytes) -> bytes:
    if not body:
        return b"null"
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidEvent(f"the data is not JSON: {error}") from None
    return body
