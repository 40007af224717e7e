"""A broker on the embedded store in its own process, which a test kills.

`python crash_child.py <folder> <first> <count>`: logs that many sales, each packed and then shipped, prints `begun`
once they are logged and `done <low-water mark> <head>` once nothing is left to do.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import Final

from embedded.broker.broker import Broker
from embedded.broker.delivery import ACCEPTED, Answer, PlainAnswer
from embedded.broker.plan import Plan
from embedded.broker.state import Limits
from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import SystemClock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.ports.documents import AlreadyApplied, AlreadyExists, Collection, Commit, Document, InboxMarker, NoChanges
from tests.embedded.broker.small_platform import event, plan_of, service, trigger
from tests.opening import open_adapter
from tests.waiting import PATIENCE_SECONDS


class EffectDocument(Document):
    """The effect of a handler on an event."""

    of: str


SALES: Final = Collection("sales", owner="tests", document=Document, changes=NoChanges)
EFFECTS: Final = Collection("effects", owner="tests", document=EffectDocument, changes=NoChanges)
NEXT = {"pack": "packed", "ship": None, "bill": None}
UNPAID = 17
"""Bill finally refuses each sale whose number is divisible by this."""
QUICK = (
    "{retry: 9, backoffPolicy: linear, backoffDelay: PT0.003S, "
    "deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: parking}}}"
)


def wiring(folder: Path) -> Plan:
    """The wiring: pack processes `sold` and publishes `packed`, which ship processes; bill processes `sold` in
    order."""
    return plan_of(
        folder,
        *(service(name) for name in NEXT),
        trigger("pack", "pack", filter="[{exact: {type: sold}}]", delivery=QUICK),
        trigger("ship", "ship", filter="[{exact: {type: packed}}]", delivery=QUICK),
        trigger("bill", "bill", filter="[{exact: {type: sold}}]", delivery=QUICK, ordered=True),
    )


class Functions:
    """Handlers that commit an effect with their inbox marker, and sometimes suspend or fail before that."""

    def __init__(self, store: SqliteStore, seed: int) -> None:
        self._documents = store.documents
        self._random = Random(seed)

    async def invoke(self, name: str, envelope: Envelope, first: bool) -> Answer:
        marker = InboxMarker(f"shop/{name}", envelope.source, envelope.id)
        if not first and await self._documents.seen(marker):
            return ACCEPTED
        if name != "parking" and self._random.random() < 0.1:
            await asyncio.sleep(0.002)
            if self._random.random() < 0.3:
                return PlainAnswer(503)
        if name == "bill" and int(envelope.id[4:]) % UNPAID == 0:
            return PlainAnswer(422)
        commit = Commit("acme", inbox=marker)
        effect = {"id": f"{name}-{envelope.id}", "tenant_id": "acme", "version": 1, "of": envelope.id}
        commit.inserts.append((EFFECTS, effect))
        follow_up = NEXT.get(name)
        if follow_up is not None:
            number = int(envelope.id[4:])
            commit.events.append(event(1_000_000 + number, follow_up, correlationid=envelope.correlation_id))
        try:
            await self._documents.commit(commit)
        except AlreadyApplied:
            return ACCEPTED
        return ACCEPTED


async def main(folder: Path, first: int, count: int) -> None:
    """Run until all events are processed."""
    clock = SystemClock()
    store = await open_adapter(
        SqliteStore(folder / "data", collections=(SALES, EFFECTS), settings=Settings(), clock=clock, writer="thread")
    )
    limits = Limits(events_in_memory=50, page=16)
    broker = Broker(wiring(folder), store, clock, Functions(store, first).invoke, limits)
    await broker.start()
    for number in range(first, first + count):
        commit = Commit("acme", events=[event(number, "sold", key=str(number % 5))])
        commit.inserts.append((SALES, {"id": f"sale-{number:08}", "tenant_id": "acme", "version": 1}))
        try:
            await store.documents.commit(commit)
        except AlreadyExists:
            continue
        if number % 20 == 0:
            await store.documents.durable()
            print("begun", flush=True)
    assert await broker.idle(PATIENCE_SECONDS)
    await broker.stop()
    mark, head = store.low_water_mark, store.head_sequence
    await store.aclose()
    print("done", mark, head, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
