"""The event log of the embedded store: the outbox and the broker's log in one, with the inbox beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from shared.adapters.sqlite_journal import Journal
from shared.adapters.sqlite_recent import RecentIds
from shared.adapters.sqlite_writer import Statement
from shared.envelope import Envelope
from shared.ports.documents import InboxMarker

_SCAN_ROWS: Final = 2000
_COLUMNS: Final = "sequence, id, source, type, subject, time, extensions, data"
_INSERT_EVENT: Final = (
    "INSERT INTO events (sequence, id, source, type, subject, time, tenant_id, extensions, data) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_INBOX: Final = "INSERT INTO inbox (consumer, source, event_id) VALUES (?, ?, ?)"
_INSERT_ACKNOWLEDGEMENT: Final = "INSERT OR IGNORE INTO acknowledgements (sequence, consumer) VALUES (?, ?)"
_SET_LOW_WATER: Final = "INSERT OR REPLACE INTO meta (name, value) VALUES ('low_water_mark', ?)"
_FORGET_ACKNOWLEDGEMENTS: Final = "DELETE FROM acknowledgements WHERE sequence < ?"

MarkerRow = tuple[str, str, str]


class LoggedEvent(NamedTuple):
    """An event at its place in the log. `first`: it was logged just now, so nobody was given it before."""

    sequence: int
    envelope: Envelope
    first: bool


class LogPage(NamedTuple):
    """Events that were looked for, and the sequence number up to which the log was read."""

    events: list[LoggedEvent]
    read_to: int


class SqliteLog:
    """Events with their sequence numbers, inbox markers, acknowledgements, and the low-water mark."""

    def __init__(self, journal: Journal, reader: sqlite3.Connection) -> None:
        self._journal = journal
        self._reader = reader
        self._listeners: list[Callable[[list[LoggedEvent]], None]] = []
        self._rows: list[Any] = []
        self._events: list[LoggedEvent] = []
        self._events_in_flight: list[LoggedEvent] = []
        self._markers: set[MarkerRow] = set()
        self._markers_in_flight: set[MarkerRow] = set()
        self._acknowledged: set[tuple[int, str]] = set()
        self._acknowledged_in_flight: set[tuple[int, str]] = set()
        self._recent: RecentIds[tuple[str, str]] = RecentIds(self._greatest_marker)
        self._low_water = self._stored_low_water = 0
        self.head_sequence = self.durable_sequence = 0
        self._read_positions()

    def subscribe(self, listener: Callable[[list[LoggedEvent]], None]) -> None:
        """Be given each commit's events right after the decision, before they are on disk."""
        self._listeners.append(listener)

    # Writing: called by the documents in the midst of a commit, so nothing here may fail after `prepare`

    @staticmethod
    def prepare(events: Iterable[Envelope]) -> list[list[Any]]:
        """The events as rows, their sequence numbers still to come. Raises TypeError for what is no JSON."""
        return [
            [
                0,
                event.id,
                event.source,
                event.type,
                event.subject,
                event.time,
                event.extensions.get("tenantid"),
                orjson.dumps(event.extensions).decode(),
                event.data,
            ]
            for event in events
        ]

    def append(self, events: Sequence[Envelope], prepared: list[list[Any]]) -> list[LoggedEvent]:
        """Give the events their sequence numbers."""
        sequence = self.head_sequence
        logged: list[LoggedEvent] = []
        for event, row in zip(events, prepared, strict=True):
            sequence += 1
            row[0] = sequence
            logged.append(LoggedEvent(sequence, event, True))
        self.head_sequence = sequence
        self._rows += prepared
        self._events += logged
        return logged

    def announce(self, logged: list[LoggedEvent]) -> None:
        """Tell the listeners."""
        for listener in self._listeners:
            listener(logged)

    def applied(self, consumer: str, source: str, event_id: str) -> bool:
        """Whether an inbox marker is there, on disk or on its way."""
        if self._recent.certainly_absent((consumer, source), event_id):
            return False
        row = (consumer, source, event_id)
        if row in self._markers or row in self._markers_in_flight:
            return True
        sql = "SELECT 1 FROM inbox WHERE consumer = ? AND source = ? AND event_id = ?"
        return self._reader.execute(sql, row).fetchone() is not None

    def mark(self, marker: InboxMarker) -> None:
        """Add an inbox marker that `applied` found absent."""
        self._markers.add((marker.consumer, marker.source, marker.event_id))
        self._recent.add((marker.consumer, marker.source), marker.event_id)

    def acknowledge(self, sequence: int, consumer: str) -> None:
        """Note that a consumer is done with an event without having applied it."""
        self._acknowledged.add((sequence, consumer))
        self._journal.touch(64)

    # Reading

    def acknowledged(self, consumer: str, sequence: int, envelope: Envelope) -> bool:
        """Whether a consumer has applied this event or is done with it otherwise."""
        if self.applied(consumer, envelope.source, envelope.id):
            return True
        key = (sequence, consumer)
        if key in self._acknowledged or key in self._acknowledged_in_flight:
            return True
        sql = "SELECT 1 FROM acknowledgements WHERE sequence = ? AND consumer = ?"
        return self._reader.execute(sql, key).fetchone() is not None

    def pending_events(self, from_sequence: int, limit: int) -> list[LoggedEvent]:
        """Events from a sequence number on, oldest first, those that are not on disk yet included."""
        sql = f"SELECT {_COLUMNS} FROM events WHERE sequence >= ? ORDER BY sequence LIMIT ?"
        found = [_logged(row) for row in self._reader.execute(sql, (from_sequence, limit)).fetchall()]
        last = found[-1].sequence if found else from_sequence - 1
        for part in (self._events_in_flight, self._events):
            if len(found) >= limit or not part or part[-1].sequence <= last:
                continue
            start = max(0, last + 1 - part[0].sequence)
            found += [
                LoggedEvent(item.sequence, item.envelope, False) for item in part[start : start + limit - len(found)]
            ]
            last = found[-1].sequence
        return found

    def page(
        self, after_sequence: int, limit: int, type: str | None, subject: str | None, tenant_id: str | None
    ) -> LogPage:
        """Events on disk behind a sequence number; a call reads a bounded stretch of the log."""
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
        """The sequence number before which every consumer is done with every event."""
        return self._low_water

    @low_water_mark.setter
    def low_water_mark(self, sequence: int) -> None:
        # It costs a recovery a little reading when it is old, so it goes along with the next batch.
        self._low_water = sequence

    # The journal's part

    def drain(self) -> list[Statement]:
        statements: list[Statement] = []
        if self._rows:
            statements.append((_INSERT_EVENT, self._rows, True))
        if self._markers:
            statements.append((_INSERT_INBOX, list(self._markers), True))
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
        if self._events_in_flight:
            self.durable_sequence = self._events_in_flight[-1].sequence
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
    sequence, id, source, type, subject, time, extensions, data = row
    envelope = Envelope(
        id=id, source=source, type=type, subject=subject, time=time, extensions=orjson.loads(extensions), data=data
    )
    return LoggedEvent(sequence, envelope, False)
