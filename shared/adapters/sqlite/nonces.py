"""The nonces port on the embedded store: a row for each used nonce, in the batch of the request that used it.

A nonce is identified by its tenant, the second in which it was issued, and its bytes; the signature that it identifies
covers the time of issue. The nonces of the last seconds are in memory; older ones are looked up.

The row of a nonce may be deleted when its signature is too old to be accepted. Ages depend on the wall clock, which
can be changed: if it were set forwards by an hour and back again, rows that were deleted meanwhile would be missing.
Rows are therefore deleted by the earliest wall time of the last quarter of an hour, measured by the monotonic clock.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import Final

from shared.adapters.sqlite.journal import Journal
from shared.adapters.sqlite.writer import Row, Statement
from shared.core.clock import Clock
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
    """The nonces port on SQLite. Nonces are stored until the second in which they expire has ended."""

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
        """The monotonic and the wall time, in seconds, at each time when rows might have been deleted."""

    async def use_once(self, nonce: Nonce) -> bool:
        if self._journal.full:
            raise self._journal.refusal()
        now, issued = int(self._clock.now().timestamp()), int(nonce.issued_at.timestamp())
        # Rounded up: a nonce is stored until the end of the second in which it expires.
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
        """Return all used nonces of a second, or None when that second is not held in memory."""
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

    # Calls of the journal

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
        """Return the earliest wall time of the last quarter of an hour, or None until the clock was observed for that
        long."""
        now = self._clock.monotonic()
        self._next_purge = now + _PURGE_EVERY
        looks = self._looks
        looks.append((now, int(self._clock.now().timestamp())))
        # One older observation stays, so that the whole period is covered.
        while len(looks) > 1 and now - looks[1][0] >= self._longest_life:
            looks.popleft()
        return min(wall for _, wall in looks) if now - looks[0][0] >= self._longest_life else None

    def settled(self) -> None:
        self._in_flight = {}

    def dropped(self) -> None:
        self._gathered, self._in_flight = {}, {}
        self._seconds.clear()
