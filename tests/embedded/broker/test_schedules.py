"""PingSources on a clock that the test moves."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from random import Random

from embedded.broker.schedules import PING_TYPE, Schedules
from shared.core.ids import IdSource
from tests.embedded.broker.small_platform import Stage, answering, plan_of, service, start
from tests.waiting import rest

PING = """
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {{name: {name}}}
spec:
  schedule: "{schedule}"
  timezone: "{timezone}"
  contentType: application/json
  data: '{data}'
  sink: {{ref: {{apiVersion: {api}, kind: {kind}, name: {sink}}}}}
"""


def ping(
    name: str = "tick", schedule: str = "* * * * *", *, timezone: str = "", data: str = '{"a": 1}', broker: bool = False
) -> str:
    """Return a PingSource with the sink `sweep`, or the Broker."""
    api, kind, sink = (
        ("eventing.knative.dev/v1", "Broker", "default") if broker else ("serving.knative.dev/v1", "Service", "sweep")
    )
    return PING.format(name=name, schedule=schedule, timezone=timezone, data=data, api=api, kind=kind, sink=sink)


async def begin(tmp_path: Path, *documents: str) -> tuple[Stage, Schedules]:
    """Start a broker and its schedules."""
    plan = plan_of(tmp_path, service("sweep"), *documents)
    stage = await start(plan)
    ids = IdSource(stage.clock, Random(1))
    schedules = Schedules(plan, stage.clock, stage.broker.timers, ids, stage.broker.send)
    schedules.start()
    return stage, schedules


async def move(stage: Stage, **step: float) -> None:
    """Move the clock and run the due actions."""
    stage.clock.advance(timedelta(**step))
    stage.broker.timers.run_due()
    await rest()
    await stage.settled()


async def test_a_tick_is_an_event_for_the_sink(tmp_path: Path) -> None:
    """Each minute the sink gets one event of Knative's ping type, with the source's data and a new id."""
    stage, schedules = await begin(tmp_path, ping())
    await move(stage, seconds=59)
    assert stage.shop.given == []
    await move(stage, seconds=1)
    await move(stage, seconds=60)
    first, second = (envelope for _, envelope, _ in stage.shop.given)
    assert (first.type, first.source) == (PING_TYPE, "/apis/v1/namespaces/default/pingsources/tick")
    assert json.loads(first.data) == {"a": 1}
    assert first.time == "2026-01-01T00:01:00.000000Z"
    assert first.id != second.id
    assert schedules.ticks == {"tick": 2}
    await schedules.stop()
    await stage.broker.stop()


async def test_missed_ticks_are_skipped(tmp_path: Path) -> None:
    """After the process was suspended for an hour there is one tick, and the next one is in the future."""
    stage, schedules = await begin(tmp_path, ping())
    await move(stage, hours=1, seconds=30)
    assert len(stage.shop.given) == 1
    await move(stage, seconds=29)
    assert len(stage.shop.given) == 1
    await move(stage, seconds=1)
    assert len(stage.shop.given) == 2
    await schedules.stop()
    await move(stage, hours=1)
    assert len(stage.shop.given) == 2
    await stage.broker.stop()


async def test_a_schedule_continues_when_the_wall_clock_is_set_back(tmp_path: Path) -> None:
    """After the wall clock was set back by an hour, a schedule of every minute ticks in the next minute."""
    stage, schedules = await begin(tmp_path, ping())
    await move(stage, seconds=60)
    stage.clock.jump(timedelta(hours=-1))
    for seconds in (1, 59, 60, 60):
        await move(stage, seconds=seconds)
    assert [envelope.time for _, envelope, _ in stage.shop.given] == [
        "2026-01-01T00:01:00.000000Z",
        "2025-12-31T23:02:00.000000Z",
        "2025-12-31T23:03:00.000000Z",
        "2025-12-31T23:04:00.000000Z",
    ]
    await schedules.stop()
    await stage.broker.stop()


async def test_a_schedule_follows_the_wall_clock_forwards_and_back(tmp_path: Path) -> None:
    """A jump forwards over many ticks causes one tick; after a jump back, ticks are made at the right minutes."""
    stage, schedules = await begin(tmp_path, ping())
    stage.clock.jump(timedelta(hours=1, seconds=30))
    await move(stage, seconds=1)
    assert len(stage.shop.given) == 1
    stage.clock.jump(timedelta(hours=-1, seconds=-30))
    await move(stage, seconds=1)
    assert len(stage.shop.given) == 1
    await move(stage, seconds=58)
    assert [envelope.time for _, envelope, _ in stage.shop.given][1:] == ["2026-01-01T00:01:00.000000Z"]
    await schedules.stop()
    await stage.broker.stop()


async def test_a_tick_is_retried_as_the_ping_adapter_does_and_then_dropped(tmp_path: Path) -> None:
    """A tick is retried five times, from 50 ms on, and then dropped; the next tick is sent normally."""
    stage, schedules = await begin(tmp_path, ping())
    stage.shop.behaviour["sweep"] = answering(503)
    for seconds in (60, 2, 2, 2, 2, 2, 2):
        stage.clock.advance(timedelta(seconds=seconds))
        stage.broker.timers.run_due()
        await rest()
    assert len(stage.shop.given) == 6
    assert stage.broker.summary().subscriptions["ping/tick"].lost == 1
    stage.shop.behaviour.clear()
    await move(stage, seconds=60)
    assert len(stage.shop.given) == 7
    await schedules.stop()
    await stage.broker.stop()


async def test_a_tick_for_a_broker_is_logged(tmp_path: Path) -> None:
    """A tick whose sink is a Broker is logged as an event from its ingress."""
    stage, schedules = await begin(tmp_path, ping(broker=True))
    await move(stage, seconds=60)
    assert [envelope.type for envelope in stage.log.entries] == [PING_TYPE]
    await schedules.stop()
    await stage.broker.stop()
