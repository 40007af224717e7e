"""Identifiers: a prefix and 32 hexadecimal digits, ordered by time.

A new id is a UUID of version 7 (RFC 9562 §5.7). An id that a second run must make again is derived: a UUID of version
8 (§5.8) with the 48-bit time of its cause in front, then a digest. With the time in front, records that are written
together are stored close together (docs/decisions/0002).
"""

from __future__ import annotations

from hashlib import sha256
from random import Random

from shared.core.clock import Clock

_VERSION_7 = 7 << 76
_VARIANT = 0b10 << 62
_COUNTER_BITS = 12
_NO_TIME = "0" * 12
# Two bits are the variant (binary 10), the other two come from the digest.
_VARIANT_DIGIT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class IdSource:
    """Makes new ids. Each is greater than the one before it, even within one millisecond."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._last_tick = 0

    def new(self, prefix: str) -> str:
        """Return a new id `<prefix>_<32 hex digits>`, greater than every id that this source has made."""
        tick = int(self._clock.now().timestamp() * 1000) << _COUNTER_BITS
        if tick <= self._last_tick:
            tick = self._last_tick + 1
        self._last_tick = tick
        milliseconds, counter = tick >> _COUNTER_BITS, tick & 0xFFF
        number = milliseconds << 80 | _VERSION_7 | counter << 64 | _VARIANT | self._random.getrandbits(62)
        return f"{prefix}_{number:032x}"


def derived_id(prefix: str, tenant_id: str, cause_id: str, purpose: str) -> str:
    """Return the one id of this purpose for this cause in a tenant. It carries the time of its cause."""
    # Text is faster than numbers here, and a payment derives some twenty ids.
    digest = sha256(f"{tenant_id}\n{cause_id}\n{purpose}".encode()).hexdigest()
    time = cause_id[-32:-20] if cause_id[-33:-32] == "_" else _NO_TIME
    return f"{prefix}_{time}8{digest[:3]}{_VARIANT_DIGIT[digest[3]]}{digest[4:19]}"
