"""The embedded store in addition to its ports: the log, failed batches, bounds, the schema, and the immutable
ledger."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from typing_extensions import TypedDict

from shared.adapters.sqlite import reader as sqlite_reader
from shared.adapters.sqlite import schema as sqlite_schema
from shared.adapters.sqlite import tables
from shared.adapters.sqlite.hints import HINTS, Hints
from shared.adapters.sqlite.schema import DATABASE, MIGRATIONS, SchemaTooNew, open_for_writing
from shared.adapters.sqlite.store import NotWritten, SqliteStore
from shared.core.clock import ManualClock, SystemClock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import (
    AlreadyExists,
    Change,
    Collection,
    Commit,
    Document,
    Floor,
    GuardRefused,
    InboxMarker,
    Index,
    NoChanges,
    Place,
    Query,
    Unavailable,
    VersionConflict,
)
from shared.ports.ledger import Cause, Leg, Transfer
from shared.ports.lifecycle import NotOpened
from shared.records.accounts import HOLDS
from shared.records.catalogue import COLLECTIONS
from shared.records.deposits import DEPOSITS
from shared.records.payments import PAYMENTS, REFUNDS
from shared.records.statement_lines import ID_SEPARATOR
from tests.opening import open_adapter


class NoteDocument(Document):
    """A document with fields of any shape."""

    a: Any
    b: Any
    c: Any


class NoteChanges(TypedDict, total=False):
    """The fields that may change."""

    a: Any
    b: Any


class DueDocument(Document):
    """A document that a sweep looks for."""

    status: str
    due: str


class SumDocument(Document):
    """A document with sums."""

    posted: int
    held: int


class SumChanges(TypedDict, total=False):
    """The fields that may change."""

    posted: int
    held: int


def collection_of_notes(name: str, **rules: Any) -> Collection[Any, ...]:
    """Return a collection of notes with these indexes and floors."""
    return Collection(name, owner="tests", document=NoteDocument, changes=NoteChanges, **rules)


NOTES: Final = collection_of_notes("notes", indexes=(Index(("a",)),))
ODD: Final = collection_of_notes("odd", indexes=(Index(("a",)),))
FLOORED: Final = Collection(
    "floored",
    owner="tests",
    document=SumDocument,
    changes=SumChanges,
    floors=(Floor((("posted", 1), ("held", -1))),),
)
DUE: Final = Collection(
    "due",
    owner="tests",
    document=DueDocument,
    changes=NoChanges,
    indexes=(Index(("status",)), Index(("status", "due"), sparse=True)),
)


async def opened(data_dir: Path, *others: Collection[Any, ...], **settings: Any) -> SqliteStore:
    """Open a store of notes and of other collections, with its writer in a thread."""
    collections = (NOTES, *others)
    return await open_adapter(
        SqliteStore(data_dir, collections=collections, settings=Settings(**settings), clock=SystemClock())
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await opened(tmp_path / "data", ODD, FLOORED, DUE)
    yield store
    await store.aclose()


def note(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "tenant_id": "ten_1", "version": 1, "a": None, "b": None, "c": None, **fields}


def event(id: str, type: str = "t", subject: str = "x") -> Envelope:
    extensions = {"tenantid": "ten_1", "partitionkey": "ten_1/x", "causetype": "payment"}
    return Envelope(id=id, source="/s", type=type, subject=subject, time="2026", extensions=extensions, data=b'{"n":1}')


def inserting(*ids: str, **rest: Any) -> Commit:
    return Commit("ten_1", inserts=[(NOTES, note(id)) for id in ids], **rest)


def break_next_batch(store: SqliteStore) -> None:
    """Make the writer fail on the next batch, as a full disk would."""
    original = store.documents.drain

    def drain() -> Any:
        store.documents.drain = original  # type: ignore[method-assign]  # once only
        return [*original(), ("INSERT INTO nowhere VALUES (1)", [], False)]

    store.documents.drain = drain  # type: ignore[method-assign]  # a disk cannot be filled in a test


# The log


async def test_listeners_get_events_at_once_and_in_order(store: SqliteStore) -> None:
    """Events get increasing sequence numbers, and listeners get them before they are on disk."""
    heard: list[tuple[int, list[str]]] = []
    store.subscribe(lambda first, events: heard.append((first, [each.id for each in events])))
    await store.documents.commit(Commit("ten_1", events=[event("e1"), event("e2")]))
    assert heard == [(1, ["e1", "e2"])]
    assert (store.head_sequence, store.durable_sequence) == (2, 0)
    await store.documents.durable()
    assert store.durable_sequence == 2


async def test_pending_events_are_read_from_disk_and_memory(store: SqliteStore) -> None:
    """`pending_events` returns every event from a number on once, from disk or memory."""
    for number in range(1, 10):
        await store.documents.commit(Commit("ten_1", events=[event(f"e{number}")]))
        if number in (3, 6):
            await asyncio.sleep(0.01)
    for start in range(1, 11):
        found = store.pending_events(start, 4)
        assert [item.sequence for item in found] == list(range(start, min(start + 4, 10)))
        assert all(item.envelope.id == f"e{item.sequence}" for item in found)


async def test_the_log_stores_the_whole_event(tmp_path: Path) -> None:
    """After a restart an event has all its attributes and its data to the byte."""
    store = await opened(tmp_path / "data")
    await store.documents.commit(Commit("ten_1", events=[event("e1", subject="pay_1")]))
    await store.aclose()
    store = await opened(tmp_path / "data")
    read = store.pending_events(1, 10)[0].envelope
    assert (read.attributes(), read.data) == (event("e1", subject="pay_1").attributes(), b'{"n":1}')
    await store.aclose()


async def test_an_event_is_acknowledged_by_marker_or_by_the_broker(tmp_path: Path) -> None:
    """An inbox marker or an acknowledgement marks an event as finished for a consumer, also after a restart."""
    store = await opened(tmp_path / "data")
    await store.documents.commit(Commit("ten_1", events=[event("e1"), event("e2"), event("e3")]))
    await store.documents.commit(Commit("ten_1", inbox=InboxMarker("c", "/s", "e1")))
    store.acknowledge(2, "c")
    for _ in range(2):
        done = [store.acknowledged("c", number, event(f"e{number}")) for number in (1, 2, 3)]
        assert done == [True, True, False]
        assert not store.acknowledged("d", 2, event("e2"))
        await store.aclose()
        store = await opened(tmp_path / "data")
    await store.aclose()


async def test_the_low_water_mark_is_stored(tmp_path: Path) -> None:
    """The low-water mark is stored with a batch or at the end, and the acknowledgements below it are deleted."""
    store = await opened(tmp_path / "data")
    await store.documents.commit(Commit("ten_1", events=[event(f"e{number}") for number in range(1, 6)]))
    for number in range(1, 6):
        store.acknowledge(number, "c")
    await store.documents.durable()
    store.low_water_mark = 4
    await store.aclose()
    store = await opened(tmp_path / "data")
    assert store.low_water_mark == 4
    left = store._reader.execute("SELECT sequence FROM acknowledgements").fetchall()
    assert left == [(4,), (5,)]
    await store.aclose()


async def test_the_log_is_read_by_type_subject_and_tenant(store: SqliteStore) -> None:
    """A page has the number up to which the log was read, so that a reader continues also after an empty page."""
    events = [event(f"e{number}", f"t{number % 2}", f"pay_{number % 3}") for number in range(1, 13)]
    await store.documents.commit(Commit("ten_1", events=events))
    await store.documents.durable()
    page = store.event_log(0, 100, type="t0", subject="pay_0", tenant="ten_1")
    assert [item.sequence for item in page.events] == [6, 12]
    assert store.event_log(0, 1, type="t0", subject="pay_0").read_to == 6
    assert store.event_log(0, 100, tenant="ten_2") == ([], 12)
    assert store.event_log(12, 100) == ([], 12)


# Failure


async def test_a_failed_batch_is_lost(store: SqliteStore) -> None:
    """When a batch fails, waiting requests get Unavailable, memory is dropped, and the same commits can be made
    again."""
    await store.documents.commit(inserting("n1", events=[event("e1")]))
    await store.documents.durable()
    resets: list[int] = []
    store.on_reset(lambda: resets.append(store.generation))
    break_next_batch(store)
    marker = InboxMarker("c", "/s", "e1")
    await store.documents.commit(inserting("n2", events=[event("e2")], inbox=marker))
    with pytest.raises(Unavailable):
        await store.documents.durable()
    assert resets == [1]
    assert await store.documents.get(NOTES, "ten_1", "n1") is not None
    assert await store.documents.get(NOTES, "ten_1", "n2") is None
    assert not await store.documents.seen(marker)
    assert store.head_sequence == 1
    await store.documents.commit(inserting("n2", events=[event("e2")], inbox=marker))
    await store.documents.durable()
    assert [item.envelope.id for item in store.pending_events(1, 10)] == ["e1", "e2"]


async def test_commits_after_a_failed_batch_are_dropped_too(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits that follow a failed batch are lost with it, and the requests that wait for them get Unavailable."""
    break_next_batch(store)
    writer = store._journal._writer
    submit, held = writer.submit, asyncio.get_running_loop().create_future()
    monkeypatch.setattr(writer, "submit", lambda *batch: held.set_result(batch))
    await store.documents.commit(inserting("n1"))
    first = asyncio.create_task(store.documents.durable())
    batch = await held
    monkeypatch.setattr(writer, "submit", submit)
    await store.documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="y"))]))
    second = asyncio.create_task(store.documents.durable())
    await asyncio.sleep(0)
    submit(*batch)
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert list(await store.documents.find(NOTES, "ten_1", Query())) == []


async def test_a_commit_after_a_read_of_lost_documents_is_a_conflict(store: SqliteStore) -> None:
    """A commit whose reads were lost with a failed batch is a version conflict, also when the versions are equal."""
    await store.documents.commit(inserting("n1"))
    await store.documents.durable()
    token = store.documents.read_token
    break_next_batch(store)
    await store.documents.commit(inserting("n2"))
    with pytest.raises(Unavailable):
        await store.documents.durable()
    stale = Commit("ten_1", replaces=[(NOTES, note("n1"))], read_token=token)
    with pytest.raises(VersionConflict):
        await store.documents.commit(stale)
    with pytest.raises(Unavailable):
        await store.documents.durable(token)
    fresh = store.documents.read_token
    await store.documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1"))], read_token=fresh))
    await store.documents.durable(fresh)


async def test_an_answer_with_lost_reads_is_refused(store: SqliteStore) -> None:
    """A request whose reads were lost while it waited for something else gets Unavailable, also when nothing is
    pending."""
    from shared.http.pipeline import _Run

    runtime: Any = SimpleNamespace(documents=store.documents)
    anything: Any = None
    run = _Run(anything, anything, runtime, "req", "00")
    await store.documents.commit(inserting("n1"))
    await run.durable()
    break_next_batch(store)
    await store.documents.commit(inserting("n2"))
    assert await store.documents.get(NOTES, "ten_1", "n2") is not None
    while store.documents.read_token == run.read_token:  # noqa: ASYNC110 - the request waits for something else
        await asyncio.sleep(0.001)
    await store.documents.durable()
    with pytest.raises(Unavailable):
        await run.durable()


async def test_a_value_that_is_not_json_fails_only_its_own_commit(store: SqliteStore) -> None:
    """A document or event that cannot be serialised is refused before its commit is applied."""
    with pytest.raises(TypeError):
        await store.documents.commit(Commit("ten_1", inserts=[(NOTES, note("n1")), (NOTES, note("n2", a=object()))]))
    surrogate = event("e1")
    surrogate.extensions = {"x": "\ud800"}
    with pytest.raises(TypeError):
        await store.documents.commit(inserting("n1", events=[surrogate]))
    await store.documents.commit(inserting("n1"))
    await store.documents.durable()
    assert store.generation == 0


async def test_the_tables_check_floors_versions_and_keys_too(store: SqliteStore) -> None:
    """The tables also check floors, versions and keys, so that a faulty core cannot write wrong documents."""
    sums = {"id": "a", "tenant_id": "ten_1", "version": 1, "posted": 1, "held": 0}
    await store.documents.commit(Commit("ten_1", inserts=[(FLOORED, sums), (NOTES, note("n"))]))
    await store.documents.durable()
    writing = sqlite3.connect(store._reader.execute("PRAGMA database_list").fetchone()[2])
    for sql in (
        "UPDATE d_floored SET f_held = 2",
        "INSERT INTO d_notes SELECT * FROM d_notes",
        "INSERT INTO d_notes (tenant_id, id, version, body) VALUES ('t', 'i', 1, NULL)",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            writing.execute(sql)
    writing.close()
    with pytest.raises(GuardRefused):
        await store.documents.commit(Commit("ten_1", changes=[Change(FLOORED, "a", {"held": 2})]))


async def test_commits_wait_when_the_writer_is_behind(tmp_path: Path) -> None:
    """A commit beyond the bound of queued bytes waits until the writer has caught up."""
    store = await opened(tmp_path / "data", store_queue_bytes=1000)
    for number in range(50):
        await store.documents.commit(Commit("ten_1", inserts=[(NOTES, note(f"n{number}", a="x" * 500))]))
        assert store._journal._gathered_bytes < 3000
    assert len(await store.documents.find(NOTES, "ten_1", Query(limit=100))) == 50
    await store.aclose()


class HeldWriter:
    """Delays the batches of a store's writer until `release`."""

    def __init__(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self._store = store
        self._submit = store._journal._writer.submit
        self._held: list[tuple[Any, ...]] = []
        monkeypatch.setattr(store._journal._writer, "submit", lambda *batch: self._held.append(batch))

    def release(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Submit the delayed batches, and every batch from now on."""
        monkeypatch.setattr(self._store._journal._writer, "submit", self._submit)
        for batch in self._held:
            self._submit(*batch)


async def until_it_accepts(store: SqliteStore) -> None:
    while await store.trouble() is not None:  # noqa: ASYNC110 - the store has no event for it
        await asyncio.sleep(0.001)


async def test_no_wait_for_the_writer_is_longer_than_the_bound(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a batch is older than the bound, all requests that wait for it or for the next one get Unavailable, commits
    are refused with the reason, and nothing is lost; the report of the writer ends this state."""
    resets: list[int] = []
    store.on_reset(lambda: resets.append(store.generation))
    held = HeldWriter(store, monkeypatch)
    store._journal.bound_waits(0.05)
    await store.documents.commit(inserting("n1"))
    first = asyncio.create_task(store.documents.durable())
    await asyncio.sleep(0)
    while not store._journal._in_flight:  # noqa: ASYNC110 - the journal has no event for it
        await asyncio.sleep(0)
    await store.documents.commit(inserting("n2"))
    outcomes = await asyncio.gather(first, store.documents.durable(), return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert "LASTRO_STORE_SECONDS" in str(outcomes[0])
    assert await store.trouble() == str(outcomes[0])
    for refused in (store.documents.commit(inserting("n3")), store.documents.durable()):
        with pytest.raises(Unavailable):
            await refused
    store._journal.bound_waits(60)
    held.release(monkeypatch)
    await until_it_accepts(store)
    assert (resets, store.generation) == ([0], 0)
    await store.documents.commit(inserting("n3"))
    await store.documents.durable()
    assert len(await store.documents.find(NOTES, "ten_1", Query())) == 3


async def test_a_commit_waits_for_room_not_longer_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that waits for a blocked writer is refused after the bound."""
    store = await opened(tmp_path / "data", store_queue_bytes=1000)
    held = HeldWriter(store, monkeypatch)
    store._journal.bound_waits(0.05)
    commits = [Commit("ten_1", inserts=[(NOTES, note(f"n{number}", a="x" * 500))]) for number in range(50)]
    outcomes = await asyncio.gather(*map(store.documents.commit, commits), return_exceptions=True)
    assert outcomes[0] is None
    assert isinstance(outcomes[-1], Unavailable)
    store._journal.bound_waits(60)
    held.release(monkeypatch)
    await until_it_accepts(store)
    await store.aclose()


async def test_a_failed_batch_of_a_late_writer_is_lost(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a late batch fails, memory is dropped, and the store accepts commits again."""
    held = HeldWriter(store, monkeypatch)
    break_next_batch(store)
    store._journal.bound_waits(0.05)
    await store.documents.commit(inserting("n1"))
    with pytest.raises(Unavailable):
        await store.documents.durable()
    store._journal.bound_waits(60)
    held.release(monkeypatch)
    await until_it_accepts(store)
    assert store.generation == 1
    assert await store.documents.get(NOTES, "ten_1", "n1") is None


async def test_a_store_whose_writer_is_late_waits_for_it_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is closed while its writer is late is closed properly if the writer reports in time."""
    store = await opened(tmp_path / "data")
    held = HeldWriter(store, monkeypatch)
    store._journal.bound_waits(0.05)
    await store.documents.commit(inserting("n1"))
    with pytest.raises(Unavailable):
        await store.documents.durable()
    closing = asyncio.create_task(store.aclose())
    await asyncio.sleep(0)
    held.release(monkeypatch)
    await closing
    store = await opened(tmp_path / "data")
    assert await store.documents.get(NOTES, "ten_1", "n1") is not None
    await store.aclose()


async def test_a_store_that_is_closed_before_its_writer_has_answered_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the last commits are not on disk at the end, the error says so, also when they have no events."""
    store = await opened(tmp_path / "data")
    HeldWriter(store, monkeypatch)
    await store.documents.commit(inserting("n1"))
    with pytest.raises(NotWritten) as found:
        await store.aclose(0.05)
    assert "the last changes, which have no events, are not on disk" in str(found.value)


async def test_a_closed_store_refuses(tmp_path: Path) -> None:
    """After `close` every call is refused, and a second `close` does nothing."""
    store = await opened(tmp_path / "data")
    await store.documents.commit(inserting("n1"))
    await store.aclose()
    await store.aclose()
    with pytest.raises(Unavailable):
        await store.documents.commit(inserting("n2"))


# The directory and its schema


async def test_the_directory_is_the_owners_and_one_cores(tmp_path: Path) -> None:
    """The directory has mode 0700 and the file 0600, and a second core is refused with the directory's name."""
    store = await opened(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / DATABASE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(NotOpened, match=str(tmp_path / "data")):
        await opened(tmp_path / "data", data_lock_seconds=0.1)
    await store.aclose()
    await (await opened(tmp_path / "data", data_lock_seconds=0.1)).aclose()


@pytest.mark.parametrize("writer", ["thread", "process"])
async def test_a_newer_file_is_refused(tmp_path: Path, writer: Any) -> None:
    """A file of a newer schema version is refused and not changed, and the lock is released."""
    await (await opened(tmp_path / "data")).aclose()
    with sqlite3.connect(tmp_path / "data" / DATABASE) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    for _ in range(2):
        settings = Settings(data_lock_seconds=0.1)
        with pytest.raises(NotOpened, match=f"version {len(MIGRATIONS) + 1}"):
            await open_adapter(
                SqliteStore(
                    tmp_path / "data", collections=(NOTES,), settings=settings, clock=SystemClock(), writer=writer
                )
            )


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list the open files of a process")
def test_a_refused_file_is_not_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refusal, the connection to the file is closed, also while the exception is referenced."""
    sqlite_schema.make_data_dir(tmp_path)
    open_for_writing(tmp_path).close()
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", MIGRATIONS[:-1])
    with pytest.raises(SchemaTooNew) as refused:
        open_for_writing(tmp_path)
    open_files = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    assert refused.value.__traceback__ is not None
    assert os.path.realpath(tmp_path / DATABASE) not in open_files


@pytest.mark.parametrize("writer", ["thread", "process"])
async def test_a_store_that_cannot_be_read_releases_the_directory(
    tmp_path: Path, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When opening fails after the writer has started, the writer is ended, and the directory can be opened again at
    once."""

    def out_of_files(data_dir: Path, _factory: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError(f"unable to open {data_dir}")

    threads = set(threading.enumerate())
    settings = Settings(data_lock_seconds=0.0)
    with monkeypatch.context() as failing:
        failing.setattr(sqlite_reader, "open_for_reading", out_of_files)
        with pytest.raises(Unavailable, match="unable to open"):
            await open_adapter(
                SqliteStore(
                    tmp_path / "data", collections=(NOTES,), settings=settings, clock=SystemClock(), writer=writer
                )
            )
    await (await opened(tmp_path / "data", data_lock_seconds=0.0)).aclose()
    assert set(threading.enumerate()) <= threads


async def test_a_file_that_is_whole_again_is_read_at_once(tmp_path: Path) -> None:
    """What was damaged can be read when the file is put back, also if nothing was committed meanwhile."""
    data_dir, tall = tmp_path / "data", "x" * 4000
    store = await opened(data_dir)
    await store.documents.commit(Commit("ten_1", inserts=[(NOTES, note(f"n{number}", c=tall)) for number in range(50)]))
    await store.aclose()
    whole = (data_dir / DATABASE).read_bytes()
    store = await opened(data_dir)
    (data_dir / DATABASE).write_bytes(whole[: len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2))
    with pytest.raises(Unavailable, match="is damaged"):
        await asyncio.gather(*(store.documents.get(NOTES, "ten_1", f"n{number}") for number in range(50)))
    assert "is damaged" in (await store.trouble() or "")
    (data_dir / DATABASE).write_bytes(whole)
    assert await store.trouble() is None
    await store.aclose()


async def test_an_old_file_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of any older version is migrated to this one with all rows."""
    for version in range(len(MIGRATIONS)):
        data = tmp_path / f"data{version}"
        sqlite_schema.make_data_dir(data)
        with monkeypatch.context() as older:
            older.setattr(sqlite_schema, "MIGRATIONS", MIGRATIONS[:version])
            connection = open_for_writing(data)
        if version:
            connection.execute("INSERT INTO inbox VALUES ('c', '/s', 'e1')")
        connection.close()
        store = await opened(data)
        assert store._reader.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert await store.documents.seen(InboxMarker("c", "/s", "e1")) == bool(version)
        await store.aclose()


async def test_timelines_of_an_old_file_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with timelines in a table of their own gets their places into the log, and the table is removed."""
    sqlite_schema.make_data_dir(tmp_path)
    with monkeypatch.context() as older:
        older.setattr(sqlite_schema, "MIGRATIONS", MIGRATIONS[:2])
        connection = open_for_writing(tmp_path)
    connection.executescript("""
        CREATE TABLE d_timeline (tenant_id TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
            body TEXT NOT NULL, PRIMARY KEY (tenant_id, id)) STRICT, WITHOUT ROWID;
        INSERT INTO events VALUES
            (1, 'e1', '/s', 't.v1', 'pay_1', '2026', 'ten_1', '{"tenantid":"ten_1"}', CAST('{"n":1}' AS BLOB)),
            (2, 'e2', '/s', 't.v1', 'x', '2026', 'ten_1', '{"tenantid":"ten_1"}', CAST('{"n":2}' AS BLOB)),
            (3, 'e3', '/s', 't.v1', 'pay_1', '2026', 'ten_1', '{"tenantid":"ten_1"}', CAST('{"n":3}' AS BLOB));
        INSERT INTO d_timeline VALUES
            ('ten_1', 'pay_1/00000001', 1, '{"event_id":"e1"}'),
            ('ten_1', 'pay_1/00000002', 1, '{"event_id":"e3"}'),
            ('ten_2', 'pay_1/00000001', 1, '{"event_id":"e2"}');
    """)
    connection.close()
    store = await opened(tmp_path)
    found = await store.documents.history("ten_1", "pay_1", None, 10)
    assert [(each.id, each.history, each.data) for each in found] == [
        ("e1", "pay_1/00000001", b'{"n":1}'),
        ("e3", "pay_1/00000002", b'{"n":3}'),
    ]
    assert not store._reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'd_timeline'").fetchall()
    await store.aclose()


async def test_a_migration_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that fails leaves the file in the version before it."""
    sqlite_schema.make_data_dir(tmp_path / "data")
    with monkeypatch.context() as broken:
        broken.setattr(sqlite_schema, "MIGRATIONS", (MIGRATIONS[0], "CREATE TABLE half (x); SELECT nonsense();"))
        with pytest.raises(sqlite3.Error):
            open_for_writing(tmp_path / "data")
    await (await opened(tmp_path / "data")).aclose()


async def test_a_collection_may_get_other_indexes_and_floors(tmp_path: Path) -> None:
    """Changed indexes and floors of a collection are changed in the file when it is opened, and its documents stay."""
    data = tmp_path / "data"
    before = collection_of_notes("things", indexes=(Index(("a",)), Index(("b",))))
    store = await opened(data, before)
    await store.documents.commit(Commit("ten_1", inserts=[(before, note("n1", a=1, b=2))]))
    await store.aclose()
    after = collection_of_notes(
        "things", indexes=(Index(("b",)), Index(("c",), unique=True)), floors=(Floor((("a", 1),)),)
    )
    store = await opened(data, after)
    rows = store._reader.execute("SELECT name FROM sqlite_master WHERE tbl_name = 'd_things' AND sql IS NOT NULL")
    assert {name for (name,) in rows.fetchall()} == {"d_things", "d_things__b", "d_things__c__u"}
    await store.documents.commit(Commit("ten_1", inserts=[(after, note("n2", a=1, b=2, c=3))]))
    assert [each["id"] for each in await store.documents.find(after, "ten_1", Query(where={"b": 2}))] == ["n1", "n2"]
    with pytest.raises(GuardRefused):
        await store.documents.commit(Commit("ten_1", changes=[Change(after, "n1", {"a": -2})]))
    await store.aclose()
    store = await opened(data, after)
    assert await store.documents.get(after, "ten_1", "n1") is not None
    assert store.documents._tables[after].missing_definitions() == []
    await store.aclose()


async def test_opening_creates_the_tables_of_every_collection(tmp_path: Path) -> None:
    """Opening a store creates the tables and indexes of every collection, and opening it again writes nothing."""
    store = await opened(tmp_path / "data", DUE)
    rows = store._reader.execute("SELECT name FROM sqlite_master WHERE name LIKE 'd\\_%' ESCAPE '\\'").fetchall()
    assert {"d_notes", "d_notes__a", "d_due", "d_due__status", "d_due__status__due"} == {name for (name,) in rows}
    assert store.batches == 1
    await store.aclose()
    store = await opened(tmp_path / "data", DUE)
    assert store.batches == 0
    await store.aclose()


async def test_a_store_whose_collections_cannot_be_written_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the tables cannot be created, opening fails with the reason and releases the directory."""
    with monkeypatch.context() as failing:
        failing.setattr(tables.Table, "missing_definitions", lambda self: ["CREATE TABLE nonsense"])
        with pytest.raises(NotOpened, match="collections cannot be defined: a batch could not be written"):
            await opened(tmp_path / "data")
    await (await opened(tmp_path / "data", data_lock_seconds=0.0)).aclose()


async def test_a_table_whose_fields_have_no_columns_yet_is_rebuilt(tmp_path: Path) -> None:
    """Documents of an older file, whose indexes read the JSON text, are found by their fields after the table is
    rebuilt."""
    data = tmp_path / "data"
    await (await opened(data)).aclose()
    connection = sqlite3.connect(data / DATABASE)
    connection.executescript("""
        CREATE TABLE d_things (tenant_id TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
            body TEXT NOT NULL CHECK (json_valid(body)), PRIMARY KEY (tenant_id, id)) STRICT, WITHOUT ROWID;
        CREATE INDEX d_things__a ON d_things (json_extract(body, '$.a'), tenant_id, id);
        CREATE UNIQUE INDEX d_things__b__u ON d_things (tenant_id, json_extract(body, '$.b'));
        INSERT INTO d_things VALUES
            ('ten_1', 'n1', 3, '{"id": "n1", "tenant_id": "ten_1", "version": 3, "a": "x", "b": "1"}'),
            ('ten_1', 'n2', 1, '{"id": "n2", "tenant_id": "ten_1", "version": 1, "b": "2"}');
    """)
    connection.close()
    things = collection_of_notes("things", indexes=(Index(("a",)), Index(("b",), unique=True)))
    store = await opened(data, things)
    assert [each["id"] for each in await store.documents.find(things, "ten_1", Query(where={"a": "x"}))] == ["n1"]
    with pytest.raises(AlreadyExists):
        await store.documents.commit(Commit("ten_1", inserts=[(things, note("n3", a="x", b="2"))]))
    await store.documents.commit(Commit("ten_1", inserts=[(things, note("n3", a="x", b="3"))]))
    assert [each["id"] for each in await store.documents.find(things, "ten_1", Query(where={"a": "x"}))] == ["n1", "n3"]
    assert [each["id"] for each in await store.documents.find(things, "ten_1", Query(where={"a": None}))] == ["n2"]
    await store.aclose()


async def test_a_field_of_any_shape_is_indexed(store: SqliteStore) -> None:
    """An indexed field that is not a scalar, or an integer beyond 64 bits, does not fail the batch."""
    values = ["text", 7, True, 1.5, None, [1, "x"], {"k": 1}, 2**64 - 1, -(2**63)]
    inserts = [(ODD, note(f"n{number}", a=value)) for number, value in enumerate(values)]
    await store.documents.commit(Commit("ten_1", inserts=[*inserts, (ODD, note("none"))]))
    await store.documents.durable()
    differs = "SELECT count(*) FROM d_odd WHERE f_a IS NOT json_extract(body, '$.a')"
    assert store._reader.execute(differs).fetchone() == (0,)
    assert (store.generation, len(await store.documents.find(ODD, "ten_1", Query(limit=100)))) == (0, 10)


def hint(monkeypatch: pytest.MonkeyPatch, name: str, **known: Any) -> Collection[Any, ...]:
    """Set the hints of a collection."""
    monkeypatch.setattr(tables, "HINTS", {name: Hints(**known)})
    return collection_of_notes(name)


def test_hints_are_about_existing_collections() -> None:
    """Every hint names an existing collection, and the ids of statement lines contain the hint's character."""
    assert set(HINTS) <= {collection.name for collection in COLLECTIONS}
    assert HINTS["statement_lines"].grows_by == ID_SEPARATOR


async def test_each_lane_has_its_own_window_of_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ids increase by prefix, each prefix has its own window; old ids are found after a restart and with more
    prefixes than windows."""
    lanes = hint(monkeypatch, "lanes", read_rarely=True, grows_by=".")
    store = await opened(tmp_path / "data", lanes)
    for number in range(20):
        inserts = [(lanes, note(f"{lane}.{number:02}")) for lane in ("b", "a")]
        await store.documents.commit(Commit("ten_1", inserts=inserts))
        assert await store.documents.get(lanes, "ten_1", f"a.{number:02}") is not None
        assert await store.documents.get(lanes, "ten_2", f"a.{number:02}") is None
    misses = store.document_misses
    assert await store.documents.get(lanes, "ten_1", "a.99") is None
    assert store.document_misses == misses, "greater than all of its lane: nothing has to be read"
    for _ in range(2):
        for id in ("a.00", "b.19", "a.19"):
            with pytest.raises(AlreadyExists):
                await store.documents.commit(Commit("ten_1", inserts=[(lanes, note(id))]))
        await store.aclose()
        store = await opened(tmp_path / "data", lanes)
    await store.documents.commit(Commit("ten_1", inserts=[(lanes, note("a.005"))]))
    assert await store.documents.get(lanes, "ten_1", "a.005") is not None
    await store.aclose()


@pytest.mark.parametrize("grows_by", ["", "."])
async def test_an_absent_document_is_found_after_its_insertion(
    tmp_path: Path, grows_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that was absent is found after its insertion, also when it was on disk and in memory neither
    before."""
    rare = hint(monkeypatch, "rare", read_rarely=True, grows_by=grows_by)
    store = await opened(tmp_path / "data", rare)
    with pytest.raises(GuardRefused):
        await store.documents.commit(Commit("ten_1", changes=[Change(rare, "a.1", {"a": 1})]))
    await store.documents.commit(Commit("ten_1", inserts=[(rare, note("a.1"))]))
    assert await store.documents.get(rare, "ten_1", "a.1") is not None
    with pytest.raises(AlreadyExists):
        await store.documents.commit(Commit("ten_1", inserts=[(rare, note("a.1"))]))
    await store.aclose()


async def test_lists_and_sweeps_use_their_indexes(store: SqliteStore) -> None:
    """A tenant's list and each page of a sweep read only the rows of the page, by an index."""
    from shared.adapters.sqlite.queries import select_page

    waiting = {"id": "n1", "tenant_id": "ten_1", "version": 1, "status": "x", "due": "1"}
    await store.documents.commit(Commit("ten_1", inserts=[(DUE, waiting)]))
    await store.documents.durable()
    table = store.documents._tables[DUE]
    sweep = Query({"status": "x"}, ranges={"due": (None, "2")}, order_by="due")
    queries = {
        "list": select_page(table, "ten_1", Query(newest_first=True, after="n9")),
        "filtered": select_page(table, "ten_1", Query(where={"status": "x"}, newest_first=True)),
        "sweep": select_page(table, "ten_1", sweep),
        "sweep, second page": select_page(table, "ten_1", sweep._replace(after=Place("1", "n1"))),
    }
    for name, (sql, parameters) in queries.items():
        plan = " ".join(row[3] for row in store._reader.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
        assert "SEARCH d_due" in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        assert "d_due__status__due" in plan or not name.startswith("sweep"), plan


@pytest.mark.parametrize(
    ("collection", "field"),
    [(PAYMENTS, "due_at"), (REFUNDS, "due_at"), (DEPOSITS, "due_at"), (HOLDS, "expires_at")],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_sweep_has_an_index(collection: Collection[Any, ...], field: str) -> None:
    """Collections with a deadline have an index of status and deadline, without the documents that have no deadline."""
    assert Index(("status", field), sparse=True) in collection.indexes


# The ledger's rows


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entries SET amount = 1",
        "DELETE FROM entries",
        "INSERT OR REPLACE INTO entries SELECT * FROM entries",
        "INSERT INTO entries SELECT * FROM entries WHERE true ON CONFLICT DO UPDATE SET amount = 1",
        "UPDATE transfers SET recorded_at = ''",
        "DELETE FROM transfers",
        "REPLACE INTO transfers SELECT * FROM transfers",
        "UPDATE ledger_accounts SET currency = 'USD'",
        "DELETE FROM ledger_accounts",
        "REPLACE INTO ledger_accounts SELECT tenant_id, account_id, 'USD' FROM ledger_accounts",
    ],
)
async def test_the_ledger_refuses_change(tmp_path: Path, sql: str) -> None:
    """No statement on any connection can change, replace or delete a ledger row."""
    store = await opened(tmp_path / "data")
    legs = (Leg("a", "debit", 5, "BRL"), Leg("b", "credit", 5, "BRL"))
    await store.ledger.append(Transfer("ten_1", "t1", Cause("payment", "p"), legs), "2026")
    await store.aclose()
    connection = sqlite3.connect(tmp_path / "data" / DATABASE)
    with pytest.raises(sqlite3.IntegrityError, match="immutable"):
        connection.execute(sql)
    connection.close()


# Bounds of memory


async def test_sums_beyond_64_bits_are_on_disk(tmp_path: Path) -> None:
    """After a restart an account continues from sums of debits and credits that are larger than a column."""
    largest, cause = 2**63 - 1, Cause("payment", "pay_1")
    store = await opened(tmp_path / "data")
    for number in range(3):
        for debited, credited in (("a", "b"), ("b", "a")):
            legs = (Leg(debited, "debit", largest, "BRL"), Leg(credited, "credit", largest, "BRL"))
            await store.ledger.append(Transfer("ten_1", f"{debited}{number}", cause, legs), "2026")
    await store.aclose()
    store = await opened(tmp_path / "data")
    legs = (Leg("a", "debit", 5, "BRL"), Leg("b", "credit", 5, "BRL"))
    await store.ledger.append(Transfer("ten_1", "last", cause, legs), "2026")
    assert await store.ledger.turnover("ten_1") == [
        ("a", "BRL", 3 * largest + 5, 3 * largest),
        ("b", "BRL", 3 * largest, 3 * largest + 5),
    ]
    await store.aclose()


async def test_memory_is_bounded(tmp_path: Path) -> None:
    """Memory drops documents that are on disk, oldest first, and keeps those that are not."""
    store = await opened(tmp_path / "data", document_cache_entries=10)
    await store.documents.commit(inserting(*(f"n{number:03}" for number in range(100))))
    assert len(store.documents._memory) == 100
    await store.documents.durable()
    assert len(store.documents._memory) == 10
    for number in range(100):
        assert await store.documents.get(NOTES, "ten_1", f"n{number:03}") is not None
        assert await store.documents.get(NOTES, "ten_1", f"absent{number}") is None
    assert len(store.documents._memory) == 10
    await store.aclose()


async def test_windows_of_recent_ids_are_bounded() -> None:
    """A full window drops its lower half, and gives the right answer for every id before and after."""
    from shared.adapters.sqlite.recent_ids import RecentIds

    stored = {"k": ["0005"]}
    recent: RecentIds[str] = RecentIds(lambda key: max(stored.get(key, [""])), keys=2, ids=10)
    for number in range(6, 100):
        id = f"{number:04}"
        assert recent.certainly_absent("k", id)
        recent.add("k", id)
        stored["k"].append(id)
        assert not recent.certainly_absent("k", id)
        assert len(recent._windows["k"].ids) <= 10
    assert not recent.certainly_absent("k", "0001")
    for key in "abc":
        assert recent.certainly_absent(key, "1")
    assert len(recent._windows) == 2
    assert not recent.certainly_absent("k", "0099")


async def test_the_cache_is_bounded() -> None:
    """At its bounds the cache drops the oldest values, refuses a lock, and refuses a deadline."""
    from datetime import timedelta

    from shared.adapters.memory.local_cache import LocalCache

    clock = ManualClock()
    cache = LocalCache(clock, values=10, deadlines=3)
    for number in range(30):
        await cache.set(f"v{number}", b"", 100)
    assert await cache.get("v29") == b""
    assert await cache.get("v0") is None
    tokens = [await cache.lock(f"l{number}", 5) for number in range(11)]
    assert tokens[-1] is None
    clock.advance(timedelta(seconds=5))
    assert await cache.lock("l99", 5) is not None
    for key in "abca":
        await cache.schedule(key, clock.now())
    with pytest.raises(Unavailable):
        await cache.schedule("d", clock.now())
    for number in range(3000):
        await cache.schedule("a", clock.now() + timedelta(seconds=number))
    assert len(cache._heap) < 1100
