"""Random numbers from the operating system, fetched in blocks: a request needs several."""

from __future__ import annotations

import os
from random import SystemRandom
from typing import Final

_BLOCK_BYTES: Final = 4096


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
