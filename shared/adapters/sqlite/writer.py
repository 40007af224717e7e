"""The writer: makes batches of statements durable, in their order, and reports each.

It has no knowledge of the tables. A batch is one transaction and one fsync; the state on disk is always a prefix of
the submitted batches. Tests and functions started alone use `ThreadWriter`, the platform `ProcessWriter`: SQLite
releases the interpreter lock at every statement, so that a batch takes three times as long in a thread
(docs/decisions/0011).

Run as a module, this file is the writer process. It ends when it has read its socket to the end: when the core is
killed, the batches that it had submitted still become durable.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import marshal
import os
import queue
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, cast

from shared.adapters.sqlite.schema import CannotOpen, SchemaTooNew, is_refusal, open_for_writing
from shared.core.crash_points import VARIABLE, reach
from shared.telemetry.logs import Logs

log = logging.getLogger(__name__)
Row = tuple[Any, ...]
Statement = tuple[str, list[Row], bool]
"""SQL, its rows of parameters (none: run it once), and whether each row must change exactly one row of the table."""

Report = Callable[[int, str | None], None]
"""Called on the event loop with the number of a batch and its error; None means that the batch is on disk."""

CANNOT_WRITE: Final = "cannot write: "
"""The beginning of a report when no batch can be written, for example because the disk is full."""

READY: Final = 0
"""The batch number with which a writer reports that it is open."""

_FRAME: Final = struct.Struct("!QI")
# Bytes of rows between two checkpoints. A checkpoint blocks writing, so at moderate load it is made often and is
# short: with eight times this bound it takes 0.1 s, which delays one request in twenty. Large batches mean that the
# queue is never empty. Then throughput counts, and fewer checkpoints move fewer pages, because many pages are written
# repeatedly.
_CHECKPOINT_BYTES: Final = 1024 * 1024
_CHECKPOINT_BYTES_SATURATED: Final = 8 * 1024 * 1024
_LARGE_BATCH_BYTES: Final = 128 * 1024
_START_SECONDS: Final = 30.0


class WriterFailed(Exception):
    """The writer could not be started."""


class Writer(Protocol):
    """Makes batches durable. `submit` never blocks; reports are made in the order of submission."""

    async def start(self) -> None:
        """Open the file and migrate it to this version. Raises WriterFailed or SchemaTooNew."""
        ...

    def submit(self, number: int, statements: list[Statement]) -> None:
        """Queue a batch of statements for one transaction. The report names the batch by `number`."""
        ...

    async def close(self, seconds: float) -> bool:
        """Return True when all submitted batches are written and the file is closed, or False after `seconds`. Then a
        writer process is killed. Also ends a writer whose `start` failed or was cancelled."""
        ...


class BatchRunner:
    """Runs batches on the writing connection, and checkpoints between them."""

    def __init__(self, data_dir: Path) -> None:
        self._connection = open_for_writing(data_dir)
        self._written = 0
        self._bound = _CHECKPOINT_BYTES

    def run(self, statements: list[Statement], size: int) -> str | None:
        """Run the statements in one transaction. Returns the error, or None when the transaction is on disk."""
        reach("writer.received")
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for sql, rows, exact in statements:
                self._run(sql, rows, exact)
            reach("writer.applied")
            execute("COMMIT")
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and is_refusal(error):
                return f"{CANNOT_WRITE}{error}"
            return f"{type(error).__name__}: {error}"
        reach("writer.committed")
        self._written += size
        self._bound = _CHECKPOINT_BYTES if size < _LARGE_BATCH_BYTES else _CHECKPOINT_BYTES_SATURATED
        return None

    def _run(self, sql: str, rows: list[Row], exact: bool) -> None:
        if not rows:
            self._connection.execute(sql)
            return
        changed = self._connection.executemany(sql, rows).rowcount
        if exact and changed != len(rows):
            raise sqlite3.IntegrityError(f"{len(rows)} rows should have changed and {changed} did: {sql}")

    def checkpoint_when_due(self) -> None:
        """Make a checkpoint when the WAL is long. Called after the report of a batch, so that no commit waits for
        it."""
        if self._written < self._bound:
            return
        try:
            busy = self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0]
        except sqlite3.Error:
            return
        if not busy:
            self._written = 0

    def close(self) -> None:
        """Close the connection, which moves the WAL into the database."""
        self._connection.close()


class ThreadWriter:
    """A writer in a thread of this process."""

    def __init__(self, data_dir: Path, report: Report, lost: Callable[[], None]) -> None:
        del lost  # a thread cannot end without its process
        self._data_dir = data_dir
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[int, list[Statement]] | None] = queue.SimpleQueue()
        self._opened: asyncio.Future[BatchRunner] = self._loop.create_future()
        self._closed = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="lastro-writer", daemon=True)

    async def start(self) -> None:
        self._thread.start()
        await self._opened

    def submit(self, number: int, statements: list[Statement]) -> None:
        self._queue.put((number, statements))

    async def close(self, seconds: float) -> bool:
        if self._thread.ident is None:  # it was not started
            return True
        self._queue.put(None)
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return False
        self._thread.join()
        return True

    def _call_on_loop(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the event loop is closed, so no request waits for the report
            return

    def _work(self) -> None:
        try:
            self._write()
        finally:
            self._call_on_loop(self._closed.set)

    def _write(self) -> None:
        try:
            runner = BatchRunner(self._data_dir)
        except CannotOpen as error:
            self._call_on_loop(_fail, self._opened, WriterFailed(str(error)))
            return
        except Exception as error:  # noqa: BLE001 - any error is reported to the caller of `start`
            self._call_on_loop(_fail, self._opened, error)
            return
        self._call_on_loop(_settle, self._opened, runner)
        while (work := self._queue.get()) is not None:
            number, statements = work
            error_text = runner.run(statements, _weight(statements))
            self._call_on_loop(self._report, number, error_text)
            reach("writer.reported")
            runner.checkpoint_when_due()
        runner.close()


def _settle(future: asyncio.Future[BatchRunner], runner: BatchRunner) -> None:
    if not future.done():
        future.set_result(runner)


def _fail(future: asyncio.Future[BatchRunner], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _weight(statements: list[Statement]) -> int:
    return sum(len(rows) for _, rows, _ in statements) * 512


class ProcessWriter(asyncio.Protocol):
    """A writer in a process of its own, behind a socket pair."""

    def __init__(self, data_dir: Path, report: Report, lost: Callable[[], None], lock: int, *, again: bool) -> None:
        """`lock` is the data directory's lock, which the process holds as long as it lives; `again` says that
        an earlier writer of this core was lost."""
        self._data_dir = data_dir
        self._report = report
        self._lost = lost
        self._lock = lock
        self._again = again
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._opened: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._closing = False

    @property
    def pid(self) -> int:
        """The process's id, for tests that kill it."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
        with theirs:
            # In its own session: Ctrl-C in the terminal stops the core, which then waits for the writer.
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - once, at start; this very interpreter
                # -P: a folder `shared` in the current directory must not be imported instead of this package.
                [sys.executable, "-P", "-m", __name__, str(self._data_dir), str(theirs.fileno())],
                pass_fds=(theirs.fileno(), self._lock),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=_environment(armed=not self._again),
            )
        ours.setblocking(False)
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, sock=ours)
            async with asyncio.timeout(_START_SECONDS):
                error = await self._opened
        except TimeoutError:
            raise WriterFailed(f"the store's writer did not start within {_START_SECONDS:g} s") from None
        finally:
            if self._transport is None:
                ours.close()
        if error is not None:
            kind, _, text = error.partition(": ")
            raise SchemaTooNew(text) if kind == SchemaTooNew.__name__ else WriterFailed(text or error)

    def submit(self, number: int, statements: list[Statement]) -> None:
        payload = marshal.dumps(statements)
        if self._transport is not None:
            self._transport.write(_FRAME.pack(number, len(payload)) + payload)

    async def close(self, seconds: float) -> bool:
        self._closing = True
        if self._process is None:  # it was not started
            return True
        if self._transport is None or not self._opened.done() or self._opened.cancelled():
            # Nothing was submitted to it.
            self._process.kill()
        if self._transport is None:
            self._ended.set()
        elif self._transport.can_write_eof() and not self._ended.is_set():
            self._transport.write_eof()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
                await self._reaped()
        except TimeoutError:
            # The process is stopped, or waits for a disk that hangs. It is killed, so that it releases the data
            # directory; its unwritten changes were never acknowledged. If it waits for the disk, it ends when the
            # disk answers.
            self._process.kill()
            if self._transport is not None:
                self._transport.abort()
            return False
        return True

    async def _reaped(self) -> None:
        while self._process is not None and self._process.poll() is None:  # noqa: ASYNC110 - it ends by itself
            await asyncio.sleep(0.005)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the methods of asyncio.Transport but does not inherit from it.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        while len(buffer) >= _FRAME.size:
            number, length = _FRAME.unpack_from(buffer)
            end = _FRAME.size + length
            if len(buffer) < end:
                break
            error = buffer[_FRAME.size : end].decode() or None
            buffer = buffer[end:]
            if number == READY and not self._opened.done():
                self._opened.set_result(error)
            else:
                self._report(number, error)
        self._buffer = buffer

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        self._ended.set()
        if not self._opened.done():
            self._opened.set_result("the writer ended before it was open")
        elif not self._closing:
            self._lost()


def _environment(*, armed: bool) -> dict[str, str]:
    """Return the child's environment, in which it imports this package from the same place."""
    root = str(Path(__file__).resolve().parents[3])
    inherited = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}
    if not armed:  # a crash point is armed in one process only; otherwise each new writer would be killed at it
        environment.pop(VARIABLE, None)
    return environment


def _receive(connection: socket.socket, size: int) -> bytes | None:
    """Return exactly `size` bytes, or None when the core ended before it sent them."""
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if count == 0:
            return None
        filled += count
    return bytes(buffer)


def _send(connection: socket.socket, number: int, error: str | None) -> None:
    text = (error or "").encode("utf-8", "replace")
    try:
        connection.sendall(_FRAME.pack(number, len(text)) + text)
    except (BrokenPipeError, ConnectionResetError):
        return  # the core has ended; its submitted batches are still written


def serve(data_dir: Path, connection: socket.socket) -> None:
    """Write every batch that arrives, until the core closes the socket."""
    try:
        runner = BatchRunner(data_dir)
    except (sqlite3.Error, SchemaTooNew, CannotOpen, OSError) as error:
        _send(connection, READY, f"{type(error).__name__}: {error}")
        return
    _send(connection, READY, None)
    while (header := _receive(connection, _FRAME.size)) is not None:
        number, length = _FRAME.unpack(header)
        payload = _receive(connection, length)
        if payload is None:
            break
        _send(connection, number, runner.run(marshal.loads(payload), length))  # noqa: S302 - from our own parent
        reach("writer.reported")
        runner.checkpoint_when_due()
    runner.close()


def main() -> None:
    """Run the writer process. Arguments: the data directory and the file descriptor of the socket."""
    # It ends when the core has ended and everything is written, not by a signal to the process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.disable()  # rows are tuples of text and numbers, so there are no reference cycles to collect
    logs = Logs(os.environ.get("LASTRO_LOG_LEVEL") or "info", os.environ.get("LASTRO_LOG_FORMAT", ""))
    with socket.socket(fileno=int(sys.argv[2])) as connection:
        try:
            serve(Path(sys.argv[1]), connection)
        except Exception:
            # The core notices that this process has ended, and starts another.
            log.exception("the store's writer failed")
            logs.close()
            sys.exit(1)


if __name__ == "__main__":
    main()
