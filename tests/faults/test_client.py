"""The client of the faults counts what happened to its commands, and compares every answer with the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import aclosing

import httpx
import pytest

from tests.contract.calling import Key
from tests.faults.client import Client, Counts, Credentials, Door

REPLAYED = {"idempotent-replayed": "true"}
ADDRESS = "http://platform.example"
Step = Callable[[httpx.Request], httpx.Response]


def answered(status: int, *, id: str = "pay_1", code: str = "", **headers: str) -> Step:
    """Return the step of a platform that answers with this status."""
    return lambda _: httpx.Response(status, json={"id": id, "code": code}, headers=headers)


def breaks(request: httpx.Request) -> httpx.Response:
    """Break the connection after the request was sent."""
    raise httpx.ReadError("reset", request=request)


def refuses(request: httpx.Request) -> httpx.Response:
    """Accept no connection."""
    raise httpx.ConnectError("refused", request=request)


def client_of(steps: Sequence[Step]) -> Client:
    """Return a client of one platform that takes these steps, one for each request."""
    left = iter(steps)

    def answer(request: httpx.Request) -> httpx.Response:
        step = next(left)
        return step(request)

    transport = httpx.MockTransport(answer)
    credentials = Credentials("cl_1", "secret", "ten_1", Key("key_1", "secret"))
    door = Door(httpx.AsyncClient(base_url=ADDRESS, transport=transport), "token", math.inf)
    return Client({"a": ADDRESS}, credentials, doors={ADDRESS: door})


@pytest.mark.parametrize(
    ("steps", "counts"),
    [
        ([answered(201)], Counts(answered=1)),
        ([refuses, answered(503), answered(429), answered(201)], Counts(answered=1, refused=3)),
        ([answered(409, code="request_in_progress"), answered(201)], Counts(answered=1, refused=1)),
        ([breaks, breaks, answered(201, **REPLAYED)], Counts(answered=1, lost=2, had_happened=1)),
        ([breaks, answered(503), answered(201)], Counts(answered=1, lost=1, refused=1, had_not=1)),
    ],
)
async def test_a_command_is_sent_until_it_is_accepted(steps: Sequence[Step], counts: Counts) -> None:
    """A command is repeated after a refusal and after a lost answer, and each is counted, with what had happened."""
    client = client_of(steps)
    async with aclosing(client):
        assert (await client.command("one", "/v1/payments", {}))["id"] == "pay_1"
    client.counts.longest = 0.0
    assert client.counts == counts


async def test_a_final_refusal_is_an_error() -> None:
    """A refusal that does not ask for a repetition fails, with the answer."""
    client = client_of([answered(409, code="illegal_state")])
    async with aclosing(client):
        with pytest.raises(AssertionError, match="illegal_state"):
            await client.command("one", "/v1/payments", {})


@pytest.mark.parametrize(
    "again",
    [answered(201, id="pay_2", **REPLAYED), answered(201)],
    ids=["another answer", "a second effect"],
)
async def test_another_answer_to_a_command_is_an_error(again: Step) -> None:
    """A repeated command fails when its answer is not the first one, or is not a repetition."""
    client = client_of([answered(201), again])
    async with aclosing(client):
        await client.command("one", "/v1/payments", {})
        with pytest.raises(AssertionError, match="one: "):
            await client.check_answers()
