"""What the broker does when its events go to another process, and when its log starts again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from embedded.broker.delivery import ACCEPTED, Answer
from embedded.manifests.eventing import PingSource
from shared.core.envelope import Envelope
from tests.embedded.broker.small_platform import answering, event, plan_of, service, start, trigger
from tests.waiting import PATIENCE_SECONDS, rest

PING = """
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: billing}}
"""


async def test_a_reset_of_the_log_stops_no_timers_of_others(tmp_path: Path) -> None:
    """After the log starts again, actions that schedules and functions have planned still happen."""
    stage = await start(plan_of(tmp_path, service("billing"), trigger("billing", "billing")))
    happened: list[str] = []
    stage.broker.timers.after(5, lambda: happened.append("tick"))
    stage.log.reset()
    stage.clock.advance(timedelta(seconds=5))
    stage.broker.timers.run_due()
    assert happened == ["tick"]
    await stage.broker.stop()


async def test_a_retry_of_a_forgotten_event_is_dropped(tmp_path: Path) -> None:
    """An event that waited for its retry is delivered once more after the log starts again, and not twice."""
    stage = await start(plan_of(tmp_path, service("billing"), trigger("billing", "billing")))
    stage.shop.behaviour["billing"] = answering(503, 204)
    stage.log.log(event(1))
    await rest()
    assert stage.shop.ids("billing") == ["evt_1"]
    stage.log.save()
    stage.log.reset()
    await stage.settled()
    assert stage.shop.ids("billing") == ["evt_1", "evt_1"]
    stage.clock.advance(timedelta(seconds=60))
    stage.broker.timers.run_due()
    await stage.settled()
    assert stage.shop.ids("billing") == ["evt_1", "evt_1"]
    await stage.broker.stop()


async def test_withdrawing_waits_for_deliveries_and_keeps_ticks(tmp_path: Path) -> None:
    """Withdrawing starts no further delivery, waits for the one in flight, forgets the other events, and delivers the
    ticks of schedules afterwards."""
    plan = plan_of(tmp_path, service("billing", concurrency=1), trigger("billing", "billing"), PING)
    stage = await start(plan)
    open_ = asyncio.Event()

    async def bill(_name: str, _envelope: Envelope, _first: bool) -> Answer:
        await open_.wait()
        return ACCEPTED

    stage.shop.behaviour["billing"] = bill
    stage.log.log(event(1), event(2))
    ping, subscription = plan.pings["nightly"]
    assert isinstance(ping, PingSource)
    await stage.broker.send(subscription, event(9))
    await rest()
    assert stage.shop.ids("billing") == ["evt_1"]
    withdrawing = asyncio.create_task(stage.broker.withdraw(PATIENCE_SECONDS))
    await rest()
    assert not withdrawing.done()
    open_.set()
    await withdrawing
    await stage.settled()
    assert stage.shop.ids("billing") == ["evt_1", "evt_9"]
    stage.log.log(event(3))
    await stage.settled()
    assert stage.shop.ids("billing") == ["evt_1", "evt_9", "evt_3"]
    await stage.broker.stop()


async def test_withdrawing_cancels_what_takes_too_long(tmp_path: Path) -> None:
    """A delivery that is in flight after the bound is cancelled, so that it commits nothing more."""
    stage = await start(plan_of(tmp_path, service("billing"), trigger("billing", "billing")))
    canceled: list[str] = []

    async def bill(_name: str, envelope: Envelope, _first: bool) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            canceled.append(envelope.id)
            raise
        return ACCEPTED

    stage.shop.behaviour["billing"] = bill
    stage.log.log(event(1))
    await rest()
    await stage.broker.withdraw(0)
    await rest()
    assert canceled == ["evt_1"]
    assert stage.broker.summary().events == 0
    await stage.broker.stop()
