"""Events are sent to every endpoint that wants them, signed, retried by the schedule, and logged attempt by attempt."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from events.catalogue import CATALOGUE
from events.webhooks import WebhookDelivered, WebhookEndpointDisabled, WebhookExhausted
from functions.webhooks._attempt import JITTER, RETRIES
from functions.webhooks._patterns import matches
from shared.adapters.outgoing.client import HttpOutgoing
from shared.context.due_work import DueWork
from shared.core.clock import format_time, parse_time
from shared.records.webhooks import WEBHOOK_DELIVERIES, WEBHOOK_ENDPOINTS
from tests.functions.payments.story import story
from tests.functions.webhooks.hooks import ENDPOINTS, SETTINGS, deliveries, endpoint, tick, until
from tests.functions.webhooks.receiver import Receiver, receiving, status
from tests.harness import Harness

REGISTERED = "lastro.user.registered.v1"


async def one(harness: Harness, endpoint_id: str) -> Any:
    """Return the only delivery to an endpoint."""
    (delivery,) = await deliveries(harness, endpoint_id)
    return delivery


async def registered(harness: Harness, url: str) -> Any:
    """Register a user whose event goes to an endpoint, deliver the events, and return the endpoint."""
    made = await endpoint(harness, url, REGISTERED)
    await harness.user()
    await harness.run_events()
    return made


async def test_an_event_is_sent_and_verified_by_the_library(hooks: Harness, receiver: Receiver) -> None:
    """The sent event has the five members, its id is `webhook-id`, and the library of Standard Webhooks verifies it."""
    made = await registered(hooks, receiver.url)
    (received,) = receiver.received
    published = next(event for event in hooks.events if event.type == REGISTERED)
    verified = Webhook(made["secret"]).verify(received.body, received.headers)
    assert verified == {
        "id": published.id,
        "type": REGISTERED,
        "timestamp": published.time,
        "tenant_id": "acme",
        "data": {"user_id": published.subject, "kind": "customer"},
    }
    assert received.headers["webhook-id"] == published.id
    assert received.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(received.body.replace(b"customer", b"merchant"), received.headers)
    delivery = await one(hooks, made["id"])
    (attempt,) = delivery["attempts"]
    assert delivery == {
        "id": delivery["id"],
        "event_id": published.id,
        "event_type": REGISTERED,
        "status": "delivered",
        "attempts": [attempt],
        "next_attempt_at": None,
    }
    assert attempt | {"duration_ms": 0} == {
        "at": format_time(hooks.clock.now()),
        "status_code": 204,
        "error": None,
        "duration_ms": 0,
    }
    (fact,) = hooks.events_of(WebhookDelivered)
    assert (fact.delivery_id, fact.event_id, fact.attempts) == (delivery["id"], published.id, 1)


def test_the_signature_of_the_specifications_vector() -> None:
    """The library signs the vector of Standard Webhooks as the specification says."""
    made = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330).astimezone(), '{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_every_event_of_a_payment_is_sent_for_a_star(hooks: Harness, receiver: Receiver) -> None:
    """An endpoint for `*` gets every event of its tenant once, but those about deliveries; one for a prefix its own."""
    begun = await story(hooks)
    await hooks.run_events()
    every = await endpoint(hooks, receiver.url + "/all")
    payments = await endpoint(hooks, receiver.url + "/payments", "lastro.payment.*", "lastro.deposit.settled.v1")
    before = len(hooks.events)
    await hooks.pay(begun.payer, begun.payee, 1000)
    await hooks.run_events(times=2)
    events = [event for event in hooks.events[before:] if not event.type.startswith("lastro.webhook.")]

    def sent(target: str) -> list[str]:
        return sorted(received.json["id"] for received in receiver.received if received.target == target)

    assert sent("/hooks/all") == sorted(event.id for event in events)
    about = [event.id for event in events if event.type.startswith("lastro.payment.")]
    assert sent("/hooks/payments") == sorted(about)
    assert len(about) == 4
    assert hooks.undelivered == []
    for made in (every, payments):
        assert {found["status"] for found in await deliveries(hooks, made["id"])} == {"delivered"}


async def test_a_tenants_events_go_to_its_own_endpoints_only(hooks: Harness, receiver: Receiver) -> None:
    """Another tenant's endpoint for `*` gets no event of this tenant."""
    await hooks.tenant("rival")
    await hooks.run_events()
    await endpoint(hooks, receiver.url, tenant="rival")
    await hooks.user()
    await hooks.run_events()
    assert receiver.received == []


@given(st.sampled_from(sorted(CATALOGUE)), st.data())
def test_a_prefix_matches_what_begins_with_it(type: str, data: st.DataObject) -> None:
    """`prefix.*` stands for the types that begin with the prefix and a dot, a type for itself, and `*` for all."""
    parts = type.split(".")
    prefix = ".".join(parts[: data.draw(st.integers(1, len(parts) - 1))])
    assert matches(["*"], type)
    assert matches([type], type)
    assert matches([f"{prefix}.*"], type)
    assert not matches([f"{prefix}x.*", f"{type}.*", prefix, "nothing.*"], type)


async def test_an_event_that_comes_again_is_sent_once(hooks: Harness, receiver: Receiver) -> None:
    """However often and at once an event is delivered to the dispatcher and the sender, the endpoint gets it once."""
    made = await endpoint(hooks, receiver.url, REGISTERED)
    await hooks.user()
    await hooks.run_events(times=3, together=True)
    await hooks.replay_all()
    await tick(hooks)
    assert len(receiver.received) == 1
    assert len((await one(hooks, made["id"]))["attempts"]) == 1


async def test_failed_attempts_are_retried_by_the_schedule(hooks: Harness, receiver: Receiver) -> None:
    """After the first attempt there are eight retries at the times of the contract ±20 %; then the delivery is
    exhausted, with a fact, and no more attempts are made."""
    receiver.usual = status(500)
    made = await registered(hooks, receiver.url)
    for number, seconds in enumerate((5, 30, 120, 600, 1800, 7200, 18_000, 36_000), 1):
        delivery = await one(hooks, made["id"])
        assert (delivery["status"], len(delivery["attempts"])) == ("pending", number)
        due = parse_time(delivery["next_attempt_at"])
        pause = (due - hooks.clock.now()).total_seconds()
        assert seconds * 0.8 <= pause <= seconds * 1.2
        hooks.clock.advance(timedelta(seconds=pause - 0.001))
        await tick(hooks)
        assert len(receiver.received) == number, "too early"
        hooks.clock.advance(timedelta(seconds=0.001))
        await tick(hooks)
    delivery = await one(hooks, made["id"])
    assert (delivery["status"], len(delivery["attempts"])) == ("exhausted", 9)
    assert delivery["next_attempt_at"] is None
    assert {(attempt["status_code"], attempt["error"]) for attempt in delivery["attempts"]} == {(500, None)}
    (fact,) = hooks.events_of(WebhookExhausted)
    assert (fact.delivery_id, fact.attempts) == (delivery["id"], 9)
    hooks.clock.advance(timedelta(days=1))
    await tick(hooks)
    assert len(receiver.received) == 9
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1
    assert len({received.headers["webhook-timestamp"] for received in receiver.received}) == 9
    assert (RETRIES[0], JITTER) == (5, 0.2)


async def test_a_retry_that_is_accepted_ends_the_delivery(hooks: Harness, receiver: Receiver) -> None:
    """A delivery whose second attempt is accepted is delivered with two attempts."""
    receiver.answers.append(status(503))
    made = await registered(hooks, receiver.url)
    hooks.clock.advance(timedelta(seconds=6))
    await tick(hooks)
    delivery = await one(hooks, made["id"])
    assert (delivery["status"], [a["status_code"] for a in delivery["attempts"]]) == ("delivered", [503, 204])


async def test_a_sender_stays_for_retries_that_are_due_soon() -> None:
    """One call of the sender makes the retry after five seconds itself, without waiting for the next tick."""
    hooks = Harness.make(settings=SETTINGS._replace(webhooks_stay_seconds=20.0))
    await hooks.tenant()
    async with receiving() as receiver:
        receiver.answers.append(status(500))
        await endpoint(hooks, receiver.url, REGISTERED)
        await hooks.user()
        running = asyncio.ensure_future(hooks.run_events())
        await until(lambda: len(receiver.received) == 1 and hooks.runtime.webhooks.waiting == 1)
        hooks.clock.advance(timedelta(seconds=6))
        await running
        assert len(receiver.received) == 2


async def test_of_two_processes_one_makes_an_attempt(hooks: Harness) -> None:
    """When two processes find the same due delivery, the endpoint gets one request; it gets another after the lease of
    an attempt that was never recorded."""
    async with receiving(usual=None) as receiver:
        made = await endpoint(hooks, receiver.url, REGISTERED)
        await hooks.user()
        lost = asyncio.ensure_future(hooks.run_events())
        await until(lambda: len(receiver.received) == 1)
        hooks.runtime.webhooks = DueWork(hooks.clock)  # another process
        await tick(hooks)
        assert len(receiver.received) == 1
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        receiver.usual = status(200)
        hooks.clock.advance(timedelta(seconds=76))
        await tick(hooks)
        assert len(receiver.received) == 2
        assert (await one(hooks, made["id"]))["status"] == "delivered"


@pytest.mark.parametrize(
    ("answer", "recorded"),
    [
        (status(302, "location: http://127.0.0.1:1/"), (302, "redirect_refused")),
        (status(404), (404, None)),
        (b"not HTTP\r\n\r\n", (None, "invalid_response")),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, (None, "invalid_response")),
        (b"", (None, "invalid_response")),
    ],
)
async def test_what_is_no_success_is_recorded(
    hooks: Harness, receiver: Receiver, answer: bytes, recorded: tuple[int | None, str | None]
) -> None:
    """A redirect, which is not followed, another status and a response that is not HTTP are failed attempts with their
    reason."""
    receiver.answers.append(answer)
    made = await registered(hooks, receiver.url)
    (attempt,) = (await one(hooks, made["id"]))["attempts"]
    assert (attempt["status_code"], attempt["error"]) == recorded
    assert len(receiver.received) == 1


async def test_a_large_response_is_not_read_to_its_end(hooks: Harness, receiver: Receiver) -> None:
    """The status of a response counts whose content has no end: its content is not read beyond a bound."""
    receiver.answers.append(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000)
    made = await registered(hooks, receiver.url)
    assert (await one(hooks, made["id"]))["status"] == "delivered"


async def test_an_endpoint_that_does_not_answer_times_out(hooks: Harness) -> None:
    """An attempt without an answer ends with `timeout` after LASTRO_WEBHOOKS_SECONDS."""
    hooks.runtime.outgoing = HttpOutgoing(SETTINGS._replace(webhooks_seconds=0.2))
    async with receiving(usual=None) as receiver:
        made = await registered(hooks, receiver.url)
    (attempt,) = (await one(hooks, made["id"]))["attempts"]
    assert (attempt["status_code"], attempt["error"]) == (None, "timeout")
    assert attempt["duration_ms"] >= 200


async def test_an_endpoint_that_refuses_connections(hooks: Harness, receiver: Receiver) -> None:
    """An attempt at a port on which nothing listens ends with `connection_failed`."""
    made = await registered(hooks, "http://127.0.0.1:1/")
    (attempt,) = (await one(hooks, made["id"]))["attempts"]
    assert (attempt["status_code"], attempt["error"]) == (None, "connection_failed")


@pytest.mark.parametrize("first", [204, 500])
async def test_a_resend_adds_an_attempt(hooks: Harness, receiver: Receiver, first: int) -> None:
    """A resend sends the same event again with the same id at once, and adds an attempt to the delivery."""
    receiver.answers.append(status(first))
    made = await registered(hooks, receiver.url)
    before = await one(hooks, made["id"])
    path = f"{ENDPOINTS}/{made['id']}/deliveries/{before['id']}/resend"
    answer = await hooks.call("POST", path, key="again")
    assert answer.status == 200
    assert answer.json == before | {"status": "pending", "next_attempt_at": format_time(hooks.clock.now())}
    assert (await hooks.call("POST", path, key="again")).headers["idempotent-replayed"] == "true"
    await hooks.run_events()
    after = await one(hooks, made["id"])
    assert (after["status"], len(after["attempts"])) == ("delivered", 2)
    assert len(receiver.received) == 2
    assert receiver.received[0].body == receiver.received[1].body
    assert receiver.received[0].headers["webhook-id"] == receiver.received[1].headers["webhook-id"]


async def test_a_failed_resend_leaves_the_status(hooks: Harness, receiver: Receiver) -> None:
    """A delivered event whose resend fails is delivered still, with the failed attempt in its log and no retry."""
    made = await registered(hooks, receiver.url)
    receiver.answers.append(status(500))
    delivery = await one(hooks, made["id"])
    await hooks.call("POST", f"{ENDPOINTS}/{made['id']}/deliveries/{delivery['id']}/resend")
    await hooks.run_events()
    after = await one(hooks, made["id"])
    assert (after["status"], after["next_attempt_at"]) == ("delivered", None)
    assert [a["status_code"] for a in after["attempts"]] == [204, 500]


async def test_a_resend_is_refused_where_it_cannot_be_made(hooks: Harness, receiver: Receiver) -> None:
    """A resend of an unknown delivery is 404; during an attempt, at a disabled endpoint, and after 100 attempts 409."""
    made = await registered(hooks, receiver.url)
    delivery = await one(hooks, made["id"])
    path = f"{ENDPOINTS}/{made['id']}/deliveries"
    assert (await hooks.call("POST", f"{path}/whd_0/resend")).code == "not_found"
    later = format_time(hooks.clock.now() + timedelta(seconds=1))
    await hooks.alter(WEBHOOK_DELIVERIES, delivery["id"], lease="lea_1", due_at=later)
    assert (await hooks.call("POST", f"{path}/{delivery['id']}/resend")).code == "illegal_state"
    await hooks.alter(WEBHOOK_DELIVERIES, delivery["id"], lease=None, attempts=delivery["attempts"] * 100)
    assert (await hooks.call("POST", f"{path}/{delivery['id']}/resend")).code == "illegal_state"
    await hooks.alter(WEBHOOK_DELIVERIES, delivery["id"], attempts=delivery["attempts"])
    await hooks.alter(WEBHOOK_ENDPOINTS, made["id"], status="disabled")
    assert (await hooks.call("POST", f"{path}/{delivery['id']}/resend")).code == "illegal_state"


async def test_deliveries_of_a_deleted_endpoint_end(hooks: Harness, receiver: Receiver) -> None:
    """A retry that is due after its endpoint was deleted is not made, and the delivery is exhausted."""
    receiver.usual = status(500)
    made = await registered(hooks, receiver.url)
    await hooks.call("DELETE", f"{ENDPOINTS}/{made['id']}")
    hooks.clock.advance(timedelta(seconds=6))
    await tick(hooks)
    assert len(receiver.received) == 1
    assert len(hooks.events_of(WebhookExhausted)) == 1


async def test_an_endpoint_that_is_gone_is_disabled(hooks: Harness, receiver: Receiver) -> None:
    """An endpoint that answers 410 is disabled at once, its delivery is exhausted, and a fact says so."""
    receiver.usual = status(410)
    made = await registered(hooks, receiver.url)
    assert (await hooks.call("GET", f"{ENDPOINTS}/{made['id']}")).json["status"] == "disabled"
    assert (await one(hooks, made["id"]))["status"] == "exhausted"
    (fact,) = hooks.events_of(WebhookEndpointDisabled)
    assert (fact.endpoint_id, fact.reason) == (made["id"], "gone")


async def test_an_endpoint_that_fails_for_days_is_disabled(hooks: Harness, receiver: Receiver) -> None:
    """An endpoint whose every attempt fails for five days is disabled with a fact that other endpoints get; it is sent
    nothing more. A success in between begins the five days again."""
    receiver.usual = status(500)
    failing = await endpoint(hooks, receiver.url + "/failing", REGISTERED)
    watching = await endpoint(hooks, receiver.url + "/watching", "lastro.webhook.*")
    path = f"{ENDPOINTS}/{failing['id']}"
    await hooks.user("52998224725")
    await hooks.run_events()
    hooks.clock.advance(timedelta(days=4, hours=23))
    await tick(hooks)
    assert (await hooks.call("GET", path)).json["status"] == "active"
    receiver.usual = status(200)
    hooks.clock.advance(timedelta(hours=2))
    await tick(hooks)
    receiver.usual = status(500)
    await hooks.user("11144477735")
    await hooks.run_events()
    assert (await hooks.call("GET", path)).json["status"] == "active"
    hooks.clock.advance(timedelta(days=5))
    receiver.usual = status(500)
    await tick(hooks)
    assert (await hooks.call("GET", path)).json["status"] == "disabled"
    (fact,) = hooks.events_of(WebhookEndpointDisabled)
    assert (fact.endpoint_id, fact.reason) == (failing["id"], "failing")
    await hooks.run_events()
    assert [r.json["type"] for r in receiver.received if r.target.endswith("/watching")] == [
        WebhookEndpointDisabled.type
    ]
    assert {found["event_type"] for found in await deliveries(hooks, watching["id"])} == {WebhookEndpointDisabled.type}
    sent = len(receiver.received)
    await hooks.user("39053344705")
    await hooks.run_events()
    assert len(receiver.received) == sent
