"""Signed requests: the canonical string, its HMAC, and the window of time in which a signature counts.

Bytes are signed as they came: no decoding, sorting or normalising, for whatever two sides normalise in two
ways is a way to make one signature mean two requests.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from binascii import a2b_base64
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from shared.core.problems import Problem

VERSION: Final = "v1"
WINDOW_SECONDS: Final = 300

# Standard base64 of 32 bytes has exactly one spelling: the last character's two low bits are zero. A second
# spelling of one signature would slip past the replay check.
_SIGNATURE: Final = re.compile(r"v1=[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,32}))?(?:Z|\+00:00)"
)


def canonical_string(
    method: str,
    raw_path: str,
    raw_query: str,
    body: bytes,
    tenant_id: str,
    idempotency_key: str,
    timestamp: str,
    key_id: str,
) -> bytes:
    """The bytes that a signature covers.

    Path, query (without its "?") and header values are text that stands for the wire's bytes one to one
    (latin-1); an absent value is "". `tenant_id` is the caller's, whether or not a header names it. Raises
    Problem `malformed_request` when a value holds CR or LF, which would let one field pass for two.
    """
    digest = sha256(body).hexdigest()
    lines = (VERSION, method, raw_path, raw_query, digest, tenant_id, idempotency_key, timestamp, key_id)
    text = "\n".join(lines)
    if "\r" in text or text.count("\n") != len(lines) - 1:
        raise Problem("malformed_request", "A line break stands in a value that the signature covers.")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise Problem("malformed_request", "A value that the signature covers is not made of bytes.") from None


def sign(secret: str, canonical: bytes) -> str:
    """The X-Signature of a canonical string: `v1=` and base64 of HMAC-SHA256, keyed with the secret's UTF-8 bytes."""
    return f"{VERSION}={b64encode(_digest(secret, canonical)).decode()}"


def _digest(secret: str, canonical: bytes) -> bytes:
    return hmac.digest(secret.encode(), canonical, "sha256")


def parse_signature(text: str) -> bytes:
    """The 32 bytes that an X-Signature carries; equal bytes are the same signature, for replays as well.

    Raises Problem `invalid_signature` for any form but `v1=` and the one standard base64 of 32 bytes.
    """
    if _SIGNATURE.fullmatch(text) is None:
        raise Problem("invalid_signature", "X-Signature must be v1= and the base64 of 32 bytes.")
    return a2b_base64(text[len(VERSION) + 1 :])


def check_signature(secret: str, canonical: bytes, digest: bytes) -> None:
    """Raise Problem `invalid_signature` unless `digest` signs this string; compared in constant time."""
    if not hmac.compare_digest(_digest(secret, canonical), digest):
        raise Problem("invalid_signature", "X-Signature does not match the request.")


def verify(secret: str, canonical: bytes, signature: str) -> None:
    """Raise Problem `invalid_signature` unless this X-Signature has its form and signs this string."""
    check_signature(secret, canonical, parse_signature(signature))


def parse_timestamp(text: str) -> datetime:
    """The time that X-Timestamp names: ISO 8601 in UTC (`Z` or `+00:00`), with or without fractions of a second.

    Digits past the microsecond are dropped. Raises Problem `malformed_request` for what is no such time.
    """
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise _no_time()
    seconds, fraction = match.groups(default="")
    try:
        return datetime.fromisoformat(f"{seconds}.{fraction[:6]:0<6}+00:00")
    except ValueError:
        raise _no_time() from None


def check_window(issued_at: datetime, now: datetime, window_seconds: int = WINDOW_SECONDS) -> datetime:
    """The time after which a signature of `issued_at` is refused for its age alone, so needs remembering no longer.

    Raises Problem `timestamp_out_of_window` when `issued_at` is further than the window from `now`, before or after.
    """
    window = timedelta(seconds=window_seconds)
    if abs(now - issued_at) > window:
        raise Problem("timestamp_out_of_window", f"X-Timestamp is more than {window_seconds} s away from now.")
    return issued_at + window


def check_timestamp(text: str, now: datetime, window_seconds: int = WINDOW_SECONDS) -> datetime:
    """The time that X-Timestamp names, once it is known to lie in the window. Raises as the two steps above."""
    issued_at = parse_timestamp(text)
    check_window(issued_at, now, window_seconds)
    return issued_at


def _no_time() -> Problem:
    return Problem("malformed_request", "X-Timestamp is no ISO 8601 time in UTC, such as 2026-01-31T12:00:00.000Z.")
