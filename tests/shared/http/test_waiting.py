"""`Prefer: wait` in a process that does not know the broker, such as a function that runs alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import perf_counter

from shared.ports.documents import Query
from shared.records.payments import PAYMENTS
from tests.harness import Answer, Harness


async def test_a_function_alone_answers_when_the_document_shows_the_end(harness: Harness) -> None:
    """The answer comes soon after the payment has settled, long before the preferred time is over."""
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
    """A payment that is waited for under a key, as far as its answer is stored and is not the last word."""
    payer, payee = (await harness.account())["id"], (await harness.account())["id"]
    await harness.fund(payer, 1000)
    amount = {"value": 300, "currency": "BRL"}
    body = {"amount": amount, "method": "internal", "payer_account_id": payer, "payee_account_id": payee}
    task = asyncio.create_task(harness.call("POST", "/v1/payments", body, key=key, headers={"prefer": "wait=10"}))
    while not await harness.documents.find(PAYMENTS, "acme", Query()):  # noqa: ASYNC110 - a document has no event
        await asyncio.sleep(0)
    return body, task


async def test_a_key_has_one_answer_though_its_lock_is_lost(harness: Harness) -> None:
    """While a request waits for the end, another of its key is told to wait; then it gets the same answer."""
    body, first = await waiting_payment(harness, "once")
    await harness.runtime.cache.clear()
    early = await harness.call("POST", "/v1/payments", body, key="once")
    while not first.done():
        await harness.run_events()
        await asyncio.sleep(0)
    answer, late = first.result(), await harness.call("POST", "/v1/payments", body, key="once")
    assert (early.status, early.code, early.headers["retry-after"]) == (409, "request_in_progress", "1")
    assert (answer.json["status"], late.body) == ("settled", answer.body)
    assert late.headers["idempotent-replayed"] == "true"


async def test_the_answer_of_a_request_that_died_waiting_is_the_first_one(harness: Harness) -> None:
    """When the time for waiting is long over, the answer that was stored with the effect becomes the key's for good."""
    body, first = await waiting_payment(harness, "once")
    first.cancel()
    await harness.runtime.cache.clear()
    harness.clock.advance(timedelta(seconds=10 + harness.runtime.settings.lock_seconds))
    answers = [await harness.call("POST", "/v1/payments", body, key="once") for _ in range(2)]
    assert [(answer.status, answer.json["status"]) for answer in answers] == [(201, "created")] * 2
    assert answers[0].body == answers[1].body


async def test_a_request_that_waited_too_long_gives_the_answer_that_was_given(harness: Harness) -> None:
    """Where another request of the key was answered meanwhile, the one that has waited is answered the same."""
    body, first = await waiting_payment(harness, "once")
    await harness.runtime.cache.clear()
    harness.clock.advance(timedelta(seconds=10 + harness.runtime.settings.lock_seconds))
    given = await harness.call("POST", "/v1/payments", body, key="once")
    while not first.done():
        await harness.run_events()
        await asyncio.sleep(0)
    assert given.json["status"] == "created"
    assert first.result().body == given.body
