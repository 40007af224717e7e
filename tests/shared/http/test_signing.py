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
    """Nine lines, nothing after the last, an absent value as an empty line."""
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
    """RFC 4231 test case 2 signs as published, in base64 behind v1=."""
    vector = VECTORS["rfc4231_case_2"]
    expected = base64.b64encode(bytes.fromhex(vector["hmac_sha256_hex"])).decode()
    assert signing.sign(vector["key_utf8"], vector["data_utf8"].encode()) == f"v1={expected}"
    signing.verify(vector["key_utf8"], vector["data_utf8"].encode(), f"v1={expected}")


def test_a_secret_is_keyed_by_its_utf8_bytes() -> None:
    """The secret counts as it was shown, not as what it might encode."""
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
    """Requests that a lenient reader takes for one are signed as two."""
    assert canonical(**one) != canonical(**other)


@pytest.mark.parametrize("field", [name for name in REQUEST if name != "body"])
@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n"])
def test_a_line_break_in_a_value_is_refused(field: str, line_break: str) -> None:
    """One field can never pass for two."""
    with pytest.raises(Problem, match="malformed_request"):
        canonical(**{field: f"a{line_break}b"})


def test_text_that_is_no_bytes_is_refused() -> None:
    """Values are the wire's bytes one to one; other characters cannot have come over it."""
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
    """What was signed verifies; with one bit of the signature or another secret it does not."""
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
        "v1=" + "A" * 42 + "B=",  # the bytes of "A" * 43, spelled in a second way
        "v1=" + "é" * 43 + "=",
    ],
)
def test_a_signature_has_one_form(signature: str) -> None:
    """Anything but v1= and the one standard base64 of 32 bytes is an invalid signature."""
    with pytest.raises(Problem, match="invalid_signature"):
        signing.verify("secret", b"x", signature)


def test_a_signature_cannot_be_spelled_anew() -> None:
    """The same 32 bytes in another spelling would be a fresh signature to a replay check, so there is none."""
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
    """Whole and fractional seconds are read, with either spelling of UTC."""
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
def test_what_is_no_time_in_utc_is_malformed(text: str) -> None:
    """A timestamp that names no instant, or not in UTC, is a malformed request rather than a late one."""
    with pytest.raises(Problem, match="malformed_request"):
        signing.check_timestamp(text, NOW)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_window_has_two_sides(sign: int) -> None:
    """Five minutes to either side are in, a microsecond more is out."""
    edge = NOW + sign * timedelta(seconds=300)
    assert signing.check_timestamp(edge.isoformat(), NOW) == edge
    beyond = edge + sign * timedelta(microseconds=1)
    with pytest.raises(Problem, match="timestamp_out_of_window"):
        signing.check_timestamp(beyond.isoformat(), NOW)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_ends_of_the_calendar_are_only_out_of_the_window(text: str) -> None:
    """No timestamp overflows the arithmetic."""
    with pytest.raises(Problem, match="timestamp_out_of_window"):
        signing.check_timestamp(text, NOW)


def test_a_nonce_is_remembered_until_its_timestamp_is_too_old() -> None:
    """A signature is refused by its age from the returned time on, so forgetting it then loses nothing."""
    issued_at = NOW + timedelta(seconds=200)
    expires_at = signing.check_window(issued_at, NOW)
    signing.check_window(issued_at, expires_at)
    with pytest.raises(Problem, match="timestamp_out_of_window"):
        signing.check_window(issued_at, expires_at + timedelta(microseconds=1))
