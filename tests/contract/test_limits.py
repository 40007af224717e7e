"""Rate limits: per tenant, told on every answer, refused with the time to wait."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.contract.calling import Client, House, still_clock
from tests.contract.conftest import Start

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-ratelimit-limit-second"]


async def test_the_gateway_s_limit_is_told(demo: Client) -> None:
    """The embedded gateway's 20,000 requests a second stand on every answer to a known tenant, refusals as well."""
    for answer in (await demo.get("/v1/payments"), await demo.get("/v1/payments/pay_x"), await demo.post("/v1/users")):
        assert answer.header("ratelimit-limit") == "20000"
        assert all(answer.header(name) is not None for name in NAMES)


async def test_a_tenant_s_own_limit_is_held(start: Start) -> None:
    """Its burst is one second's worth; the next is 429 with Retry-After, until time has filled the bucket again."""
    clock = still_clock()
    async with start(clock) as house:
        client = await house.new_tenant(limits={"requests_per_second": 3})
        left = []
        for _ in range(3):
            answer = await client.get("/v1/payments")
            left.append((answer.status, answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")))
        assert left == [(200, "3", "2"), (200, "3", "1"), (200, "3", "0")]
        for answer in (await client.get("/v1/payments"), await client.post("/v1/users", {})):
            assert (answer.status, answer.code) == (429, "rate_limited")
            assert answer.header("retry-after") == "1"
            assert answer.header("ratelimit-remaining") == "0"
        clock.advance(timedelta(seconds=1))
        assert (await client.get("/v1/payments")).status == 200
        # Another tenant is not held to it.
        assert (await (await house.tenant()).get("/v1/payments")).status == 200


async def test_requests_at_once_do_not_slip_through(start: Start) -> None:
    """Of twenty at once five pass when five are left."""
    async with start(still_clock()) as house:
        client = await house.new_tenant(limits={"requests_per_second": 5})
        answers = await asyncio.gather(*(client.get("/v1/payments") for _ in range(20)))
        assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 15


async def test_what_is_refused_before_costs_the_tenant_nothing(start: Start) -> None:
    """Requests without a good token for the tenant are not counted against it: nobody else can use its rate up."""
    async with start(still_clock()) as house:
        client = await house.new_tenant(limits={"requests_per_second": 1})
        for change in ({"authorization": None}, {"authorization": "Bearer forged"}, {"x-tenant-id": "other"}):
            assert (await client.get("/v1/payments", change=change)).status in (401, 403)
        assert (await client.get("/v1/payments")).status == 200
        assert (await client.get("/v1/payments")).status == 429


async def test_a_refused_request_may_be_sent_again_as_it_is(start: Start) -> None:
    """The limit is before the signature: what it refused has not used its signature up, nor its key."""
    clock = still_clock()
    async with start(clock) as house:
        client = await house.new_tenant(limits={"requests_per_second": 1})
        assert (await client.get("/v1/payments")).status == 200
        headers = client.headers("POST", "/v1/users", b"{}")
        codes = []
        for _ in range(2):
            codes.append((await house.wire.send("POST", "/v1/users", headers.items(), b"{}")).code)
            clock.advance(timedelta(seconds=1))
        assert codes == ["rate_limited", "validation_failed"]


async def test_the_limit_is_shown_in_the_tenant(house: House, operator: Client) -> None:
    """A tenant's limits are answered as they were given; null is the gateway's own."""
    limited = await house.new_tenant(limits={"requests_per_second": 20_000})
    plain = await house.new_tenant()
    assert (await operator.read(f"/v1/tenants/{limited.tenant_id}"))["limits"] == {"requests_per_second": 20_000}
    assert (await operator.read(f"/v1/tenants/{plain.tenant_id}"))["limits"] == {"requests_per_second": None}
