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
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from shared.adapters.sqlite.apart import DurableLedger, LogPublisher
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.sqlite.journal import Journal
from shared.adapters.sqlite.ledger import SqliteLedger
from shared.adapters.sqlite.log import Listener, LoggedEvent, LogPage, SqliteLog
from shared.adapters.sqlite.log_bus import LogBus
from shared.adapters.sqlite.nonces import SqliteNonces
from shared.adapters.sqlite.reader import Reader
from shared.adapters.sqlite.schema import LOCK, SchemaTooNew, make_data_dir
from shared.adapters.sqlite.writer import ProcessWriter, Report, ThreadWriter, Writer, WriterFailed
from shared.core.clock import Clock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import PLATFORM, Collection, Commit, InboxMarker, Unavailable
from shared.ports.ledger import LedgerStore
from shared.ports.lifecycle import CLOSE_SECONDS, Adapter, AdapterOptions, NotOpened, WriterKind

__all__ = ["LogPage", "LoggedEvent", "NotWritten", "SqliteStore"]

log = logging.getLogger(__name__)
_LOCK_PAUSE_SECONDS: Final = 0.05


class NotWritten(Exception):
    """The store was closed and some commits are not on disk. The text has the reason."""


class SqliteStore(Adapter):
    """The embedded store in a data directory. All methods run on the event loop that opened it."""

    adapter_name = "store"
    documents: SqliteDocuments
    ledger: LedgerStore
    nonces: SqliteNonces
    bus: LogBus | LogPublisher
    _journal: Journal
    _reader: Reader
    _log: SqliteLog

    def __init__(
        self,
        data_dir: Path,
        *,
        collections: Iterable[Collection[Any, ...]],
        settings: Settings,
        clock: Clock,
        writer: WriterKind = "thread",
        has_inbox: bool = True,
    ) -> None:
        """The ports exist when the store is open. `has_inbox` is False when the documents, with the outbox and the
        inbox, are in another store (see shared.adapters.sqlite.apart).

        Opening creates the directory if necessary, and migrates its file to this version and these collections. It
        fails when another process, or the writer of a killed one, has not released the directory within
        `data_lock_seconds`, and when a newer version of Lastro wrote the file.
        """
        self._data_dir = data_dir
        self._collections = collections
        self._settings = settings
        self._clock = clock
        self._writer: WriterKind = writer
        self.has_inbox = has_inbox

    async def _open(self, closing: AsyncExitStack) -> None:
        try:
            await self._open_parts(closing)
        except (SchemaTooNew, WriterFailed, sqlite3.Error) as error:
            raise NotOpened(str(error)) from None
        except OSError as error:
            raise NotOpened(f"{error.filename or self._data_dir}: {error.strerror or error}") from None

    async def _open_parts(self, closing: AsyncExitStack) -> None:
        settings, data_dir = self._settings, self._data_dir
        make_data_dir(data_dir)
        lock = await _take_lock(data_dir, settings.data_lock_seconds)
        closing.callback(os.close, lock)
        self._journal = journal = Journal(
            _writer_factory(data_dir, self._writer, lock),
            lambda: shutil.disk_usage(data_dir).free,
            interval=settings.store_batch_seconds,
            limit_bytes=settings.store_queue_bytes,
        )
        closing.push_async_callback(journal.close, CLOSE_SECONDS)
        await journal.start()
        # The file must not be read before the writer has migrated it.
        self._reader = Reader.open(data_dir)
        closing.callback(self._reader.close)
        self._make_parts(journal, self._reader, closing)
        try:
            await self.documents.define()
        except Unavailable as error:
            raise WriterFailed(f"the collections cannot be defined: {error}") from None
        journal.bound_waits(settings.store_seconds)
        closing.push_async_callback(self._write_rest)

    def _make_parts(self, journal: Journal, reader: Reader, closing: AsyncExitStack) -> None:
        cached = self._settings.document_cache_entries
        self._log = SqliteLog(journal, reader)
        self.documents = SqliteDocuments(journal, reader, self._log, self._collections, cached=cached)
        ledger = SqliteLedger(journal, reader, cached=cached)
        self.nonces = SqliteNonces(journal, reader, self._clock)
        for part in (self.documents, ledger, self._log, self.nonces):
            journal.add(part)
        self.ledger = ledger if self.has_inbox else DurableLedger(ledger, journal)
        self.bus = LogBus() if self.has_inbox else LogPublisher(self.documents)
        closing.callback(self.documents.close)
        closing.callback(ledger.close)
        closing.push_async_callback(self.bus.aclose)

    on_finished = None
    """The log does not need to know which events are finished: `low_water_mark` says it."""

    async def append(self, envelope: Envelope) -> None:
        """Add an event of the platform to the log. Raises Unavailable."""
        await self.documents.commit(Commit(PLATFORM, events=[envelope]))

    async def durable(self) -> None:
        """Wait until all commits are on disk. Raises Unavailable."""
        await self.documents.durable()

    async def _write_rest(self) -> None:
        """Write all remaining changes. Raises NotWritten when commits are not on disk."""
        self._journal.touch(0)  # the low-water mark is stored with the batch
        wrong = await self._journal.close(self.close_seconds)
        if wrong is not None:
            raise NotWritten(self._not_written(wrong))

    def _not_written(self, wrong: str) -> str:
        first, last = self._log.durable_sequence + 1, self._log.head_sequence
        lost = "the last changes, which have no events,"
        if last >= first:
            lost = f"{last - first + 1} events (numbers {first} to {last}) and their commits"
        return (
            f"the store was not closed properly: {wrong}; {lost} are not on disk, as far as the writer has reported. "
            "No client was told that they succeeded; the next start continues from the state on disk"
        )

    async def trouble(self) -> str | None:
        return await super().trouble() or self._journal.refusing or self._reader.trouble()

    # The log, as the broker and the command line use it

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each commit's events when it is applied, before they are on disk. It must not raise."""
        self._log.subscribe(listener)

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Call `callback` when commits are accepted again after they were refused or lost. Listeners must begin again
        from the log: events that they received may be lost, and their own commits may have failed."""
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


def sqlite_store(options: AdapterOptions) -> SqliteStore:
    """Return the store of the data directory."""
    settings = options.settings if options.waits else options.settings._replace(data_lock_seconds=0.0)
    return SqliteStore(
        settings.data_path,
        collections=options.collections(),
        settings=settings,
        clock=options.clock,
        writer=options.writer,
        has_inbox="documents" in options.ports,
    )


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
    try:
        await _wait_for_lock(lock, data_dir, seconds)
    except BaseException:
        os.close(lock)
        raise
    return lock


async def _wait_for_lock(lock: int, data_dir: Path, seconds: float) -> None:
    give_up = asyncio.get_running_loop().time() + seconds
    waiting = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() >= give_up:
                raise NotOpened(
                    f"the data directory {data_dir} is in use by another Lastro process: stop that process, or set "
                    "LASTRO_DATA_DIR to another directory"
                ) from None
            if not waiting:
                waiting = True
                log.debug("waiting for the data directory %s: another Lastro process uses it", data_dir)
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)
        else:
            return
