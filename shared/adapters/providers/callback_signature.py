"""The signature of payment providers' callbacks, with a secret that the provider and the platform share.

It is the HMAC-SHA256 of `<timestamp>.<body>`. With the timestamp, an intercepted callback cannot be sent again later.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from shared.core.clock import format_time
from shared.core.problems import Problem
from shared.http.signing import check_window, parse_signature, parse_timestamp

SIGNATURE_HEADER: Final = "x-provider-signature"
TIMESTAMP_HEADER: Final = "x-provider-timestamp"


def sign(secret: bytes, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers that sign a callback that is sent now."""
    timestamp = format_time(now)
    signature = b64encode(_digest(secret, timestamp, body)).decode()
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: f"v1={signature}"}


def verify(secret: bytes, headers: Mapping[str, str], body: bytes, now: datetime, window_seconds: int) -> None:
    """Check a callback's signature in constant time. `headers` have lower-case names.

    Raises Problem `missing_signature`, `invalid_signature`, `timestamp_out_of_window`, or `malformed_request` when the
    timestamp cannot be read.
    """
    signature, timestamp = headers.get(SIGNATURE_HEADER), headers.get(TIMESTAMP_HEADER)
    if not signature or not timestamp:
        raise Problem("missing_signature", "X-Provider-Signature and X-Provider-Timestamp go together.")
    if not hmac.compare_digest(_digest(secret, timestamp, body), parse_signature(signature)):
        raise Problem("invalid_signature", "X-Provider-Signature does not match the callback.")
    check_window(parse_timestamp(timestamp), now, window_seconds)


def _digest(secret: bytes, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(secret, timestamp.encode("latin-1", "replace") + b"." + body, "sha256")
