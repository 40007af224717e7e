"""The nonces port on the embedded store: a row for each used nonce, in the batch of the request that used it.

A nonce is known by its tenant, the second it was issued in and its bytes (the signature that it stands for
covers its time of issue). The last seconds are held in memory whole; what is older is looked up.

A nonce's row may be deleted once its signature would be refused for its age. Ages are by the wall clock, which jumps:
if it went an hour forwards and back again, rows that were deleted meanwhile would be missing. So rows are deleted by
the earliest wall time of the last quarter of an hour, as the monotonic clock counts it.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import Final

from shared.adapters.sqlite.journal import Journal
from shared.adapters.sqlite.writer import Row, Statement
from shared.core.clock import Clock
from shared.ports.documents import Unavailable
from shared.ports.nonces import Nonce

_INSERT: Final = "INSERT INTO nonces (issued, tenant_id, nonce, expires) VALUES (?, ?, ?, ?)"
_PURGE: Final = "DELETE FROM nonces WHERE issued < ? AND expires < ?"
_SELECT_SECOND: Final = "SELECT tenant_id, nonce FROM nonces WHERE issued = ?"
_SELECT_ONE: Final = "SELECT 1 FROM nonces WHERE issued = ? AND tenant_id = ? AND nonce = ?"
_SECONDS_HELD: Final = 30
_SECONDS_AHEAD: Final = 5
_LEAST_LIFE: Final = 900
_PURGE_EVERY: Final = 10

_Used = tuple[str, bytes]


class SqliteNonces:
    """The nonces port on SQLite."""

    def __init__(self, journal: Journal, reader: sqlite3.Connection, clock: Clock) -> None:
        self._clock = clock
        self._journal = journal
        self._reader = reader
        self._seconds: dict[int, set[_Used]] = {}
        self._gathered: dict[tuple[int, str, bytes], int] = {}
        self._in_flight: dict[tuple[int, str, bytes], int] = {}
        self._longest_life = _LEAST_LIFE
        self._next_purge = clock.monotonic()
        self._looks: deque[tuple[float, int]] = deque()
        """Monotonic and wall time, at each time that rows might be deleted."""

    async def use_once(self, nonce: Nonce) -> bool:
        if self._journal.full:
            raise Unavailable(self._journal.refusing or "the store's writer is behind")
        now, issued = int(self._clock.now().timestamp()), int(nonce.issued_at.timestamp())
        # Rounded up: a nonce is kept to the end of the second it expires in.
        expires = int(nonce.expires_at.timestamp()) + 1
        held = self._second(issued, now)
        if held is not None:
            if (nonce.tenant_id, nonce.value) in held:
                return False
            held.add((nonce.tenant_id, nonce.value))
        elif self._looked_up(issued, nonce.tenant_id, nonce.value):
            return False
        self._gathered[issued, nonce.tenant_id, nonce.value] = expires
        self._longest_life = max(self._longest_life, expires - issued)
        self._journal.touch(128)
        return True

    def _second(self, issued: int, now: int) -> set[_Used] | None:
        """All used nonces of a second, or None when it is not one of those held."""
        held = self._seconds.get(issued)
        if held is not None:
            return held
        if not now - _SECONDS_HELD <= issued <= now + _SECONDS_AHEAD:
            return None
        for second in [second for second in self._seconds if second < now - _SECONDS_HELD]:
            del self._seconds[second]
        held = self._seconds[issued] = set(self._reader.execute(_SELECT_SECOND, (issued,)).fetchall())
        for part in (self._gathered, self._in_flight):
            held.update((tenant_id, nonce) for second, tenant_id, nonce in part if second == issued)
        return held

    def _looked_up(self, issued: int, tenant_id: str, nonce: bytes) -> bool:
        key = (issued, tenant_id, nonce)
        if key in self._gathered or key in self._in_flight:
            return True
        return self._reader.execute(_SELECT_ONE, key).fetchone() is not None

    # The journal's part

    def drain(self) -> list[Statement]:
        statements: list[Statement] = []
        if self._gathered:
            rows: list[Row] = [(*key, expires) for key, expires in self._gathered.items()]
            statements.append((_INSERT, rows, True))
            if self._clock.monotonic() >= self._next_purge:
                now = self._least_time()
                if now is not None:
                    statements.append((_PURGE, [(now - self._longest_life, now)], False))
        self._in_flight, self._gathered = self._gathered, {}
        return statements

    def _least_time(self) -> int | None:
        """The earliest wall time of the last quarter of an hour; None while that has not been watched for so long."""
        now = self._clock.monotonic()
        self._next_purge = now + _PURGE_EVERY
        looks = self._looks
        looks.append((now, int(self._clock.now().timestamp())))
        # One look stays that is older, so that the whole time is covered.
        while len(looks) > 1 and now - looks[1][0] >= self._longest_life:
            looks.popleft()
        return min(wall for _, wall in looks) if now - looks[0][0] >= self._longest_life else None

    def settled(self) -> None:
        self._in_flight = {}

    def dropped(self) -> None:
        self._gathered, self._in_flight = {}, {}
        self._seconds.clear()
