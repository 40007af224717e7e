"""Two kinds of randomness with different types: numbers for ids and traces, and text for secrets."""

from __future__ import annotations

import os
import secrets
from random import SystemRandom
from typing import Final, Protocol

_BLOCK_BYTES: Final = 4096
_SECRET_BYTES: Final = 32


class SecretSource(Protocol):
    """Makes secrets of 256 bits for tenants, clients and callbacks.

    It is not a `random.Random`, so that a predictable generator cannot be passed in its place.
    """

    def urlsafe(self) -> str:
        """Return a new secret of 43 characters that are safe in URLs, headers and forms (RFC 4648 §5, no padding)."""
        ...

    def hexadecimal(self) -> str:
        """Return a new secret of 64 hexadecimal digits."""
        ...


class SystemSecretSource:
    """Secrets from the operating system's cryptographic generator (PEP 506)."""

    def urlsafe(self) -> str:
        """Return a new secret of 43 characters that are safe in URLs, headers and forms."""
        return secrets.token_urlsafe(_SECRET_BYTES)

    def hexadecimal(self) -> str:
        """Return a new secret of 64 hexadecimal digits."""
        return secrets.token_hex(_SECRET_BYTES)


class BufferedSystemRandom(SystemRandom):
    """SystemRandom with one system call for each block of 4 KiB. Do not share it with a forked process."""

    def __init__(self) -> None:
        super().__init__()
        self._block = b""
        self._used = 0

    def getrandbits(self, k: int) -> int:
        """Return a random int of at most `k` bits. Raises ValueError for a negative `k`."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        size = (k + 7) // 8
        start = self._used
        if start + size > len(self._block):
            if size > _BLOCK_BYTES:
                return super().getrandbits(k)
            self._block, start = os.urandom(_BLOCK_BYTES), 0
        self._used = start + size
        return int.from_bytes(self._block[start : start + size]) >> (size * 8 - k)
