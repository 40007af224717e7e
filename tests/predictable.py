"""A source of secrets that returns the same ones each time, for tests only: its secrets can be guessed."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from random import Random


class PredictableSecretSource:
    """Secrets of the right form from a seeded generator."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def urlsafe(self) -> str:
        return urlsafe_b64encode(self._random.randbytes(32)).rstrip(b"=").decode()

    def hexadecimal(self) -> str:
        return self._random.randbytes(32).hex()
