"""The broker's guarantees under random traffic, failures, resets and crashes, compared with a simple model."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedded.broker.delivery import ACCEPTED, Answer, PlainAnswer
from embedded.broker.state import Limits
from shared.core.envelope import Envelope
from tests.embedded.broker.small_platform import Shop, Stage, event, plan_of, service, start, trigger

STATUSES = (204, 204, 204, 409, 503, 400, 500)
LIMITS = Limits(events_in_memory=6, page=3, workers=4, slice_seconds=0.0)
_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.integers(1, 5)),
        st.tuples(st.just("run"), st.integers(1, 8)),
        st.tuples(st.just("save"), st.just(0)),
        st.tuples(st.just("reset"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
    ),
    min_size=1,
    max_size=20,
)


class Chaos:
    """A function that answers at random, and sometimes late."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.calm = False

    async def behave(self, name: str, envelope: Envelope, first: bool) -> Answer:
        for _ in range(self.random.choice((0, 0, 0, 1, 3))):
            await asyncio.sleep(0)
        status = 204 if self.calm or name == "parking" else self.random.choice(STATUSES)
        return ACCEPTED if status == 204 else PlainAnswer(status)


async def play(plan_dir: Path, seed: int, actions: list[tuple[str, int]]) -> None:
    chaos = Chaos(seed)
    plan = plan_of(
        plan_dir,
        service("strict"),
        service("loose", concurrency=2),
        trigger("strict", "strict", ordered=True),
        trigger("loose", "loose"),
    )
    stage = await start(plan, limits=LIMITS)
    number = 0
    engage(stage.shop, chaos)
    for action, count in actions:
        if action == "log":
            for _ in range(count):
                number += 1
                stage.log.log(event(number, tenant="ab"[number % 2], key="k"))
        elif action == "run":
            for _ in range(count):
                await asyncio.sleep(0)
                stage.clock.advance(timedelta(seconds=chaos.random.choice((0.0, 0.5, 5.0))))
                stage.broker.timers.run_due()
        elif action == "save":
            stage.log.save()
        elif action == "reset":
            stage.log.reset()
        else:
            stage = await stage.crash(LIMITS)
            engage(stage.shop, chaos)
    chaos.calm = True
    for _ in range(400):
        await asyncio.sleep(0)
        stage.clock.advance(timedelta(seconds=61))
        stage.broker.timers.run_due()
        if not stage.broker.summary().events and not stage.broker.summary().behind:
            break
    check(stage)
    await stage.broker.stop()
    assert stage.log.low_water_mark == stage.log.head_sequence + 1


def engage(shop: Shop, chaos: Chaos) -> None:
    shop.behaviour = dict.fromkeys(("strict", "loose", "parking"), chaos.behave)


def check(stage: Stage) -> None:
    log = stage.log
    assert stage.log.broken_promises == []
    dead = {(sequence, name) for sequence, name in log.acknowledgements}
    for sequence, envelope in enumerate(log.entries, start=1):
        for name in ("strict", "loose"):
            done = (f"shop/{name}", envelope.source, envelope.id) in log.markers
            assert done or (sequence, f"trigger/{name}") in dead, (name, envelope.id)
    # For one key, an ordered subscriber has its effects in the order of the log, each once.
    for key in ("a/k", "b/k"):
        numbers = [int(id[4:]) for name, of, id in log.effects if (name, of) == ("strict", key)]
        assert numbers == sorted(set(numbers))
    summary = stage.broker.summary()
    assert all(counts.pending == 0 for counts in summary.subscriptions.values())
    assert all(in_flight == 0 for in_flight in summary.in_flight.values())
    assert summary.correlations == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), actions=_ACTIONS)
def test_every_surviving_event_is_applied_or_dead_lettered(
    tmp_path: Path, seed: int, actions: list[tuple[str, int]]
) -> None:
    """After any failures, crashes and lost batches, each durable event is applied or dead-lettered for every
    consumer, an ordered consumer applies the events of a key in order, and nothing leaks."""
    asyncio.run(play(tmp_path, seed, actions))
