"""`Prefer: wait` in a process without a broker, such as a function that runs alone."""

from __future__ import annotations

import asyncio
from time import perf_counter

from shared.ports.documents import Commit, Query
from shared.records.idempotency import IDEMPOTENCY
from shared.records.payments import PAYMENTS
from tests.harness import Answer, Harness


async def test_a_function_alone_answers_when_the_payment_has_ended(harness: Harness) -> None:
    """The response is sent soon after the payment has settled, before the preferred time has passed."""
    payer, payee = (await harness.account())["id"], (await harness.account())["id"]
    await harness.fund(payer, 1000)
    assert harness.runtime.request_quiet is None
    body = {
        "amount": {"value": 300, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": payer,
        "payee_account_id": payee,
    }
    started = perf_counter()
    waiting = asyncio.create_task(harness.call("POST", "/v1/payments", body, headers={"prefer": "wait=10"}))
    while not waiting.done():
        await harness.run_events()
        await asyncio.sleep(0)
    answer = waiting.result()
    assert (answer.status, answer.json["status"]) == (201, "settled")
    assert answer.headers["preference-applied"] == "wait=10"
    assert perf_counter() - started < 8


async def waiting_payment(harness: Harness, key: str) -> tuple[dict[str, object], asyncio.Task[Answer]]:
    """Send a payment with `Prefer: wait`, whose first response is stored and may still be replaced."""
    payer, payee = (await harness.account())["id"], (await harness.account())["id"]
    await harness.fund(payer, 1000)
    amount = {"value": 300, "currency": "BRL"}
    body = {"amount": amount, "method": "internal", "payer_account_id": payer, "payee_account_id": payee}
    task = asyncio.create_task(harness.call("POST", "/v1/payments", body, key=key, headers={"prefer": "wait=10"}))
    while not await harness.documents.find(PAYMENTS, "acme", Query()):  # noqa: ASYNC110 - a document has no event
        await asyncio.sleep(0)
    return body, task


async def test_a_key_has_one_response_when_its_lock_is_lost(harness: Harness) -> None:
    """Another request of the key gets the stored response, and the waiting request then returns the same."""
    body, first = await waiting_payment(harness, "once")
    await harness.runtime.cache.clear()
    early = await harness.call("POST", "/v1/payments", body, key="once")
    while not first.done():
        await harness.run_events()
        await asyncio.sleep(0)
    late = await harness.call("POST", "/v1/payments", body, key="once")
    assert (early.status, early.json["status"], early.headers["idempotent-replayed"]) == (201, "created", "true")
    assert first.result().body == early.body
    assert late.body == early.body
    assert (await harness.payment(early.json["id"]))["status"] == "settled"


async def test_the_later_response_is_stored_under_the_key(harness: Harness) -> None:
    """Without another request of the key meanwhile, the later response is stored under the key."""
    body, first = await waiting_payment(harness, "once")
    while not first.done():
        await harness.run_events()
        await asyncio.sleep(0)
    late = await harness.call("POST", "/v1/payments", body, key="once")
    assert (first.result().json["status"], late.body) == ("settled", first.result().body)


async def test_a_key_whose_request_ended_waiting_is_answered_at_once(harness: Harness) -> None:
    """When a waiting request ends without a response, the next request of the key gets the first response without
    waiting."""
    body, first = await waiting_payment(harness, "once")
    first.cancel()
    await harness.runtime.cache.clear()
    answers = [await harness.call("POST", "/v1/payments", body, key="once") for _ in range(2)]
    assert [(answer.status, answer.json["status"]) for answer in answers] == [(201, "created")] * 2
    assert answers[0].body == answers[1].body


async def test_a_response_that_was_lost_while_its_request_waited_is_503(harness: Harness) -> None:
    """When the store has lost what it had not written, the request that waits is answered 503 and may be retried."""
    _, first = await waiting_payment(harness, "once")
    for stored in await harness.documents.find(IDEMPOTENCY, "acme", Query(where={"open": True})):
        await harness.documents.commit(Commit("acme", deletes=[(IDEMPOTENCY, stored["id"])]))
    while not first.done():
        await harness.run_events()
        await asyncio.sleep(0)
    assert (first.result().status, first.result().code) == (503, "dependency_unavailable")
