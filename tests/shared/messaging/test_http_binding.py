"""CloudEvents over HTTP: both modes give the same event and have the same rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.envelope import Envelope
from shared.messaging.attributes import MAX_EXTENSION_CHARACTERS, InvalidEvent
from shared.messaging.http_binding import from_http, from_structured

LEAST = {"specversion": "1.0", "id": "evt_1", "source": "/lastro/x/y", "type": "lastro.x.y.v1"}
STRUCTURED = [("content-type", "application/cloudevents+json")]


def binary(attributes: Mapping[str, str], data: bytes = b"{}", content_type: str | None = None) -> Envelope:
    """Read an event in binary mode."""
    headers = [(f"ce-{name}", value) for name, value in attributes.items()]
    return from_http(headers if content_type is None else [*headers, ("content-type", content_type)], data)


def structured(attributes: Mapping[str, Any], data: bytes = b"{}") -> Envelope:
    """Read an event in structured mode."""
    return from_http(STRUCTURED, orjson.dumps({**attributes, "data": orjson.Fragment(data)}))


# Every character but controls, surrogates and noncharacters.
_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=40
)
_URI = st.text("abz019/-._~%:?=&", min_size=1, max_size=30).map(lambda text: "/x" + text.replace("%", "%25"))
_NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda name: name not in {*LEAST, "data", "subject", "time", "datacontenttype", "dataschema"}
)
_TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat())
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def _as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


_EVENTS = st.builds(
    lambda required, optional, extensions, data: Envelope.of({**extensions, **required, **optional}, data),
    st.fixed_dictionaries({"id": _TEXT, "source": _URI, "type": _TEXT}),
    st.fixed_dictionaries({}, optional={"subject": _TEXT, "time": _TIMES}),
    st.dictionaries(_NAMES, _TEXT, max_size=4),
    _JSON.map(_as_json),
)


def outcome(headers: list[tuple[str, str]], body: bytes) -> dict[str, str] | str:
    """Return the attributes of the event, or the reason of its refusal."""
    try:
        return from_http(headers, body).attributes()
    except InvalidEvent as error:
        return str(error)


def same(left: Envelope, right: Envelope) -> bool:
    """Return whether two envelopes are equal, their data byte for byte."""
    return left.attributes() == right.attributes() and left.data == right.data


@given(_EVENTS)
def test_any_event_survives_binary_mode(event: Envelope) -> None:
    """An event sent in binary mode is read back unchanged, with any characters and numbers."""
    headers, body = event.to_binary()
    assert all(value.isascii() for value in headers.values())
    assert same(from_http(headers.items(), body), event)


@given(_EVENTS)
def test_any_event_survives_structured_mode(event: Envelope) -> None:
    """An event sent in structured mode is read back unchanged."""
    assert same(from_http(STRUCTURED, event.to_structured()), event)


@given(_EVENTS)
def test_an_event_is_the_same_in_either_mode(event: Envelope) -> None:
    """An event converted from binary to structured mode and back has the same headers and bytes."""
    headers, body = event.to_binary()
    again = from_structured(from_http(headers.items(), body).to_structured())
    assert again.to_binary() == (headers, body)


@given(
    attributes=st.dictionaries(
        st.sampled_from(["id", "source", "type", "subject", "time", "dataschema", "note"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    )
)
def test_both_modes_accept_and_refuse_the_same_events(attributes: dict[str, str]) -> None:
    """For any attributes, both modes give the same event or refuse it for the same reason."""
    whole = {**LEAST, **attributes}
    event = Envelope.of(whole, b"{}")
    headers, body = event.to_binary()
    assert outcome(list(headers.items()), body) == outcome(STRUCTURED, event.to_structured())


@given(st.binary(max_size=60))
def test_any_bytes_are_an_event_or_a_refusal(body: bytes) -> None:
    """Any structured body is read as an event or refused as an invalid one."""
    for headers in (STRUCTURED, [(f"ce-{name}", value) for name, value in LEAST.items()]):
        with suppress(InvalidEvent):
            from_http(headers, body)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", "garbage"),
        ("time", ""),
        ("subject", ""),
        ("note", ""),
        ("note", "a\x00b"),
        ("id", "a\nb"),
        ("source", "two words"),
        ("id", "x" * 60_000),
        ("note", "x" * (MAX_EXTENSION_CHARACTERS + 1)),
        ("dataschema", "no uri"),
        ("specversion", "0.3"),
        ("specversion", "1"),
        ("with_score", "v"),
    ],
)
def test_a_broken_attribute_is_refused_in_either_mode(name: str, value: str) -> None:
    """An invalid attribute is refused in both modes with the same sentence."""
    encoded = Envelope.of({**LEAST, name: value}, b"{}").to_binary()[0]
    if name == "specversion":
        encoded["ce-specversion"] = value
    with pytest.raises(InvalidEvent) as in_binary:
        from_http(encoded.items(), b"{}")
    with pytest.raises(InvalidEvent) as in_structured:
        structured({**LEAST, name: value})
    assert str(in_binary.value) == str(in_structured.value)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json ; Charset="UTF-8"',
        "application/json;charset=utf-8;",
        "application/problem+json",
        "application/vnd.example.v1+JSON; profile=x",
        "text/json",
    ],
)
def test_json_media_types_are_accepted_in_either_mode(content_type: str) -> None:
    """Any JSON media type is accepted in Content-Type and datacontenttype, with any case, parameters and a `+json`
    suffix."""
    assert binary(LEAST, b'{"a":1}', content_type).data == b'{"a":1}'
    assert structured({**LEAST, "datacontenttype": content_type}, b'{"a":1}').data == b'{"a":1}'


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        ("text/plain", "data of type text/plain is not supported"),
        ("application/xml", "data of type application/xml is not supported"),
        ("application/jsonlines", "not supported"),
        ("application/json; charset=iso-8859-1", "names the charset 'iso-8859-1'"),
        ('application/json; charset="utf-16"', "names the charset 'utf-16'"),
        ("json", "not a media type"),
        ("application/json, text/plain", "not a media type"),
        ("application/json" + ";  " * 5000 + "x", "not a media type"),
    ],
)
def test_other_data_is_refused_in_either_mode(content_type: str, reason: str) -> None:
    """Data that is not declared as JSON in UTF-8 is refused, by Content-Type and by datacontenttype."""
    with pytest.raises(InvalidEvent, match=reason):
        binary(LEAST, b"{}", content_type)
    with pytest.raises(InvalidEvent, match=reason):
        structured({**LEAST, "datacontenttype": content_type})


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON",
        "application/cloudevents+json; charset=utf-8",
        'application/cloudevents+json;charset="UTF-8"; foo=bar',
    ],
)
def test_structured_mode_is_known_by_its_media_type(content_type: str) -> None:
    """The media type of structured mode is recognised with any case and parameters."""
    assert from_http([("Content-Type", content_type)], orjson.dumps({**LEAST, "data": 1})).data == b"1"


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        ("application/cloudevents-batch+json", "batches"),
        ("application/cloudevents-batch+json; charset=utf-8", "batches"),
        ("Application/CloudEvents-Batch+JSON", "batches"),
        ("application/cloudevents+avro", "the event format application/cloudevents\\+avro"),
        ("application/cloudevents", "the event format application/cloudevents is not supported"),
        ("application/cloudevents+json; charset=utf-16", "charset 'utf-16'"),
        ("application/cloudevents+json/x", "not a media type"),
        ("application/json", "neither ce- headers nor a structured body"),
        ("", "not a media type"),
    ],
)
def test_other_messages_are_refused(content_type: str, reason: str) -> None:
    """Batches, other event formats, other charsets and plain JSON are refused."""
    with pytest.raises(InvalidEvent, match=reason):
        from_http([("content-type", content_type)], b"[]")


@pytest.mark.parametrize("missing", ["id", "source", "type", "specversion"])
def test_required_attributes(missing: str) -> None:
    """An event without a required attribute is refused in either mode."""
    attributes = {name: value for name, value in LEAST.items() if name != missing}
    for read in (binary, structured):
        with pytest.raises(InvalidEvent, match=missing):
            read(attributes)


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a": NaN}', b"OK", b"1e999", b'"\\ud800"'])
def test_malformed_json_is_refused_in_both_modes(body: bytes) -> None:
    """Data that is not JSON is refused in both modes."""
    with pytest.raises(InvalidEvent, match="not JSON"):
        binary(LEAST, body, "application/json")
    with pytest.raises(InvalidEvent, match="not JSON"):
        structured(LEAST, body)


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (b'{"amount": 1, "amount": 2}', "/amount"),
        (b'{"legs": [{"a": 1}, {"a": 1, "b": 2, "a": 1}]}', "/legs/1/a"),
        (b'{"a": 1, "\\u0061": 2}', "/a"),
        (b'{"a\\u003a": 1, "a:": 2}', "/a:"),
        (b"[" * 300 + b'{"a": 1, "a": 2}' + b"]" * 300, "/0/0"),
        (b'{"4111111111111111": 1, "4111111111111111": 2}', r"/\*\*\*1111"),
    ],
)
def test_a_repeated_key_is_refused_in_both_modes(data: bytes, pointer: str) -> None:
    """Data in which an object has a key twice, however it is written, is refused in both modes with its place."""
    for read in (binary, structured):
        with pytest.raises(InvalidEvent, match=f"has a key more than once: '{pointer}"):
            read(LEAST, data)


@pytest.mark.parametrize("data", [b'{"a": {"a": 1}, "b": [{"a": ":"}, {"a": "\\u003a"}]}', b"[" * 300 + b"]" * 300])
def test_keys_of_several_objects_may_be_equal(data: bytes) -> None:
    """Equal keys in different objects, colons in texts and deep nesting are accepted in both modes."""
    assert binary(LEAST, data).data == structured(LEAST, data).data == data


def test_numbers_stay_as_they_were_written() -> None:
    """Integers beyond 64 bits and long fractions keep all digits in either mode."""
    data = b'{"id": 123456789012345678901234567890, "rate": 0.12345678901234567890}'
    assert binary(LEAST, data).data == data
    assert structured(LEAST, data).data == data


def test_an_event_without_data_has_null() -> None:
    """An event without a body, without `data`, or with `data` null has the data null."""
    assert binary(LEAST, b"").data == b"null"
    assert from_structured(orjson.dumps(LEAST)).data == b"null"
    assert from_structured(orjson.dumps({**LEAST, "data": None})).data == b"null"


def test_integers_and_booleans_become_text() -> None:
    """Integers and booleans in extensions are converted to text, and null is an absent attribute."""
    extensions = structured({**LEAST, "attempt": -3, "replayed": True, "gone": None}).extensions
    assert extensions == {"attempt": "-3", "replayed": "true"}


@pytest.mark.parametrize(
    "member",
    [
        '"attempt": 2147483648',
        '"attempt": 123456789012345678901234567890',
        '"attempt": 1.5',
        '"attempt": [1]',
        '"attempt": {}',
        '"id": 1',
        '"subject": true',
        '"time": 1767225600',
        '"data_base64": "AA=="',
        '"id": "evt_2"',
        '"data": 2',
        '"Attempt": "x"',
    ],
)
def test_invalid_members_are_refused(member: str) -> None:
    """Integers beyond 32 bits, fractions, lists, core attributes that are not text, and repeated members are
    refused."""
    body = orjson.dumps({**LEAST, "data": 1})[:-1] + b", " + member.encode() + b"}"
    with pytest.raises(InvalidEvent):
        from_structured(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"", b"{}", b'{"a":' + b"[" * 100_000])
def test_a_body_that_is_no_event_object_is_refused(body: bytes) -> None:
    """A structured body that is not the JSON object of an event, or is nested too deeply, is refused."""
    with pytest.raises(InvalidEvent):
        from_structured(body)


def test_data_may_nest_as_deep_as_json_goes() -> None:
    """Data with a hundred levels is read, and data with a hundred thousand levels is refused."""
    assert structured(LEAST, b"[" * 100 + b"]" * 100).data == b"[" * 100 + b"]" * 100
    with pytest.raises(InvalidEvent, match=r"deep|depth|ecursion"):
        structured(LEAST, b"[" * 100_000 + b"]" * 100_000)


def test_data_near_the_parsers_limit_is_read_whole_or_refused() -> None:
    """Data with 1,020 levels, the limit of some versions of Python, is never changed."""
    data = b"[" * 1020 + b"]" * 1020
    try:
        read = structured(LEAST, data).data
    except InvalidEvent:
        read = data
    assert read == data


@pytest.mark.parametrize("name", ["ce-id", "ce-note", "Content-Type"])
def test_a_repeated_header_is_refused(name: str) -> None:
    """An event with a repeated ce- header is refused."""
    headers = [*((f"ce-{key}", value) for key, value in LEAST.items()), ("ce-note", "a"), ("content-type", "text/json")]
    with pytest.raises(InvalidEvent, match=f"{name.lower()} occurs more than once"):
        from_http([*headers, (name, "application/json")], b"{}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"a \\"quoted\\" text"', 'a "quoted" text'),
        ("100%", "100%"),
        ("a+b", "a+b"),
        ("%25", "%"),
    ],
)
def test_header_values_are_decoded_as_the_binding_says(value: str, expected: str) -> None:
    """Header values are decoded by removing the quotes and then decoding percent escapes once."""
    assert binary({**LEAST, "note": value}).extensions["note"] == expected


@pytest.mark.parametrize("value", ["%ff", "%00", "%C2%85", "caf\xe9"])
def test_header_values_that_are_not_text_are_refused(value: str) -> None:
    """A header value that is not UTF-8 after decoding, or has a control character, is refused."""
    with pytest.raises(InvalidEvent):
        binary({**LEAST, "note": value})


@pytest.mark.parametrize("name", ["datacontenttype", "data", "data_base64"])
def test_headers_that_are_no_attributes_are_refused(name: str) -> None:
    """In binary mode, ce- headers for the data and its content type are refused."""
    with pytest.raises(InvalidEvent):
        binary({**LEAST, name: "application/json"})
