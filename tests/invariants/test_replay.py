"""Repeated delivery of all events changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from shared.adapters.memory.stores import MemoryDocuments, MemoryLedger
from shared.core.envelope import Envelope
from shared.messaging.http_binding import from_http, from_structured
from tests.invariants.bodies import brl
from tests.invariants.books import check_quiet
from tests.invariants.test_one_effect import the_whole_path
from tests.invariants.world import World


@pytest.fixture(params=["memory", "disk"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A platform on either store."""
    made = await (World.in_memory(3) if request.param == "memory" else World.on_disk(tmp_path, 3))
    yield made
    await made.close()


async def digest(world: World) -> str:
    """Return a digest of all stored state: the documents of every collection, the ledger, and the event log."""
    await world.runtime.documents.durable()
    events = [event.to_structured() for event in world.pool.published]
    return sha256(orjson.dumps([_stored(world), events, sorted(world.rail.charges)], default=str)).hexdigest()


def _stored(world: World) -> list[Any]:
    if world.store is not None:
        reader = world.store._reader
        names = [row[0] for row in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        # Without inbox markers and nonces, to which a replay may add.
        effects = [name for name in names if name not in ("acknowledgements", "nonces", "meta")]
        return [(name, sorted(map(repr, reader.execute(f"SELECT * FROM {name}")))) for name in effects]
    documents, ledger = world.runtime.documents, world.runtime.ledger
    assert isinstance(documents, MemoryDocuments)
    assert isinstance(ledger, MemoryLedger)
    return [sorted(map(repr, part)) for part in (documents._rows.items(), ledger._known.items(), documents._inbox)]


def over_http(envelope: Envelope, random: Random) -> Envelope:
    """Return the event after a round trip over HTTP, in one mode or the other."""
    if random.random() < 0.5:
        return from_structured(envelope.to_structured())
    headers, body = envelope.to_binary()
    return from_http(headers.items(), body)


@pytest.mark.parametrize("order", ["as it was", "backwards", "shuffled"])
async def test_a_replay_from_the_beginning_changes_nothing(world: World, order: str) -> None:
    """When every published event is delivered again to each of its consumers, no stored row changes."""
    tenant, random = await world.tenant(), Random(5)
    await the_whole_path(world, tenant, random, abreast=1)
    payer, payee = await tenant.account(500), await tenant.account()
    lapsed = await tenant.pay(payer, payee, 300, capture="manual", expires_in=60)
    await tenant.pay(payer, payee, 501)
    await world.settle()
    world.later(seconds=61)
    await world.tick("operations-expire-holds")
    await world.tick("operations-sweep-sagas")
    await world.settle()
    assert await tenant.status(lapsed) == "expired"
    before, events = await digest(world), [over_http(event, random) for event in world.pool.published]
    if order == "backwards":
        events.reverse()
    elif order == "shuffled":
        random.shuffle(events)
    world.later(days=400)
    await world.forget()
    await world.replay(events)

    assert world.pool.pending == []
    assert await digest(world) == before
    await check_quiet(world, tenant)


async def test_a_replay_after_a_restart_changes_nothing(tmp_path: Path) -> None:
    """The same holds for a process with empty memory, which reads the inbox markers from disk."""
    first = await World.on_disk(tmp_path, 3)
    tenant = await first.tenant()
    payer, payee = await tenant.account(500), await tenant.account()
    payment_id = await tenant.pay(payer, payee, 300)
    await first.settle()
    await tenant.made(f"/v1/payments/{payment_id}/refunds", {"amount": brl(100)})
    await first.settle()
    await first.runtime.documents.durable()
    stored, events = _stored(first), first.pool.published
    await first.close()
    second = await World.on_disk(tmp_path, 4)
    second.clock.advance(first.clock.now() - second.clock.now())
    await second.replay(over_http(event, Random(1)) for event in events)
    await second.runtime.documents.durable()

    assert second.pool.published == []
    assert _stored(second) == stored
    await second.close()
