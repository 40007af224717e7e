"""A core that commits numbered steps and prints which of them are durable, until a test kills it.

Each step is one commit: a document, a replaced counter, an event, a marker; every third posts a transfer too.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from typing_extensions import TypedDict

from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import SystemClock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import (
    Change,
    Collection,
    Commit,
    Document,
    Floor,
    InboxMarker,
    NoChanges,
    Unavailable,
)
from shared.ports.ledger import Cause, Leg, Transfer
from tests.opening import open_adapter


class CounterDocument(Document):
    """A counter of the steps."""

    count: int


class CounterChanges(TypedDict, total=False):
    """The fields that may change."""

    count: int


STEPS: Final = Collection("steps", owner="tests", document=Document, changes=NoChanges)
COUNTERS: Final = Collection(
    "counters",
    owner="tests",
    document=CounterDocument,
    changes=CounterChanges,
    floors=(Floor((("count", 1),)),),
)
COLLECTIONS: Final = (STEPS, COUNTERS)


async def step(store: SqliteStore, number: int) -> None:
    """Commit one step."""
    id = f"s{number:08}"
    commit = Commit("ten_1", inserts=[(STEPS, {"id": id, "tenant_id": "ten_1", "version": 1})])
    if number == 1:
        commit.inserts.append((COUNTERS, {"id": "c", "tenant_id": "ten_1", "version": 1, "count": 1}))
    else:
        commit.changes.append(Change(COUNTERS, "c", {"count": 1}))
    extensions = {"tenantid": "ten_1"}
    commit.events.append(
        Envelope(id=id, source="/s", type="t", subject=None, time=None, extensions=extensions, data=b"1")
    )
    commit.inbox = InboxMarker("steps", "/s", id)
    if number % 3 == 0:
        legs = (Leg("a", "debit", number, "BRL"), Leg("b", "credit", number, "BRL"))
        await store.ledger.append(Transfer("ten_1", id, Cause("step", id), legs), "2026-01-01")
    await store.documents.commit(commit)


async def main(data_dir: str, writer: str) -> None:
    """Commit steps until killed, and print the number of each step when it is durable."""
    store = await open_adapter(
        SqliteStore(
            Path(data_dir),
            collections=COLLECTIONS,
            settings=Settings(data_lock_seconds=20.0, store_batch_seconds=0.0),
            clock=SystemClock(),
            writer="process" if writer == "process" else "thread",
        )
    )
    counter = await store.documents.get(COUNTERS, "ten_1", "c")
    number = 0 if counter is None else counter["count"]
    print("open", number, flush=True)
    while True:
        for _ in range(5):
            try:
                await step(store, number + 1)
            except Unavailable:  # the writer was killed: continue from the state on disk
                await asyncio.sleep(0.01)
                counter = await store.documents.get(COUNTERS, "ten_1", "c")
                number = 0 if counter is None else counter["count"]
                continue
            number += 1
        claimed = number
        try:
            await store.documents.durable()
        except Unavailable:
            continue
        print("durable", claimed, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
