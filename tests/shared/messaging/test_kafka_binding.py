"""CloudEvents as Kafka records, by the same rules as over HTTP."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.envelope import Envelope
from shared.messaging.attributes import InvalidEvent
from shared.messaging.http_binding import from_http
from shared.messaging.kafka_binding import from_kafka
from tests.shared.messaging.test_http_binding import _EVENTS, LEAST, outcome, same

_HEADERS = [(f"ce_{name}", value.encode()) for name, value in LEAST.items()]


@given(_EVENTS)
def test_any_event_survives_kafka(event: Envelope) -> None:
    """An event written as a record is read back unchanged, with any characters and numbers."""
    _, value, headers = event.to_record()
    assert same(from_kafka(headers, value), event)


def test_a_record_is_in_binary_mode() -> None:
    """Attributes are headers ce_*, the type of the data is content-type, and the key is partitionkey."""
    event = Envelope.of({**LEAST, "partitionkey": "ten_1/ação", "subject": "ação"}, b'{"a":1}')
    key, value, headers = event.to_record()
    assert (key, value) == ("ten_1/ação".encode(), b'{"a":1}')
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"evt_1",
        "ce_source": b"/lastro/x/y",
        "ce_type": b"lastro.x.y.v1",
        "ce_subject": "ação".encode(),
        "ce_dataschema": b"https://lastro.dev/schemas/lastro.x.y.v1.json",
        "ce_partitionkey": "ten_1/ação".encode(),
        "content-type": b"application/json",
    }


def test_an_event_without_partitionkey_has_no_key() -> None:
    """An event that is ordered with no other has a record without a key, which goes to any partition."""
    assert Envelope.of(LEAST, b"{}").to_record()[0] is None


def test_a_structured_record_is_read() -> None:
    """A record in structured mode is read, as Knative's sources read it."""
    event = Envelope.of({**LEAST, "partitionkey": "k"}, b'{"n":1.0}')
    assert same(from_kafka([("content-type", b"application/cloudevents+json")], event.to_structured()), event)


def test_case_and_other_headers_do_not_matter() -> None:
    """Names of headers are compared without regard to case; other headers are ignored, repeated ones too."""
    headers = [(name.upper(), value) for name, value in _HEADERS]
    event = from_kafka([*headers, ("traceparent", b"\xff"), ("x", None), ("x", b"")], b"{}")
    assert event.id == "evt_1"


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        ([], b"{}", "neither ce_ headers nor a structured value"),
        ([("content-type", b"application/json")], b"{}", "neither ce_ headers"),
        ([*_HEADERS, ("ce_id", b"evt_2")], b"{}", "ce_id occurs more than once"),
        ([*_HEADERS, ("ce_note", b"\xff")], b"{}", "ce_note is not UTF-8"),
        ([*_HEADERS, ("ce_note", None)], b"{}", "attribute note is empty"),
        ([*_HEADERS, ("ce_datacontenttype", b"application/json")], b"{}", "in binary mode"),
        ([*_HEADERS, ("content-type", b"text/plain")], b"hello", "text/plain is not supported"),
        (_HEADERS, b"hello", "the data is not JSON"),
        (_HEADERS[1:], b"{}", "specversion is not"),
        ([("content-type", b"application/cloudevents-batch+json")], b"[]", "batches"),
        ([("content-type", b"application/cloudevents+json")], None, "not JSON"),
    ],
)
def test_what_is_no_event_is_refused(headers: list[tuple[str, bytes | None]], value: bytes, reason: str) -> None:
    """A record that is not a CloudEvent is refused with the reason."""
    with pytest.raises(InvalidEvent, match=reason):
        from_kafka(headers, value)


@given(
    attributes=st.dictionaries(
        st.sampled_from(["id", "source", "type", "subject", "time", "dataschema", "note"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    )
)
def test_kafka_and_http_accept_and_refuse_the_same_events(attributes: dict[str, str]) -> None:
    """For any attributes, a record and an HTTP message give the same event or are refused for the same reason."""
    event = Envelope.of({**LEAST, **attributes}, b"{}")
    headers, body = event.to_binary()
    _, value, fields = event.to_record()
    try:
        found: dict[str, str] | str = from_kafka(fields, value).attributes()
    except InvalidEvent as error:
        found = str(error)
    assert found == outcome(list(headers.items()), body)


@given(st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=20)), max_size=5), st.binary(max_size=40))
def test_any_record_is_an_event_or_a_refusal(headers: list[tuple[str, bytes | None]], value: bytes) -> None:
    """Any record is read as an event or refused as an invalid one."""
    with suppress(InvalidEvent):
        from_kafka([*_HEADERS, *headers], value)


def test_an_event_from_http_is_written_to_kafka() -> None:
    """An event that came over HTTP has the same attributes on Kafka."""
    event = Envelope.of({**LEAST, "partitionkey": "a b"}, b"{}")
    headers, body = event.to_binary()
    _, value, fields = from_http(headers.items(), body).to_record()
    assert same(from_kafka(fields, value), event)
