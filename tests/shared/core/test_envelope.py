"""CloudEvents in and out: one normal form whichever mode they come in."""

from __future__ import annotations

from typing import ClassVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.core.envelope import Envelope, Event, InvalidEvent, from_http, from_structured

REQUIRED = [("ce-specversion", "1.0"), ("ce-id", "evt_1"), ("ce-source", "/lastro/x/y"), ("ce-type", "lastro.x.y.v1")]


class Sample(Event):
    """A fact for these tests."""

    type: ClassVar[str] = "lastro.sample.made.v1"
    topic: ClassVar[str] = "lastro.samples.v1"
    subject_field: ClassVar[str] = "sample_id"

    sample_id: str
    note: str = ""


def envelope(**extensions: str) -> Envelope:
    """An event as a function makes it."""
    return Envelope(
        id="evt_1",
        source="/lastro/samples/make",
        type=Sample.type,
        subject="smp_1",
        time="2026-01-01T00:00:00.000000Z",
        extensions={"tenantid": "acme", "partitionkey": "acme/smp_1", **extensions},
        event=Sample(sample_id="smp_1", note="ação"),
    )


def same(left: Envelope, right: Envelope) -> bool:
    """Whether two envelopes say the same."""
    return left.attributes() == right.attributes() and orjson.loads(left.data) == orjson.loads(right.data)


def test_binary_mode_round_trip() -> None:
    """What is sent in binary mode is read back as it was."""
    headers, body = envelope().to_binary()
    assert headers["content-type"] == "application/json"
    assert same(from_http(list(headers.items()), body), envelope())


def test_structured_mode_round_trip() -> None:
    """What is sent in structured mode is read back as it was."""
    body = orjson.dumps(envelope().to_structured())
    assert same(from_http([("Content-Type", "application/cloudevents+json; charset=utf-8")], body), envelope())


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=40))
def test_header_values_are_percent_encoded(value: str) -> None:
    """Any text survives the header encoding, which leaves printable ASCII alone."""
    headers, body = envelope(note=value).to_binary()
    assert headers["ce-note"].isascii()
    assert from_http(list(headers.items()), body).extensions["note"] == value


def test_integer_and_boolean_extensions_become_text() -> None:
    """Extensions are text in every mode, so that both modes give one event."""
    body = orjson.dumps({**envelope().to_structured(), "attempt": 3, "replayed": True})
    extensions = from_structured(body).extensions
    assert (extensions["attempt"], extensions["replayed"]) == ("3", "true")


@pytest.mark.parametrize("name", ["ce-Under_Score", "ce-with-dash", "ce-" + "x" * 21])
def test_extension_names_are_checked(name: str) -> None:
    """A name that CloudEvents does not allow is refused rather than carried along."""
    with pytest.raises(InvalidEvent, match="no name of an extension"):
        from_http([*REQUIRED, (name, "v")], b"{}")


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a": NaN}', b"OK"])
def test_malformed_json_is_refused_in_both_modes(body: bytes) -> None:
    """Data that is not JSON does not reach a handler."""
    with pytest.raises(InvalidEvent, match="not JSON"):
        from_http([*REQUIRED, ("content-type", "application/json")], body)
    with pytest.raises(InvalidEvent, match="not JSON"):
        from_http([("content-type", "application/cloudevents+json")], body)


@pytest.mark.parametrize("missing", ["ce-id", "ce-source", "ce-type", "ce-specversion"])
def test_required_attributes(missing: str) -> None:
    """An event without a required attribute is refused."""
    with pytest.raises(InvalidEvent):
        from_http([pair for pair in REQUIRED if pair[0] != missing], b"{}")


def test_what_is_no_event_is_refused() -> None:
    """Plain JSON, batches, other formats, other data types and base64 data are refused."""
    for headers, body in (
        ([("content-type", "application/json")], b"{}"),
        ([("content-type", "application/cloudevents-batch+json")], b"[]"),
        ([("content-type", "application/cloudevents+avro")], b""),
        ([*REQUIRED, ("content-type", "text/plain")], b"hello"),
        ([("content-type", "application/cloudevents+json")], b"[]"),
        ([("content-type", "application/cloudevents+json")], b'{"data_base64": "AA=="}'),
        ([("content-type", "application/cloudevents+json")], b'{"id": [1]}'),
        ([*REQUIRED, ("ce-note", "%ff")], b"{}"),
    ):
        with pytest.raises(InvalidEvent):
            from_http(headers, body)


def test_the_content_type_is_always_set() -> None:
    """An event that came without one still says that its data is JSON."""
    assert from_http(REQUIRED, b"{}").attributes()["datacontenttype"] == "application/json"


def test_consumers_share_one_parsed_model() -> None:
    """Data is parsed once for all its consumers, and refused when it does not fit."""
    received = from_structured(orjson.dumps(envelope().to_structured()))
    assert received.parsed(Sample) is received.parsed(Sample)
    with pytest.raises(ValidationError):
        from_http(REQUIRED, b"[1]").parsed(Sample)


def test_more_extensions_leave_the_event_alone() -> None:
    """Dead letter attributes are added to a copy."""
    original = envelope()
    marked = original.with_extensions({"knativeerrorcode": "422"})
    assert "knativeerrorcode" not in original.extensions
    assert marked.extensions["knativeerrorcode"] == "422"
    assert marked.data == original.data


def test_fallbacks_of_events_from_outside() -> None:
    """An event without our extensions is its own correlation and partition."""
    received = from_http(REQUIRED, b"")
    assert (received.correlation_id, received.partition_key, received.tenant_id) == ("evt_1", "evt_1", None)
    assert received.data == b"null"
