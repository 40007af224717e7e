"""The envelope: its one parsed model, copies with more extensions, defaults, and its content type and schema."""

from __future__ import annotations

from typing import ClassVar

import orjson
import pytest
from pydantic import ValidationError

from shared.core.envelope import Envelope, Event, schema_uri


class Sample(Event):
    """A fact for these tests."""

    type: ClassVar[str] = "lastro.sample.made.v1"
    topic: ClassVar[str] = "lastro.samples.v1"
    subject_field: ClassVar[str] = "sample_id"

    sample_id: str
    note: str = ""


def envelope(**extensions: str) -> Envelope:
    """Return an event as a function publishes it."""
    return Envelope(
        id="evt_1",
        source="/lastro/samples/make",
        type=Sample.type,
        subject="smp_1",
        time="2026-01-01T00:00:00.000000Z",
        extensions={"tenantid": "acme", "partitionkey": "acme/smp_1", **extensions},
        event=Sample(sample_id="smp_1", note="ação"),
    )


def test_an_event_has_its_content_type_and_schema() -> None:
    """An event has the content type JSON and, if its type is the platform's, the absolute URI of its schema."""
    attributes = envelope().attributes()
    assert attributes["datacontenttype"] == "application/json"
    assert (
        attributes["dataschema"] == schema_uri(Sample.type) == "https://lastro.dev/schemas/lastro.sample.made.v1.json"
    )


def test_an_event_is_restored_from_its_attributes_and_data() -> None:
    """An event is restored from its attributes and data, as one that may have been published before."""
    again = Envelope.of(envelope().attributes(), envelope().data)
    assert (again.attributes(), again.data) == (envelope().attributes(), envelope().data)
    assert again.repeated


def test_numbers_stay_as_they_were_written() -> None:
    """The JSON event format contains the data's own text, including integers beyond 64 bits and long fractions."""
    data = b'{"big":123456789012345678901234567890,"small":0.10}'
    event = Envelope.of({"id": "1", "source": "/x", "type": "x"}, data)
    assert event.to_structured().endswith(b'"data":' + data + b"}")


def test_consumers_share_one_parsed_model() -> None:
    """Data is parsed once for all consumers, and is refused when it is invalid for the model."""
    received = Envelope.of(envelope().attributes(), envelope().data)
    assert received.parsed(Sample) is received.parsed(Sample)
    with pytest.raises(ValidationError):
        Envelope.of(envelope().attributes(), b"[1]").parsed(Sample)


def test_more_extensions_leave_the_event_alone() -> None:
    """`with_extensions` adds extensions to a copy and does not change the event."""
    original = envelope()
    marked = original.with_extensions({"knativeerrorcode": "422"})
    assert "knativeerrorcode" not in original.extensions
    assert marked.extensions["knativeerrorcode"] == "422"
    assert marked.data == original.data
    assert orjson.loads(marked.to_structured())["knativeerrorcode"] == "422"


def test_defaults_of_external_events() -> None:
    """An event without Lastro's extensions has its id as correlation id and partition key."""
    received = Envelope.of({"id": "evt_1", "source": "/x", "type": "x"}, b"null")
    assert (received.correlation_id, received.partition_key, received.tenant_id) == ("evt_1", "evt_1", None)
