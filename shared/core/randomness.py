"""Randomness from the operating system, fetched in blocks: secrets are made of it, and ids, several a request."""

from __future__ import annotations

import os
from random import SystemRandom
from typing import Final

_BLOCK_BYTES: Final = 4096


class BufferedSystemRandom(SystemRandom):
    """SystemRandom at a fraction of its price: one system call a block. Not to be shared with a forked process."""

    def __init__(self) -> None:
        super().__init__()
        self._block = b""
        self._used = 0

    def getrandbits(self, k: int) -> int:
        """A random int of at most `k` bits. Raises ValueError for a negative number of them."""
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
