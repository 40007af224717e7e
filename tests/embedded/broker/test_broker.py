"""The broker on a log in memory: consumers, retries, order and failures."""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from embedded.broker.broker import UnknownBroker
from embedded.broker.delivery import ACCEPTED, Answer, PlainAnswer
from embedded.broker.state import Limits
from shared.core.envelope import Envelope
from shared.messaging.http_binding import from_structured
from shared.telemetry.log_lines import current_run, fields_of
from tests.embedded.broker.small_platform import (
    TO_PARKING,
    TOPIC,
    Stage,
    answering,
    event,
    plan_of,
    service,
    start,
    trigger,
)
from tests.waiting import PATIENCE_SECONDS, rest


async def move(stage: Stage, seconds: float) -> None:
    """Move the clock and run the due actions."""
    stage.clock.advance(timedelta(seconds=seconds))
    stage.broker.timers.run_due()
    await stage.settled()


async def test_an_event_reaches_every_matching_trigger_once(tmp_path: Path) -> None:
    """An event goes to each Trigger whose filter passes, and to no other."""
    plan = plan_of(
        tmp_path,
        service("pack"),
        service("bill"),
        service("ship"),
        trigger("pack", "pack", filter="[{exact: {type: sold}}]"),
        trigger("bill", "bill", filter="[{exact: {type: sold}}, {exact: {causetype: order}}]"),
        trigger("ship", "ship", filter="[{exact: {type: packed}}]"),
    )
    stage = await start(plan)
    stage.log.log(event(1, causetype="order"), event(2, causetype="gift"), event(3, "packed"))
    await stage.settled()
    assert stage.shop.ids("pack") == ["evt_1", "evt_2"]
    assert stage.shop.ids("bill") == ["evt_1"]
    assert stage.shop.ids("ship") == ["evt_3"]
    assert all(first for _, _, first in stage.shop.given)
    await stage.broker.stop()


async def test_an_event_of_a_topic_without_a_source_is_not_delivered(tmp_path: Path) -> None:
    """An event in a topic without a KafkaSource is delivered to no Trigger and delays no other event."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.log.log(event(1, source="/lastro/elsewhere/x"), event(2, source="nowhere"))
    await stage.settled()
    assert stage.shop.given == []
    await stage.broker.stop()
    assert stage.log.low_water_mark == 3


async def test_retries_follow_the_policy_and_the_clock(tmp_path: Path) -> None:
    """A 503 is retried after delay·2^n by the platform's clock, and the retries are marked as repeated."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.shop.behaviour["pack"] = answering(503, 503, 204)
    stage.log.log(event(1))
    await rest()
    assert len(stage.shop.given) == 1
    stage.clock.advance(timedelta(seconds=0.39))
    stage.broker.timers.run_due()
    await rest()
    assert len(stage.shop.given) == 1
    stage.clock.advance(timedelta(seconds=0.01))
    stage.broker.timers.run_due()
    await rest()
    assert len(stage.shop.given) == 2
    await move(stage, 0.8)
    assert [first for _, _, first in stage.shop.given] == [True, False, False]
    counts = stage.broker.summary().subscriptions["trigger/pack"]
    assert (counts.delivered, counts.retried, counts.pending) == (1, 2, 0)
    await stage.broker.stop()


async def test_a_refused_event_goes_to_the_dead_letters_at_once(tmp_path: Path) -> None:
    """A 422 is not retried; the dead letter has the destination, the status, the body and the Kne- headers."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.shop.behaviour["pack"] = answering(422)
    stage.log.log(event(1))
    await stage.settled()
    assert stage.shop.ids("pack") == ["evt_1"]
    (parked,) = [envelope for name, envelope, _ in stage.shop.given if name == "parking"]
    assert parked.extensions["knativeerrordest"] == "http://pack.default.svc.cluster.local"
    assert parked.extensions["knativeerrorcode"] == "422"
    assert base64.b64decode(parked.extensions["knativeerrordata"]) == (b"why" * 1000)[:1024]
    assert parked.extensions["code"] == "told_so"
    assert (1, "trigger/pack") in stage.log.acknowledgements
    await stage.broker.stop()


async def test_lines_about_a_delivery_name_its_own_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line about a dead letter has the tenant and the request of its event, not those of the run that woke the
    worker."""
    named: list[dict[str, str]] = []

    def note(record: logging.LogRecord) -> bool:
        named.append(fields_of(record))
        return True

    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.shop.behaviour["pack"] = answering(422)
    caplog.handler.addFilter(note)
    waking = current_run.set(("payments/other", event(9, tenant="other"), "00-" + "1" * 32 + "-" + "2" * 16))
    stage.log.log(event(1))
    current_run.reset(waking)
    await stage.settled()
    caplog.handler.removeFilter(note)
    assert [(each["tenant"], each["request_id"]) for each in named] == [("acme", "req_1")]
    await stage.broker.stop()


async def test_retries_that_run_out_end_in_the_dead_letters(tmp_path: Path) -> None:
    """After `retry` retries the event is sent to the dead letter sink."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.shop.behaviour["pack"] = answering(500)
    stage.log.log(event(1))
    for seconds in (0.4, 0.8, 1.6):
        await rest()
        stage.clock.advance(timedelta(seconds=seconds))
        stage.broker.timers.run_due()
    await stage.settled()
    await rest()
    assert len(stage.shop.ids("pack")) == 4
    assert stage.shop.ids("parking") == ["evt_1"]
    await stage.broker.stop()


@pytest.mark.parametrize("failure", [RuntimeError("broken"), asyncio.CancelledError()])
async def test_an_invocation_that_raises_is_retried_as_a_network_error(tmp_path: Path, failure: BaseException) -> None:
    """A delivery without an answer is retried; its dead letter has only the destination, and the worker continues."""
    delivery = f"{{retry: 1, backoffDelay: PT0S, {TO_PARKING}}}"
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack", delivery=delivery)))

    async def fail(name: str, envelope: Envelope, first: bool) -> Answer:
        raise failure

    stage.shop.behaviour["pack"] = fail
    stage.log.log(event(1))
    await stage.settled()
    assert len(stage.shop.ids("pack")) == 2
    (parked,) = [envelope for name, envelope, _ in stage.shop.given if name == "parking"]
    assert "knativeerrorcode" not in parked.extensions
    assert "knativeerrordest" in parked.extensions
    await stage.broker.stop()


async def test_a_success_with_a_body_is_a_failure_without_retry(tmp_path: Path) -> None:
    """A 200 with a body that is not an event is sent to the dead letter sink without a retry."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))

    async def chat(name: str, envelope: Envelope, first: bool) -> Answer:
        return PlainAnswer(200, {"content-type": "text/plain"}, b"OK")

    stage.shop.behaviour["pack"] = chat
    stage.log.log(event(1))
    await stage.settled()
    assert stage.shop.ids("pack") == ["evt_1"]
    (parked,) = [envelope for name, envelope, _ in stage.shop.given if name == "parking"]
    assert "knativeerrorcode" not in parked.extensions
    await stage.broker.stop()


async def test_a_reply_is_published_to_the_broker(tmp_path: Path) -> None:
    """An event in the response is delivered to the Broker's Triggers, without the broker's internal extension."""
    plan = plan_of(
        tmp_path,
        service("pack"),
        service("ship"),
        trigger("pack", "pack", filter="[{exact: {type: sold}}]"),
        trigger("ship", "ship", filter="[{exact: {type: packed}}]"),
    )
    stage = await start(plan)

    async def reply(name: str, envelope: Envelope, first: bool) -> Answer:
        headers, body = event(9, "packed").to_binary()
        return PlainAnswer(200, headers, body)

    stage.shop.behaviour["pack"] = reply
    stage.log.log(event(1))
    await stage.settled()
    (shipped,) = [envelope for name, envelope, _ in stage.shop.given if name == "ship"]
    assert shipped.id == "evt_9"
    assert "embeddedroute" not in shipped.extensions
    assert (1, "trigger/pack") in stage.log.acknowledgements
    await stage.broker.stop()


async def test_an_event_that_the_sink_refuses_is_not_lost(tmp_path: Path) -> None:
    """An event that the dead letter sink refuses stays unacknowledged and is delivered again until the sink accepts
    it."""
    stage = await start(
        plan_of(tmp_path, service("pack"), trigger("pack", "pack")), limits=Limits(dead_letter_pause_seconds=60)
    )
    stage.shop.behaviour["pack"] = answering(400)
    stage.shop.behaviour["parking"] = answering(503, 503, 503, 503, 503, 204)
    stage.log.log(event(1))
    for _ in range(4):
        await rest()
        stage.clock.advance(timedelta(seconds=5))
        stage.broker.timers.run_due()
    await rest()
    assert len(stage.shop.ids("parking")) == 4
    assert stage.log.acknowledgements == set()
    await move(stage, 60)
    await move(stage, 60)
    assert len(stage.shop.ids("parking")) == 6
    assert (1, "trigger/pack") in stage.log.acknowledgements
    await stage.broker.stop()


async def test_a_refused_fact_about_a_dead_letter_causes_no_loop(tmp_path: Path) -> None:
    """A consumer that refuses events of every type causes one dead letter, and none for the facts about it."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.shop.behaviour["pack"] = answering(400)

    async def park(name: str, envelope: Envelope, first: bool) -> Answer:
        parked = event(len(stage.log.entries) + 100, "lastro.dead_letter.parked.v1", deadletterid="dlt_1")
        stage.log.log(parked)
        return ACCEPTED

    stage.shop.behaviour["parking"] = park
    stage.log.log(event(1))
    await stage.settled()
    assert stage.shop.ids("pack") == ["evt_1", "evt_101"]
    assert stage.shop.ids("parking") == ["evt_1"]
    counts = stage.broker.summary().subscriptions["trigger/pack"]
    assert (counts.dead_lettered, counts.dropped, counts.pending) == (1, 1, 0)
    assert (2, "trigger/pack") in stage.log.acknowledgements
    await stage.broker.stop()


async def test_a_reply_to_a_fact_about_a_dead_letter_is_one_too(tmp_path: Path) -> None:
    """A consumer's reply to a fact about a dead letter gets the mark, whatever extensions the reply has."""
    plan = plan_of(
        tmp_path,
        service("pack"),
        service("ship"),
        trigger("pack", "pack", filter="[{exact: {type: told}}]"),
        trigger("ship", "ship", filter="[{exact: {type: packed}}]"),
    )
    stage = await start(plan)

    async def reply(name: str, envelope: Envelope, first: bool) -> Answer:
        headers, body = event(9, "packed").to_binary()
        return PlainAnswer(200, headers, body)

    stage.shop.behaviour["pack"] = reply
    stage.shop.behaviour["ship"] = answering(400)
    stage.log.log(event(1, "told", deadletterid="dlt_1"))
    await stage.settled()
    assert stage.shop.ids("ship") == ["evt_9"]
    assert stage.shop.ids("parking") == []
    assert stage.broker.summary().subscriptions["trigger/ship"].dropped == 1
    await stage.broker.stop()


async def test_ordered_delivery_waits_for_earlier_events_of_the_key(tmp_path: Path) -> None:
    """With ordered delivery a failing event delays only its own key, whose order is the same after retries."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack", ordered=True)))
    stage.shop.behaviour["pack"] = answering(503, 204)
    stage.log.log(event(1, key="a"), event(2, key="a"), event(3, key="b"))
    await rest()
    assert stage.shop.ids("pack") == ["evt_1", "evt_3"]
    await move(stage, 0.4)
    assert stage.shop.ids("pack") == ["evt_1", "evt_3", "evt_1", "evt_2"]
    await stage.broker.stop()


async def test_unordered_delivery_does_not_wait_for_a_failing_event(tmp_path: Path) -> None:
    """With unordered delivery a retry delays no other event."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.shop.behaviour["pack"] = answering(503, 204)
    stage.log.log(event(1, key="a"), event(2, key="a"))
    await rest()
    assert stage.shop.ids("pack") == ["evt_1", "evt_2"]
    await move(stage, 0.4)
    assert stage.shop.ids("pack") == ["evt_1", "evt_2", "evt_1"]
    await stage.broker.stop()


async def test_container_concurrency_is_respected(tmp_path: Path) -> None:
    """A function gets at most `containerConcurrency` events at the same time, and all events in the end."""
    stage = await start(plan_of(tmp_path, service("pack", concurrency=2), trigger("pack", "pack")))
    now, most = 0, 0

    async def slow(name: str, envelope: Envelope, first: bool) -> Answer:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return ACCEPTED

    stage.shop.behaviour["pack"] = slow
    stage.log.log(*(event(n) for n in range(20)))
    await stage.settled()
    assert most == 2
    assert len(stage.shop.ids("pack")) == 20
    await stage.broker.stop()


async def test_a_suspended_handler_does_not_delay_others(tmp_path: Path) -> None:
    """While one handler is suspended, other events are delivered."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    gate = asyncio.Event()

    async def wait_once(name: str, envelope: Envelope, first: bool) -> Answer:
        if envelope.id == "evt_1":
            await gate.wait()
        return ACCEPTED

    stage.shop.behaviour["pack"] = wait_once
    stage.log.log(event(1), event(2), event(3))
    assert await stage.broker.quiet("req_3", PATIENCE_SECONDS)
    assert not await stage.broker.quiet("req_1", 0.01)
    gate.set()
    assert await stage.broker.quiet("req_1", PATIENCE_SECONDS)
    await stage.broker.stop()


async def test_a_delivery_that_takes_too_long_is_canceled_and_retried(tmp_path: Path) -> None:
    """A delivery that exceeds its timeout is canceled and retried as one without an answer."""
    delivery = f"{{retry: 1, backoffDelay: PT0S, timeout: PT0.02S, {TO_PARKING}}}"
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack", delivery=delivery)))
    canceled = 0

    async def hang(name: str, envelope: Envelope, first: bool) -> Answer:
        nonlocal canceled
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            canceled += 1
            raise
        return ACCEPTED

    stage.shop.behaviour["pack"] = hang
    stage.log.log(event(1))
    await stage.settled()
    assert canceled == 2
    stage.shop.behaviour.clear()
    stage.log.log(event(2))
    await stage.settled()
    assert stage.shop.ids("pack")[-1] == "evt_2"
    await stage.broker.stop()


async def test_a_burst_of_one_tenant_does_not_starve_another(tmp_path: Path) -> None:
    """After 5,000 events of one tenant, the event of another tenant is delivered within a few deliveries."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.log.log(*(event(n, tenant="loud") for n in range(5000)))
    stage.log.log(event(9001, tenant="quiet"))
    await stage.settled()
    assert stage.shop.ids("pack").index("evt_9001") <= 2
    assert len(stage.shop.given) == 5001
    await stage.broker.stop()


async def test_two_triggers_of_one_function_mark_events_as_repeated(tmp_path: Path) -> None:
    """A function with two Triggers gets each event marked as repeated, because it may get it twice."""
    plan = plan_of(tmp_path, service("pack"), trigger("a", "pack"), trigger("b", "pack"))
    stage = await start(plan)
    stage.log.log(event(1))
    await stage.settled()
    assert [first for _, _, first in stage.shop.given] == [False, False]
    await stage.broker.stop()


async def test_a_replayed_event_is_new_to_a_function_until_it_was_applied(tmp_path: Path) -> None:
    """A replayed event, or one from outside, is new to a function that has no marker for it, and to no other."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.log.log(event(1))
    again = event(1)
    again.repeated = True
    stage.log.log(again)
    await stage.broker.publish("default", from_structured(event(2).to_structured()))
    await stage.settled()
    assert [(envelope.id, first) for _, envelope, first in stage.shop.given] == [
        ("evt_1", True),
        ("evt_1", False),
        ("evt_2", True),
    ]
    await stage.broker.stop()


async def test_a_sink_that_dead_letters_to_itself_gets_one_delivery_a_minute(tmp_path: Path) -> None:
    """A dead letter sink that is its own sink gets a refused dead letter again once a minute."""
    sink = """
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: graveyard}
spec: {topic: lastro.dead-letters.v1, bootstrapServers: [kafka:9092]}
"""
    source = """
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: graveyard}
spec:
  bootstrapServers: [kafka:9092]
  topics: [lastro.dead-letters.v1]
  delivery:
    retry: 0
    deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1alpha1, kind: KafkaSink, name: graveyard}}
  sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: bury}}
"""
    topic = TOPIC.format(topic="lastro.dead-letters.v1")
    stage = await start(plan_of(tmp_path, service("bury"), sink, source, topic))
    stage.shop.behaviour["bury"] = answering(400)
    stage.log.log(event(1, embeddedroute="topic/lastro.dead-letters.v1"))
    await stage.settled()
    await stage.settled()
    assert len(stage.shop.ids("bury")) == 2
    await move(stage, 61)
    await stage.settled()
    assert len(stage.shop.ids("bury")) == 3
    await stage.broker.stop()


async def test_a_backlog_larger_than_memory_is_read_from_the_log(tmp_path: Path) -> None:
    """Events beyond the bound stay in the log and are delivered later, all of them and in order by key."""
    limits = Limits(events_in_memory=20, page=7)
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack", ordered=True)), limits=limits)
    most = 0

    async def watch(name: str, envelope: Envelope, first: bool) -> Answer:
        nonlocal most
        most = max(most, stage.broker.summary().events)
        await asyncio.sleep(0)
        return ACCEPTED

    stage.shop.behaviour["pack"] = watch
    for n in range(300):
        stage.log.log(event(n, key=str(n % 3)))
    await stage.settled()
    given = stage.shop.ids("pack")
    assert sorted(given) == sorted(f"evt_{n}" for n in range(300))
    for key in range(3):
        assert [id for id in given if int(id[4:]) % 3 == key] == [f"evt_{n}" for n in range(key, 300, 3)]
    assert most <= 20 + 7
    assert not any(first for _, _, first in stage.shop.given[20 + 7 :])
    await stage.broker.stop()


async def test_after_a_crash_unprocessed_events_are_delivered(tmp_path: Path) -> None:
    """A new process delivers each event on disk to the consumers that have no inbox marker for it."""
    plan = plan_of(tmp_path, service("pack"), service("bill"), trigger("pack", "pack"), trigger("bill", "bill"))
    stage = await start(plan)
    stage.shop.behaviour["bill"] = answering(503)
    stage.log.log(event(1), event(2))
    await rest()
    stage.log.save()
    after = await stage.crash()
    await after.settled()
    assert after.shop.ids("pack") == []
    assert sorted(after.shop.ids("bill")) == ["evt_1", "evt_2"]
    assert not any(first for _, _, first in after.shop.given)
    await after.broker.stop()
    assert after.log.low_water_mark == 3


async def test_after_a_failed_batch_only_durable_events_are_delivered(tmp_path: Path) -> None:
    """When a batch fails, the deliveries in progress are canceled, and only the events on disk are delivered again."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    gate = asyncio.Event()
    finished: list[str] = []

    async def hang(name: str, envelope: Envelope, first: bool) -> Answer:
        await gate.wait()
        finished.append(envelope.id)
        return ACCEPTED

    stage.shop.behaviour["pack"] = hang
    stage.log.log(event(1))
    stage.log.save()
    stage.log.log(event(2))
    await rest()
    stage.log.reset()
    stage.log.log(event(3))
    gate.set()
    await stage.settled()
    assert sorted(finished) == ["evt_1", "evt_3"]
    assert stage.broker.summary().subscriptions["trigger/pack"].pending == 0
    await stage.broker.stop()


async def test_the_ingress_offers_an_event_to_its_broker(tmp_path: Path) -> None:
    """An event at the ingress is delivered to the Broker's Triggers, whatever its source; an unknown Broker is
    refused."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    await stage.broker.publish("default", event(1, source="https://outside.example", embeddedroute="topic/forged"))
    await stage.settled()
    (given,) = stage.shop.given
    assert given[1].source == "https://outside.example"
    assert "embeddedroute" not in given[1].extensions
    with pytest.raises(UnknownBroker):
        await stage.broker.publish("other", event(2))
    await stage.broker.stop()


async def test_a_dead_letter_can_be_returned_to_its_broker(tmp_path: Path) -> None:
    """The dead letter of an event from the ingress has the name of its Broker, to whose Triggers a replay delivers
    it."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.shop.behaviour["pack"] = answering(422, 204)
    await stage.broker.publish("default", event(1, source="https://outside.example"))
    await stage.settled()
    (parked,) = [envelope for name, envelope, _ in stage.shop.given if name == "parking"]
    assert parked.extensions["embeddedroute"] == "broker/default"
    stage.log.log(parked)
    await stage.settled()
    assert stage.shop.ids("pack") == ["evt_1", "evt_1"]
    await stage.broker.stop()


async def test_dead_letters_may_go_to_a_topic(tmp_path: Path) -> None:
    """A KafkaSink as dead letter sink writes the event to its topic, from which a source delivers it to a function."""
    sink = """
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: graveyard}
spec: {topic: lastro.dead-letters.v1, bootstrapServers: [kafka:9092]}
"""
    source = """
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: graveyard}
spec:
  bootstrapServers: [kafka:9092]
  topics: [lastro.dead-letters.v1]
  delivery: {deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: parking}}}
  sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: bury}}
  ceOverrides: {extensions: {via: graveyard}}
"""
    to_sink = (
        "{retry: 0, deadLetterSink: "
        "{ref: {apiVersion: eventing.knative.dev/v1alpha1, kind: KafkaSink, name: graveyard}}}"
    )
    plan = plan_of(
        tmp_path,
        service("pack"),
        service("bury"),
        sink,
        source,
        TOPIC.format(topic="lastro.dead-letters.v1"),
        trigger("pack", "pack", delivery=to_sink),
    )
    stage = await start(plan)
    stage.shop.behaviour["pack"] = answering(400)

    async def chat(name: str, envelope: Envelope, first: bool) -> Answer:
        return PlainAnswer(200, {"content-type": "text/plain"}, b"OK")

    stage.shop.behaviour["bury"] = chat
    stage.log.log(event(1))
    await stage.settled()
    (buried,) = [envelope for name, envelope, _ in stage.shop.given if name == "bury"]
    assert (buried.id, buried.extensions["knativeerrorcode"]) == ("evt_1", "400")
    assert buried.extensions["via"] == "graveyard"
    counts = stage.broker.summary().subscriptions
    assert (counts["trigger/pack"].dead_lettered, counts["source/graveyard"].delivered) == (1, 1)
    assert stage.log.acknowledgements == {(1, "trigger/pack"), (2, "source/graveyard")}
    await stage.broker.stop()


async def test_a_request_is_quiet_when_its_deliveries_have_ended(tmp_path: Path) -> None:
    """`quiet` is False while deliveries are in progress; a delivery that waits for a distant retry does not count."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")))
    stage.shop.behaviour["pack"] = answering(503, 503, 503, 204)
    stage.log.log(event(1))
    assert not await stage.broker.quiet("req_1", 0.01)
    stage.clock.advance(timedelta(seconds=0.4))
    stage.broker.timers.run_due()
    assert not await stage.broker.quiet("req_1", 0.01)
    stage.clock.advance(timedelta(seconds=0.8))
    stage.broker.timers.run_due()
    assert await stage.broker.quiet("req_1", PATIENCE_SECONDS)
    assert len(stage.shop.given) == 3
    await move(stage, 1.6)
    assert stage.log.markers
    await stage.broker.stop()


async def test_stopping_waits_for_what_is_in_flight(tmp_path: Path) -> None:
    """A stop waits for running deliveries, starts no others, and moves the low-water mark."""
    stage = await start(plan_of(tmp_path, service("pack"), trigger("pack", "pack")), limits=Limits(workers=1))
    begun, finish = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def slow(name: str, envelope: Envelope, first: bool) -> Answer:
        begun.set()
        await finish.wait()
        done.append(envelope.id)
        return ACCEPTED

    stage.shop.behaviour["pack"] = slow
    stage.log.log(event(1), event(2))
    await begun.wait()
    stopping = asyncio.create_task(stage.broker.stop(PATIENCE_SECONDS))
    await rest()
    assert not stopping.done()
    finish.set()
    await stopping
    assert done == ["evt_1"]
    assert stage.log.low_water_mark == 2
