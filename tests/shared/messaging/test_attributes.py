"""Context attributes by the rules of CloudEvents 1.0.2, and the platform's own bounds."""

from __future__ import annotations

import pytest

from shared.messaging.attributes import (
    MAX_CHARACTERS,
    MAX_EXTENSION_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_TOTAL_BYTES,
    InvalidEvent,
    check_attribute,
    check_attributes,
)

LEAST = {"id": "evt_1", "source": "/lastro/x/y", "type": "lastro.x.y.v1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "C234-1234-1234"),
        ("id", "x" * 256),
        ("source", "https://github.com/cloudevents"),
        ("source", "mailto:cncf-wg-serverless@lists.cncf.io"),
        ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
        ("source", "cloudevents/spec/pull/123"),
        ("source", "/sensors/tn-1234567/alerts"),
        ("source", "1-555-123-4567"),
        ("source", "//host:8080/path?query#fragment"),
        ("source", "http://[2001:db8::7]/c=GB?one#two"),
        ("source", "/apis/v1/namespaces/default/kafkasources/orders#lastro.orders.v1"),
        ("source", "?only=query"),
        ("source", "a%20b"),
        ("type", "com.github.pull_request.opened"),
        ("subject", "mynewfile.jpg"),
        ("subject", "Überweisung 42 – 日本"),
        ("time", "2018-04-05T17:31:00Z"),
        ("time", "2018-04-05t17:31:00.123456789z"),
        ("time", "1985-04-12T23:20:50.52-08:00"),
        ("time", "1990-12-31T23:59:60Z"),
        ("dataschema", "https://example.com/schemas/order?version=1"),
        ("dataschema", "urn:example:order"),
        ("knativekafkapartition", "7"),
        ("x" * MAX_NAME_CHARACTERS, "v"),
        ("note", "x" * MAX_EXTENSION_CHARACTERS),
        ("note", "\U0001f600"),
        ("knativeerrordata", ""),
    ],
)
def test_valid_values_are_accepted(name: str, value: str) -> None:
    """Values of the specification's own examples, and those at the platform's bounds, are valid."""
    check_attribute(name, value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        *((name, "", "is empty") for name in ("id", "source", "type", "subject", "time", "dataschema", "note")),
        *((name, "a" * (limit + 1), f"at most {limit}") for name, limit in MAX_CHARACTERS.items()),
        ("id", "x" * 60_000, "attribute id has 60000 characters; at most 256 are allowed"),
        ("note", "x" * (MAX_EXTENSION_CHARACTERS + 1), "at most 4096"),
        *(("note", f"a{character}b", "U\\+") for character in "\x00\x1f\n\x7f\x85\x9f\ufdd0\ufffe\U0010ffff\ud800"),
        ("id", "a\x00", "attribute id holds the character U\\+0000"),
        ("source", "two words", "encode a space as %20"),
        ("source", "a%2", "not a URI reference"),
        ("source", "1a:b", "not a URI reference"),
        ("source", "/a#b#c", "not a URI reference"),
        ("source", "<x>", "not a URI reference"),
        ("source", "http://[::1/", "not a URI reference"),
        ("source", "/ação", "not a URI reference"),
        ("time", "garbage", "not a time of RFC 3339"),
        ("time", "2026-01-01", "not a time of RFC 3339"),
        ("time", "2026-01-01T00:00:00", "not a time of RFC 3339"),
        ("time", "2026-01-01 00:00:00Z", "not a time of RFC 3339"),
        ("time", "20260101T000000Z", "not a time of RFC 3339"),
        ("time", "2026-02-30T00:00:00Z", "not a time of RFC 3339"),
        ("time", "2026-01-01T24:00:00Z", "not a time of RFC 3339"),
        ("time", "2026-01-01T00:00:61Z", "not a time of RFC 3339"),
        ("time", "2026-01-01T00:00:00+24:00", "not a time of RFC 3339"),
        ("time", "2026-01-01T00:00:00+01", "not a time of RFC 3339"),
        ("time", "1767225600", "not a time of RFC 3339"),
        ("dataschema", "/schemas/order.json", "not an absolute URI"),
        ("dataschema", "https://example.com/order#v1", "not an absolute URI"),
        ("dataschema", "not a uri", "not an absolute URI"),
        ("dataschema", "order", "not an absolute URI"),
        *((name, "v", "not the name") for name in ("", "Upper", "with_score", "with-dash", "ção", "data", "x" * 65)),
    ],
)
def test_an_invalid_value_is_refused_with_the_attributes_name(name: str, value: str, reason: str) -> None:
    """A value that breaks a rule is refused with the rule and the attribute's name."""
    with pytest.raises(InvalidEvent, match=reason):
        check_attribute(name, value)


def test_required_attributes_are_checked() -> None:
    """An event must have an id, a source and a type; the error names all missing ones."""
    check_attributes(LEAST)
    with pytest.raises(InvalidEvent, match="no id and no source and no type"):
        check_attributes({"subject": "s"})


def test_attributes_are_bounded_together() -> None:
    """Extensions whose total size in bytes exceeds the bound are refused, also when each is within its own bound."""
    fits = {f"note{n}": "é" * 1024 for n in range(7)}
    check_attributes({**LEAST, **fits})
    with pytest.raises(InvalidEvent, match=f"at most {MAX_TOTAL_BYTES}"):
        check_attributes({**LEAST, **fits, "more": "é" * 1024})
