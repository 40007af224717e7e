"""The embedded store: documents, ledger, log and nonces in one SQLite file, behind the ports.

The core applies commits in memory, and one writer makes them durable in the same order, many with one fsync. The
state on disk is always a prefix of the commits (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Literal, Self

from shared.adapters.memory.local_cache import LocalCache
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.sqlite.journal import Journal
from shared.adapters.sqlite.ledger import SqliteLedger
from shared.adapters.sqlite.log import Listener, LoggedEvent, LogPage, SqliteLog
from shared.adapters.sqlite.nonces import SqliteNonces
from shared.adapters.sqlite.reader import Reader
from shared.adapters.sqlite.schema import LOCK, DataDirectoryInUse, SchemaTooNew, make_data_dir
from shared.adapters.sqlite.writer import ProcessWriter, Report, ThreadWriter, Writer, WriterFailed
from shared.core.clock import Clock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import Collection, InboxMarker, Unavailable

__all__ = ["DataDirectoryInUse", "LogPage", "LoggedEvent", "NotWritten", "SchemaTooNew", "SqliteStore", "WriterFailed"]

log = logging.getLogger(__name__)
CLOSE_SECONDS: Final = 5.0
_LOCK_PAUSE_SECONDS: Final = 0.05

WriterKind = Literal["thread", "process"]


class NotWritten(Exception):
    """The store was closed and some commits are not on disk. The text has the reason."""


class SqliteStore:
    """An open data directory. All methods run on the event loop that opened it."""

    def __init__(
        self,
        journal: Journal,
        reader: Reader,
        collections: Iterable[Collection[Any, ...]],
        settings: Settings,
        clock: Clock,
    ) -> None:
        """Called by `open` when the writer is ready: the file must not be read before."""
        self._journal = journal
        self._reader = reader
        self._log = SqliteLog(journal, reader)
        self.documents = SqliteDocuments(
            journal, reader, self._log, collections, cached=settings.document_cache_entries
        )
        self.ledger = SqliteLedger(journal, reader, cached=settings.document_cache_entries)
        self.cache = LocalCache(clock, values=settings.cache_entries, deadlines=settings.cache_deadlines)
        self.nonces = SqliteNonces(journal, reader, clock)
        for part in (self.documents, self.ledger, self._log, self.nonces):
            journal.add(part)
        self._lock: int | None = None

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        *,
        collections: Iterable[Collection[Any, ...]],
        settings: Settings,
        clock: Clock,
        writer: WriterKind = "thread",
    ) -> Self:
        """Open a data directory. If necessary, create it, and migrate its file to this version and these collections.

        Raises DataDirectoryInUse when another core, or the writer of a killed one, has not released it within
        `data_lock_seconds`; SchemaTooNew when a newer version of Lastro wrote it; WriterFailed.
        """
        make_data_dir(data_dir)
        async with AsyncExitStack() as undo:
            lock = await _take_lock(data_dir, settings.data_lock_seconds)
            undo.callback(os.close, lock)
            journal = Journal(
                _writer_factory(data_dir, writer, lock),
                lambda: shutil.disk_usage(data_dir).free,
                interval=settings.store_batch_seconds,
                limit_bytes=settings.store_queue_bytes,
            )
            await journal.start()
            undo.push_async_callback(journal.close, CLOSE_SECONDS)
            reader = Reader.open(data_dir)
            undo.callback(reader.close)
            store = cls(journal, reader, collections, settings, clock)
            await store._define()
            undo.pop_all()
        store._lock = lock
        return store

    async def _define(self) -> None:
        try:
            await self.documents.define()
        except Unavailable as error:
            raise WriterFailed(f"the collections cannot be defined: {error}") from None

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write all remaining changes, within `seconds`, and release the directory. A second call does nothing.

        Raises NotWritten when commits are not on disk.
        """
        if self._lock is None:
            return
        self._journal.touch(0)  # the low-water mark is stored with the batch
        try:
            wrong = await self._journal.close(seconds)
            if wrong is not None:
                raise NotWritten(self._not_written(wrong))
        finally:
            self._reader.close()
            os.close(self._lock)
            self._lock = None

    def _not_written(self, wrong: str) -> str:
        first, last = self._log.durable_sequence + 1, self._log.head_sequence
        if last < first:
            return f"the store was not closed properly: {wrong}; every event is on disk"
        lost = last - first + 1
        return (
            f"the store was not closed properly: {wrong}; {lost} events (numbers {first} to {last}) and their commits "
            "are not on disk. No client received a response to them; the next start continues from the state on disk"
        )

    def trouble(self) -> str | None:
        """The reason for which the store cannot be used now, or None."""
        return self._journal.refusing or self._reader.trouble()

    # The log, as the broker and the command line use it

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each commit's events when it is applied, before they are on disk. It must not raise."""
        self._log.subscribe(listener)

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Call `callback` when events that listeners have received are lost: they must begin again from the log."""
        self._journal.on_reset(callback)

    def acknowledge(self, sequence: int, consumer: str) -> None:
        """Record that a consumer will not apply an event: it is dead-lettered, or no filter matched."""
        self._log.acknowledge(sequence, consumer)

    def applied(self, consumer: str, envelope: Envelope) -> bool:
        """Return whether a consumer has applied an event (inbox marker). Mostly answered from memory."""
        return self._log.applied(InboxMarker(consumer, envelope.source, envelope.id))

    def acknowledged(self, consumer: str, sequence: int, envelope: Envelope) -> bool:
        """Return whether a consumer has applied an event (inbox marker) or has acknowledged it (`acknowledge`)."""
        return self._log.acknowledged(consumer, sequence, envelope)

    def pending_events(self, from_sequence: int, limit: int) -> list[LoggedEvent]:
        """Return events from a sequence number on, oldest first, including those that are not on disk yet."""
        return self._log.pending_events(from_sequence, limit)

    def event_log(
        self,
        after_sequence: int,
        limit: int,
        type: str | None = None,
        subject: str | None = None,
        tenant: str | None = None,
    ) -> LogPage:
        """Return events on disk with greater sequence numbers. One call reads a bounded part; continue from
        `read_to`."""
        return self._log.page(after_sequence, limit, type, subject, tenant)

    @property
    def low_water_mark(self) -> int:
        """The sequence number below which every consumer has finished every event. A recovery begins here."""
        return self._log.low_water_mark

    @low_water_mark.setter
    def low_water_mark(self, sequence: int) -> None:
        self._log.low_water_mark = sequence

    @property
    def head_sequence(self) -> int:
        """The sequence number of the last committed event; 0 when there is none."""
        return self._log.head_sequence

    @property
    def durable_sequence(self) -> int:
        """The sequence number of the last event that is on disk."""
        return self._log.durable_sequence

    # Figures that the platform shows

    @property
    def generation(self) -> int:
        """The number of times that memory was dropped since the store was opened."""
        return self._journal.generation

    @property
    def batches(self) -> int:
        """The number of batches that were made durable since the store was opened."""
        return self._journal.batches

    @property
    def document_misses(self) -> int:
        """The number of times that a document was not in memory since the store was opened."""
        return self.documents.misses


def _writer_factory(
    data_dir: Path, kind: WriterKind, lock: int
) -> Callable[[Report, Callable[[], None], bool], Writer]:
    def make(report: Report, lost: Callable[[], None], again: bool) -> Writer:
        if kind == "thread":
            return ThreadWriter(data_dir, report, lost)
        return ProcessWriter(data_dir, report, lost, lock, again=again)

    return make


async def _take_lock(data_dir: Path, seconds: float) -> int:
    """Lock the directory. The writer process inherits the lock, which is free when both processes have ended."""
    lock = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    give_up = asyncio.get_running_loop().time() + seconds
    waiting = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() >= give_up:
                os.close(lock)
                raise DataDirectoryInUse(f"the data directory {data_dir} is in use by another Lastro process") from None
            if not waiting:
                waiting = True
                log.debug("waiting for the data directory %s: another Lastro process uses it", data_dir)
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)
        else:
            return lock
