"""`Prefer: wait` in a process that does not know the broker, such as a function that runs alone."""

from __future__ import annotations

import asyncio
from time import perf_counter

from tests.harness import Harness


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
