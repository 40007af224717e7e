"""Reads CloudEvents from Kafka records: the Kafka protocol binding 1.0.2, in binary and structured mode.

A record is read by the same rules as an HTTP message (shared.messaging.http_binding). Header values are UTF-8, without
percent-encoding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shared.core.envelope import Envelope
from shared.messaging.attributes import InvalidEvent
from shared.messaging.http_binding import from_binary, from_structured, is_structured, read_media_type

_PREFIX: Final = "ce_"
_CONTENT_TYPE: Final = "content-type"


def from_kafka(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> Envelope:
    """Return the event of a record. Header names are case-insensitive, as in Knative's sources.

    Raises InvalidEvent for a record that is not a CloudEvent 1.0, for a batch, and for data that is not JSON in UTF-8.
    """
    fields = _fields(headers)
    content_type = fields.pop(_CONTENT_TYPE, None)
    media_type = None if content_type is None else read_media_type(content_type, "the content type")
    if is_structured(media_type):
        return from_structured(value or b"")
    attributes = {name.removeprefix(_PREFIX): text for name, text in fields.items()}
    if not attributes:
        raise InvalidEvent("there are neither ce_ headers nor a structured value")
    return from_binary(attributes, media_type, value or b"")


def _fields(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return the headers of the event by lower-case name. Raises InvalidEvent if a header is repeated or is not
    UTF-8."""
    fields: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key != _CONTENT_TYPE and not key.startswith(_PREFIX):
            continue
        if key in fields:
            raise InvalidEvent(f"the header {key[:80]} occurs more than once")
        try:
            fields[key] = (value or b"").decode()
        except UnicodeDecodeError:
            raise InvalidEvent(f"the header {key[:80]} is not UTF-8") from None
    return fields
