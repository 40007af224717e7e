"""Signatures of requests: the canonical string, its HMAC, and the time for which a signature is valid.

The bytes are signed as they are sent. Nothing is decoded, sorted or normalized: if client and server normalized in
different ways, one signature could stand for two requests.
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

# The last character of 32 bytes in base64 has two unused bits, which must be zero: otherwise one signature could be
# written in four ways, and the replay check would take them for four signatures.
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
    """Return the bytes that a signature covers: nine lines, joined by LF, without one at the end.

    The lines are `v1`, method, path, query without "?", SHA-256 of the body (lower-case hexadecimal), tenant id,
    Idempotency-Key, X-Timestamp and X-Key-Id. Path, query and header values are text in which each character is one
    byte that was sent (latin-1); an absent value is "". `tenant_id` is the token's, with or without an X-Tenant-Id.

    Raises Problem `malformed_request` when a value has a CR or LF, because one value could then pass for two.
    """
    digest = sha256(body).hexdigest()
    lines = (VERSION, method, raw_path, raw_query, digest, tenant_id, idempotency_key, timestamp, key_id)
    text = "\n".join(lines)
    if "\r" in text or text.count("\n") != len(lines) - 1:
        raise Problem("malformed_request", "A value that the signature covers has a line break.")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise Problem(
            "malformed_request", "A value that the signature covers has a character that is not one byte."
        ) from None


def sign(secret: str, canonical: bytes) -> str:
    """Return the X-Signature of a canonical string: `v1=` and the base64 of its HMAC-SHA256.

    The key of the HMAC is the secret in UTF-8.
    """
    return f"{VERSION}={b64encode(_digest(secret, canonical)).decode()}"


def _digest(secret: str, canonical: bytes) -> bytes:
    return hmac.digest(secret.encode(), canonical, "sha256")


def parse_signature(text: str) -> bytes:
    """Return the 32 bytes of an X-Signature. The replay check compares these bytes.

    Raises Problem `invalid_signature` unless it has the form `v1=` and standard base64 of 32 bytes.
    """
    if _SIGNATURE.fullmatch(text) is None:
        raise Problem("invalid_signature", "X-Signature must be `v1=` and the base64 of 32 bytes.")
    return a2b_base64(text[len(VERSION) + 1 :])


def check_signature(secret: str, canonical: bytes, digest: bytes) -> None:
    """Raise Problem `invalid_signature` unless `digest` is the HMAC of the string. Compares in constant time."""
    if not hmac.compare_digest(_digest(secret, canonical), digest):
        raise Problem("invalid_signature", "X-Signature does not match the request.")


def verify(secret: str, canonical: bytes, signature: str) -> None:
    """Raise Problem `invalid_signature` unless the X-Signature is valid for this string."""
    check_signature(secret, canonical, parse_signature(signature))


def parse_timestamp(text: str) -> datetime:
    """Return the time of an X-Timestamp: ISO 8601 in UTC (`Z` or `+00:00`), with or without fractions of a second.

    Digits after the microsecond are ignored. Raises Problem `malformed_request` for any other text.
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
    """Return the time at which a signature of `issued_at` expires. After it the replay check can forget the signature.

    Raises Problem `timestamp_out_of_window` when `issued_at` and `now` differ by more than the window, either way.
    """
    window = timedelta(seconds=window_seconds)
    if abs(now - issued_at) > window:
        raise Problem(
            "timestamp_out_of_window",
            f"X-Timestamp differs from the server's time by more than {window_seconds} seconds.",
        )
    return issued_at + window


def _no_time() -> Problem:
    return Problem(
        "malformed_request", "X-Timestamp must be an ISO 8601 time in UTC, such as 2026-01-31T12:00:00.000Z."
    )
