"""Request signatures: the canonical string, the HMAC and the window."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.problems import Problem
from shared.http import signing

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "signatures.json").read_text())
NOW = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
REQUEST = {
    "method": "POST",
    "raw_path": "/v1/payments",
    "raw_query": "",
    "body": b"",
    "tenant_id": "demo",
    "idempotency_key": "key-1",
    "timestamp": "2026-11-23T22:00:00Z",
    "key_id": "key_1",
}


def canonical(**changes: str | bytes) -> bytes:
    return signing.canonical_string(**{**REQUEST, **changes})  # type: ignore[arg-type]


def test_the_canonical_string_is_the_contract() -> None:
    """The canonical string has nine lines without a final line break, and an absent value is an empty line."""
    assert canonical(idempotency_key="", raw_query="limit=2&from=a%2Fb").decode().split("\n") == [
        "v1",
        "POST",
        "/v1/payments",
        "limit=2&from=a%2Fb",
        VECTORS["sha256_empty_hex"]["value"],
        "demo",
        "",
        "2026-11-23T22:00:00Z",
        "key_1",
    ]


def test_the_hmac_is_rfc_4231s() -> None:
    """Test case 2 of RFC 4231 gives the published signature, in base64 after `v1=`."""
    vector = VECTORS["rfc4231_case_2"]
    expected = base64.b64encode(bytes.fromhex(vector["hmac_sha256_hex"])).decode()
    assert signing.sign(vector["key_utf8"], vector["data_utf8"].encode()) == f"v1={expected}"
    signing.verify(vector["key_utf8"], vector["data_utf8"].encode(), f"v1={expected}")


def test_a_secret_is_keyed_by_its_utf8_bytes() -> None:
    """The key of the HMAC is the secret's text in UTF-8, not the bytes that it may encode."""
    assert signing.parse_signature(signing.sign("çé", b"x")) == hmac.digest("çé".encode(), b"x", "sha256")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"raw_path": "/v1/a%2fb"}, {"raw_path": "/v1/a/b"}),
        ({"raw_path": "/v1/a%2fb"}, {"raw_path": "/v1/a%2Fb"}),
        ({"raw_path": "/v1/%7E"}, {"raw_path": "/v1/~"}),
        ({"raw_path": "/v1//a"}, {"raw_path": "/v1/a"}),
        ({"raw_path": "/v1/./a"}, {"raw_path": "/v1/a"}),
        ({"raw_query": "a=1&b=2"}, {"raw_query": "b=2&a=1"}),
        ({"raw_query": "a=1&a=2"}, {"raw_query": "a=2&a=1"}),
        ({"raw_query": "a=x+y"}, {"raw_query": "a=x%20y"}),
        ({"raw_query": "a"}, {"raw_query": "a="}),
        ({"body": b'{"a":1}'}, {"body": b'{"a": 1}'}),
        ({"body": b"{}"}, {"body": b"{}\n"}),
        ({"body": "é".encode()}, {"body": "e\u0301".encode()}),
        ({"idempotency_key": "k"}, {"idempotency_key": '"k"'}),
        ({"timestamp": "2026-11-23T22:00:00Z"}, {"timestamp": "2026-11-23T22:00:00.0Z"}),
        ({"method": "POST"}, {"method": "post"}),
        ({"tenant_id": "a", "idempotency_key": ""}, {"tenant_id": "", "idempotency_key": "a"}),
    ],
)
def test_nothing_is_normalised(one: dict[str, str], other: dict[str, str]) -> None:
    """Requests that differ only in notation have different signatures."""
    assert canonical(**one) != canonical(**other)


@pytest.mark.parametrize("field", [name for name in REQUEST if name != "body"])
@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n"])
def test_a_line_break_in_a_value_is_refused(field: str, line_break: str) -> None:
    """A value with a line break is refused, so that one field cannot be read as two."""
    with pytest.raises(Problem, match="malformed_request"):
        canonical(**{field: f"a{line_break}b"})


def test_text_that_is_not_latin_1_is_refused() -> None:
    """A value has one character for each received byte; a text with other characters is refused."""
    assert canonical(idempotency_key="\xe9").split(b"\n")[6] == b"\xe9"
    with pytest.raises(Problem, match="malformed_request"):
        canonical(idempotency_key="€")


FIELD = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=6)
FIELDS = st.fixed_dictionaries({name: FIELD for name in REQUEST if name != "body"} | {"body": st.binary(max_size=4)})


@given(FIELDS, FIELDS)
def test_the_canonical_string_is_injective(one: dict[str, str | bytes], other: dict[str, str | bytes]) -> None:
    """Two requests have one canonical string only when every field is the same."""
    assert (canonical(**one) == canonical(**other)) == (one == other)


@given(FIELDS)
def test_a_signature_verifies_and_a_changed_one_does_not(fields: dict[str, str | bytes]) -> None:
    """A signature is accepted, and refused with one changed bit or another secret."""
    text = canonical(**fields)
    signature = signing.sign("secret", text)
    signing.verify("secret", text, signature)
    raw = bytearray(base64.b64decode(signature[3:]))
    raw[7] ^= 1
    with pytest.raises(Problem, match="invalid_signature"):
        signing.verify("secret", text, "v1=" + base64.b64encode(raw).decode())
    with pytest.raises(Problem, match="invalid_signature"):
        signing.verify("Secret", text, signature)


GOOD = signing.sign("secret", b"x")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "v1=",
        GOOD[3:],
        "v2=" + GOOD[3:],
        "V1=" + GOOD[3:],
        GOOD[:-1],
        GOOD + "=",
        GOOD + "\n",
        " " + GOOD,
        GOOD + "," + GOOD,
        "v1=" + hmac.digest(b"secret", b"x", "sha256").hex(),
        "v1=" + base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        "v1=" + base64.b64encode(b"\0" * 31).decode(),
        "v1=" + base64.b64encode(b"\0" * 33).decode(),
        "v1=" + "A" * 42 + "B=",  # the bytes of "A" * 43 in another notation
        "v1=" + "é" * 43 + "=",
    ],
)
def test_a_signature_has_one_form(signature: str) -> None:
    """A signature that is not `v1=` and the standard base64 of 32 bytes is invalid."""
    with pytest.raises(Problem, match="invalid_signature"):
        signing.verify("secret", b"x", signature)


def test_another_notation_of_a_signature_is_refused() -> None:
    """Another base64 notation of the same 32 bytes is refused, because a replay check would not recognise it."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    respelled = f"{GOOD[:-2]}{alphabet[alphabet.index(GOOD[-2]) + 1]}="
    assert base64.b64decode(respelled[3:]) == base64.b64decode(GOOD[3:])
    with pytest.raises(Problem, match="invalid_signature"):
        signing.verify("secret", b"x", respelled)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2026-11-23T22:00:00Z", 0),
        ("2026-11-23T22:00:00+00:00", 0),
        ("2026-11-23T22:00:00.5Z", 500_000),
        ("2026-11-23T22:00:00,25Z", 250_000),
        ("2026-11-23T22:00:00.123456Z", 123_456),
        ("2026-11-23T22:00:00.123456789Z", 123_456),
        ("2026-11-23T22:00:00.000001+00:00", 1),
    ],
)
def test_a_timestamp_is_iso_8601_in_utc(text: str, microseconds: int) -> None:
    """Whole and fractional seconds are accepted, with both notations of UTC."""
    assert signing.parse_timestamp(text) == NOW + timedelta(microseconds=microseconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1795471200",
        "2026-11-23",
        "2026-11-23T22:00:00",
        "2026-11-23 22:00:00Z",
        "2026-11-23T22:00Z",
        "2026-11-23T19:00:00-03:00",
        "2026-11-23T22:00:00-00:00",
        "2026-11-23T22:00:00.Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T22:60:00Z",
        "2026-13-01T22:00:00Z",
        "2026-02-30T22:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-23T22:00:00Z\n",
        "２０２６-11-23T22:00:00Z",
        "Mon, 23 Nov 2026 22:00:00 GMT",
    ],
)
def test_a_timestamp_that_is_not_in_utc_is_malformed(text: str) -> None:
    """A timestamp that is not a time in UTC is a malformed request and not one out of the window."""
    with pytest.raises(Problem, match="malformed_request"):
        signing.parse_timestamp(text)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_window_has_two_sides(sign: int) -> None:
    """A timestamp within five minutes of now is accepted, and one with a microsecond more is refused."""
    edge = NOW + sign * timedelta(seconds=300)
    assert signing.parse_timestamp(edge.isoformat()) == edge
    assert signing.check_window(edge, NOW) == edge + timedelta(seconds=300)
    beyond = edge + sign * timedelta(microseconds=1)
    with pytest.raises(Problem, match="timestamp_out_of_window"):
        signing.check_window(beyond, NOW)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_ends_of_the_calendar_are_only_out_of_the_window(text: str) -> None:
    """The first and last possible timestamps are out of the window and cause no overflow."""
    with pytest.raises(Problem, match="timestamp_out_of_window"):
        signing.check_window(signing.parse_timestamp(text), NOW)


def test_a_nonce_is_remembered_until_its_timestamp_is_too_old() -> None:
    """The expiry of a nonce is the time from which its signature is refused for its age."""
    issued_at = NOW + timedelta(seconds=200)
    expires_at = signing.check_window(issued_at, NOW)
    signing.check_window(issued_at, expires_at)
    with pytest.raises(Problem, match="timestamp_out_of_window"):
        signing.check_window(issued_at, expires_at + timedelta(microseconds=1))
