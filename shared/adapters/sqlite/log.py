"""The event log of the embedded store, which is both the outbox and the broker's log, and the inbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import orjson

from shared.adapters.sqlite.journal import Journal
from shared.adapters.sqlite.recent_ids import RecentIds
from shared.adapters.sqlite.writer import Row, Statement
from shared.core.envelope import Envelope
from shared.ports.documents import InboxMarker

_SCAN_ROWS: Final = 2000
_COLUMNS: Final = "sequence, id, source, type, subject, time, extensions, data, topic"
_INSERT_EVENT: Final = (
    "INSERT INTO events (sequence, id, source, type, subject, time, tenant_id, extensions, data, topic, history) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_INBOX: Final = "INSERT INTO inbox (consumer, source, event_id) VALUES (?, ?, ?)"
_INSERT_ACKNOWLEDGEMENT: Final = "INSERT OR IGNORE INTO acknowledgements (sequence, consumer) VALUES (?, ?)"
_SET_LOW_WATER: Final = "INSERT OR REPLACE INTO meta (name, value) VALUES ('low_water_mark', ?)"
_FORGET_ACKNOWLEDGEMENTS: Final = "DELETE FROM acknowledgements WHERE sequence < ?"

Listener = Callable[[int, Sequence[Envelope]], None]
"""Called with the events of a commit and the sequence number of the first; the others follow without gaps."""


class LoggedEvent(NamedTuple):
    """An event and its sequence number in the log."""

    sequence: int
    envelope: Envelope


class LogPage(NamedTuple):
    """The events that were found, and the sequence number up to which the log was read."""

    events: list[LoggedEvent]
    read_to: int


class SqliteLog:
    """Stores events with their sequence numbers, inbox markers, acknowledgements, and the low-water mark."""

    def __init__(self, journal: Journal, reader: sqlite3.Connection) -> None:
        self._journal = journal
        self._reader = reader
        self._listeners: list[Listener] = []
        self._rows: list[Row] = []
        self._events: list[Envelope] = []
        self._events_in_flight: list[Envelope] = []
        self._markers: set[InboxMarker] = set()
        self._markers_in_flight: set[InboxMarker] = set()
        self._acknowledged: set[tuple[int, str]] = set()
        self._acknowledged_in_flight: set[tuple[int, str]] = set()
        self._recent: RecentIds[tuple[str, str]] = RecentIds(self._greatest_marker)
        self._low_water = self._stored_low_water = 0
        self.head_sequence = self.durable_sequence = 0
        self._read_positions()

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each commit's events when the commit is applied, before they are on disk."""
        self._listeners.append(listener)

    # Writing: SqliteDocuments calls these methods during a commit, so only `rows_of` may fail

    def rows_of(self, events: Sequence[Envelope]) -> list[Row]:
        """Return the rows of the next events. Raises TypeError for a value that is not JSON."""
        return [
            (
                sequence,
                event.id,
                event.source,
                event.type,
                event.subject,
                event.time,
                event.extensions.get("tenantid"),
                orjson.dumps(event.extensions).decode(),
                event.data,
                event.topic,
                event.history,
            )
            for sequence, event in enumerate(events, self.head_sequence + 1)
        ]

    def append(self, events: Sequence[Envelope], rows: list[Row]) -> int:
        """Append events and their rows, as `rows_of` has just made them. Returns the sequence number of the first."""
        first = self.head_sequence + 1
        self.head_sequence += len(events)
        self._rows += rows
        self._events += events
        return first

    def announce(self, first: int, events: Sequence[Envelope]) -> None:
        """Call the listeners with the events."""
        for listener in self._listeners:
            listener(first, events)

    def applied(self, marker: InboxMarker) -> bool:
        """Return whether an inbox marker is on disk or about to be written."""
        consumer, source, event_id = marker
        if self._recent.certainly_absent((consumer, source), event_id):
            return False
        if marker in self._markers or marker in self._markers_in_flight:
            return True
        sql = "SELECT 1 FROM inbox WHERE consumer = ? AND source = ? AND event_id = ?"
        return self._reader.execute(sql, marker).fetchone() is not None

    def mark(self, marker: InboxMarker) -> None:
        """Add an inbox marker that `applied` found absent."""
        self._markers.add(marker)
        self._recent.add((marker[0], marker[1]), marker[2])

    def acknowledge(self, sequence: int, consumer: str) -> None:
        """Record that a consumer will not apply an event: it is dead-lettered, or no filter matched."""
        self._acknowledged.add((sequence, consumer))
        self._journal.touch(64)

    # Reading

    def acknowledged(self, consumer: str, sequence: int, envelope: Envelope) -> bool:
        """Return whether a consumer has applied this event, or has acknowledged it without applying it."""
        if self.applied(InboxMarker(consumer, envelope.source, envelope.id)):
            return True
        key = (sequence, consumer)
        if key in self._acknowledged or key in self._acknowledged_in_flight:
            return True
        sql = "SELECT 1 FROM acknowledgements WHERE sequence = ? AND consumer = ?"
        return self._reader.execute(sql, key).fetchone() is not None

    def pending_events(self, from_sequence: int, limit: int) -> list[LoggedEvent]:
        """Return events from a sequence number on, oldest first, including those that are not on disk yet."""
        sql = f"SELECT {_COLUMNS} FROM events WHERE sequence >= ? ORDER BY sequence LIMIT ?"
        found = [_logged(row) for row in self._reader.execute(sql, (from_sequence, limit)).fetchall()]
        # The events that are not on disk have consecutive numbers up to the head.
        first = self.head_sequence - len(self._events) - len(self._events_in_flight) + 1
        behind = found[-1].sequence if found else from_sequence - 1
        for sequence, envelope in enumerate(chain(self._events_in_flight, self._events), first):
            if len(found) >= limit:
                break
            if sequence > behind:
                found.append(LoggedEvent(sequence, envelope))
        return found

    def history(self, tenant_id: str, name: str, after: str | None, limit: int) -> list[Envelope]:
        """Return events on disk whose place in a history is `<name>/…`, in the order of their places."""
        # "0" is the character after "/".
        places = (f"{name}/" if after is None else after, f"{name}0")
        sql = (
            f"SELECT {_COLUMNS}, history FROM events "
            "WHERE tenant_id = ? AND history > ? AND history < ? ORDER BY history LIMIT ?"
        )
        found = []
        for *row, place in self._reader.execute(sql, (tenant_id, *places, limit)).fetchall():
            envelope = _logged(tuple(row)).envelope
            envelope.history = place
            found.append(envelope)
        return found

    def page(
        self, after_sequence: int, limit: int, type: str | None, subject: str | None, tenant_id: str | None
    ) -> LogPage:
        """Return events on disk with greater sequence numbers. One call reads a bounded part of the log."""
        to = min(after_sequence + _SCAN_ROWS, self.durable_sequence)
        wanted = {"type": type, "subject": subject, "tenant_id": tenant_id}
        conditions = {f"{column} = ?": value for column, value in wanted.items() if value is not None}
        where = " AND ".join(["sequence > ?", "sequence <= ?", *conditions])
        sql = f"SELECT {_COLUMNS} FROM events WHERE {where} ORDER BY sequence LIMIT ?"
        rows = self._reader.execute(sql, (after_sequence, to, *conditions.values(), limit)).fetchall()
        events = [_logged(row) for row in rows]
        return LogPage(events, events[-1].sequence if len(events) == limit else max(to, after_sequence))

    @property
    def low_water_mark(self) -> int:
        """The sequence number below which every consumer has finished every event."""
        return self._low_water

    @low_water_mark.setter
    def low_water_mark(self, sequence: int) -> None:
        # It is stored with the next batch. An old mark is harmless: a recovery reads a few more events.
        self._low_water = sequence

    # Calls of the journal

    def drain(self) -> list[Statement]:
        statements: list[Statement] = []
        if self._rows:
            statements.append((_INSERT_EVENT, self._rows, True))
        if self._markers:
            statements.append((_INSERT_INBOX, [tuple(marker) for marker in self._markers], True))
        if self._acknowledged:
            statements.append((_INSERT_ACKNOWLEDGEMENT, list(self._acknowledged), False))
        if self._low_water != self._stored_low_water:
            statements.append((_SET_LOW_WATER, [(self._low_water,)], False))
            statements.append((_FORGET_ACKNOWLEDGEMENTS, [(self._low_water,)], False))
            self._stored_low_water = self._low_water
        self._rows = []
        self._events_in_flight, self._events = self._events, []
        self._markers_in_flight, self._markers = self._markers, set()
        self._acknowledged_in_flight, self._acknowledged = self._acknowledged, set()
        return statements

    def settled(self) -> None:
        self.durable_sequence += len(self._events_in_flight)
        self._events_in_flight = []
        self._markers_in_flight = set()
        self._acknowledged_in_flight = set()

    def dropped(self) -> None:
        self._rows, self._events, self._events_in_flight = [], [], []
        self._markers, self._markers_in_flight = set(), set()
        self._acknowledged, self._acknowledged_in_flight = set(), set()
        self._recent.clear()
        self._read_positions()

    def _read_positions(self) -> None:
        self.head_sequence = self._reader.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0]
        self.durable_sequence = self.head_sequence
        row = self._reader.execute("SELECT value FROM meta WHERE name = 'low_water_mark'").fetchone()
        self._low_water = self._stored_low_water = row[0] if row else 0

    def _greatest_marker(self, key: tuple[str, str]) -> str:
        sql = "SELECT coalesce(max(event_id), '') FROM inbox WHERE consumer = ? AND source = ?"
        stored: str = self._reader.execute(sql, key).fetchone()[0]
        pending = (row for part in (self._markers, self._markers_in_flight) for row in part)
        return max([stored, *(row[2] for row in pending if row[:2] == key)])


def _logged(row: tuple[Any, ...]) -> LoggedEvent:
    sequence, id, source, type, subject, time, extensions, data, topic = row
    envelope = Envelope(id, source, type, subject, time, orjson.loads(extensions), data=data, topic=topic)
    return LoggedEvent(sequence, envelope)
