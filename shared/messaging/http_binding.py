"""Reads CloudEvents from HTTP messages: the HTTP protocol binding 1.0.2, in binary and structured mode.

Both modes give the same normal form and follow the same rules (docs/decisions/0004): header values are decoded,
attributes are text, and data is JSON in UTF-8. Data stays the text that was received, so that no number in it is
rounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson

from shared.core.card_numbers import without_card_numbers
from shared.core.envelope import JSON, Envelope
from shared.core.repeated_keys import first_repeated_key, may_repeat_a_key
from shared.messaging.attributes import MAX_CHARACTERS, SPECVERSION, InvalidEvent, check_attributes

STRUCTURED: Final = "application/cloudevents+json"
_FORMATS: Final = "application/cloudevents"
_BATCHES: Final = "application/cloudevents-batch"
_TEXTS: Final = frozenset({"specversion", *MAX_CHARACTERS})
# Type system, Integer: 32 bits, signed.
_MIN_INTEGER: Final = -(2**31)
_MAX_INTEGER: Final = 2**31 - 1

# RFC 9110 §5.6.2 and §8.3.1.
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
# Possessive quantifiers: each blank between two semicolons matches in one way only, so matching takes linear time.
_PARAMETER: Final = re.compile(rf"[ \t]*+;[ \t]*+(?:({_TOKEN})=({_TOKEN}|{_QUOTED}))?")
_MEDIA_TYPE: Final = re.compile(rf"({_TOKEN}/{_TOKEN})((?:{_PARAMETER.pattern})*)[ \t]*")
_ESCAPED: Final = re.compile(r"\\(.)")
_SHOWN: Final = 80
"""The most characters of the sender's text in a reason."""
_BLANKS: Final = re.compile(r"[ \t\n\r]*")
# Numbers are skipped here and not converted; only their end is needed.
_SCANNER: Final = json.JSONDecoder(parse_int=str, parse_float=str)


def from_http(headers: Iterable[tuple[str, str]], body: bytes) -> Envelope:
    """Read an event from an HTTP message, in binary or structured mode. Header values are latin-1 text.

    Raises InvalidEvent for a message that is not a CloudEvent 1.0, for a batch, and for data that is not JSON in UTF-8
    or has a repeated key.
    """
    fields = _fields(headers)
    media_type = read_media_type(fields["content-type"], "the content type") if "content-type" in fields else None
    if is_structured(media_type):
        return from_structured(body)
    attributes = {name[3:]: _decoded(name, value) for name, value in fields.items() if name.startswith("ce-")}
    if not attributes:
        raise InvalidEvent("there are neither ce- headers nor a structured body")
    return from_binary(attributes, media_type, body)


def is_structured(media_type: str | None) -> bool:
    """Return whether a message of this media type is a structured event.

    Raises InvalidEvent for a batch, and for another event format than JSON.
    """
    if media_type is None or not media_type.startswith(_FORMATS):
        return False
    if media_type.startswith(_BATCHES):
        raise InvalidEvent("batches of events are not supported; send each event by itself")
    if media_type != STRUCTURED:
        raise InvalidEvent(f"the event format {media_type} is not supported; use {STRUCTURED}")
    return True


def from_binary(attributes: dict[str, str], media_type: str | None, body: bytes) -> Envelope:
    """Return the event of a message in binary mode, from its decoded attributes. Raises InvalidEvent."""
    if "datacontenttype" in attributes:
        raise InvalidEvent("in binary mode the type of the data is the header Content-Type, not ce-datacontenttype")
    if media_type is not None:
        _check_data_type(media_type)
    return _build(attributes, _checked_json(body) if body else b"null")


def from_structured(body: bytes) -> Envelope:
    """Read an event in the JSON event format. Raises InvalidEvent, as `from_http` does."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidEvent(f"the structured event {_reason(error)}") from None
    if not isinstance(document, dict):
        raise InvalidEvent("the structured event is not a JSON object")
    if "data_base64" in document:
        raise InvalidEvent("data_base64 is not supported: send the data as JSON in the member data")
    data = b"null"
    seen: set[str] = set()
    for name, text in _members(body.decode()):
        if name in seen:
            raise InvalidEvent(f"the structured event has the member {name[:80]!r} twice")
        seen.add(name)
        if name == "data":
            data = text.encode()
    _refuse_repeated_keys(data, document.pop("data", None))
    attributes = {name: _as_text(name, value) for name, value in document.items() if value is not None}
    if "datacontenttype" in attributes:
        _check_data_type(read_media_type(attributes["datacontenttype"], "attribute datacontenttype"))
    return _build(attributes, data)


def _build(attributes: dict[str, str], data: bytes) -> Envelope:
    if attributes.pop("specversion", None) != SPECVERSION:
        raise InvalidEvent(f"specversion is not {SPECVERSION}")
    check_attributes(attributes)
    return Envelope.of(attributes, data)


def _fields(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers by lower-case name. Raises InvalidEvent when a header of an event occurs twice."""
    fields: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key in fields and (key.startswith("ce-") or key == "content-type"):
            raise InvalidEvent(f"the header {key} occurs more than once")
        fields[key] = value
    return fields


def read_media_type(text: str, where: str) -> str:
    """Return the type and subtype in lower case. Raises InvalidEvent when a charset other than UTF-8 is named."""
    match = _MEDIA_TYPE.fullmatch(text.strip(" \t"))
    if match is None:
        raise InvalidEvent(f"{where} is not a media type")
    for name, value in _PARAMETER.findall(match[2]):
        if name.lower() == "charset" and _unquoted(value).lower() != "utf-8":
            raise InvalidEvent(f"{where} names the charset {_unquoted(value)[:40]!r}; use utf-8")
    return match[1].lower()


def _check_data_type(media_type: str) -> None:
    """Raise InvalidEvent unless the media type is JSON (JSON event format, §3.1)."""
    subtype = media_type.partition("/")[2]
    if subtype != "json" and not subtype.endswith("+json"):
        raise InvalidEvent(f"data of type {media_type[:80]} is not supported; use {JSON}")


def _decoded(name: str, value: str) -> str:
    """Decode the value of a header (HTTP binding, §3.1.3.2): first the quotes, then the percent-encoding."""
    try:
        return unquote_to_bytes(_unquoted(value).encode("latin-1")).decode()
    except UnicodeError:
        raise InvalidEvent(f"the header {name} is not UTF-8") from None


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPED.sub(r"\1", value[1:-1])
    return value


def _as_text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if name in _TEXTS:
        raise InvalidEvent(f"attribute {name} is not text")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and _MIN_INTEGER <= value <= _MAX_INTEGER:
        return str(value)
    raise InvalidEvent(f"attribute {name[:80]} is neither text, an integer of 32 bits nor a boolean")


def _checked_json(body: bytes) -> bytes:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidEvent(f"the data {_reason(error)}") from None
    _refuse_repeated_keys(body, value)
    return body


def _refuse_repeated_keys(data: bytes, value: Any) -> None:
    """Raise InvalidEvent when an object in the data has a key twice: its consumers would read different values."""
    if not may_repeat_a_key(data, value):
        return
    try:
        pointer = first_repeated_key(data.decode())
    except RecursionError:
        raise InvalidEvent("the data is nested too deeply") from None
    if pointer is not None:
        # The key is the sender's, and may be a card number.
        shown = without_card_numbers(pointer)[:_SHOWN]
        raise InvalidEvent(f"an object in the data has a key more than once: {shown!r}")


def _reason(error: orjson.JSONDecodeError) -> str:
    if "depth" in error.msg or "ecursion" in error.msg:  # versions of orjson differ
        return "is nested too deeply"
    return f"is not JSON (line {error.lineno}, column {error.colno})"


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Return the members of a JSON object: each name, and its value as it is written. `text` must be valid JSON."""
    position = _skip(text, text.index("{") + 1)
    while text[position] != "}":
        name, position = _SCANNER.raw_decode(text, position)
        start = _skip(text, _skip(text, position) + 1)
        position = _end_of_value(text, start)
        yield name, text[start:position]
        position = _skip(text, position)
        if text[position] == ",":
            position = _skip(text, position + 1)


def _end_of_value(text: str, start: int) -> int:
    try:
        scanned: tuple[Any, int] = _SCANNER.raw_decode(text, start)
    except RecursionError:
        raise InvalidEvent("the structured event is nested too deep") from None
    return scanned[1]


def _skip(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return position if blanks is None else blanks.end()
