"""Rate limits by tenant, which every response shows; a refusal has the time to wait."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.contract.calling import Client, Deployment, still_clock
from tests.contract.conftest import Start

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-ratelimit-limit-second"]


async def test_the_gateways_limit_is_in_every_response(demo: Client) -> None:
    """Every response to a known tenant, also a refusal, has the embedded gateway's limit of 20,000 requests a
    second."""
    for answer in (await demo.get("/v1/payments"), await demo.get("/v1/payments/pay_x"), await demo.post("/v1/users")):
        assert answer.header("ratelimit-limit") == "20000"
        assert all(answer.header(name) is not None for name in NAMES)


async def test_a_tenants_own_limit_is_applied(start: Start) -> None:
    """A tenant with its own limit can send one second's requests at once; more get 429 with Retry-After until the
    bucket is refilled."""
    clock = still_clock()
    async with start(clock) as deployment:
        client = await deployment.new_tenant(limits={"requests_per_second": 3})
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
        # The limit does not apply to another tenant.
        assert (await (await deployment.tenant()).get("/v1/payments")).status == 200


async def test_concurrent_requests_do_not_exceed_the_limit(start: Start) -> None:
    """Of twenty concurrent requests five are accepted when the bucket has five."""
    async with start(still_clock()) as deployment:
        client = await deployment.new_tenant(limits={"requests_per_second": 5})
        answers = await asyncio.gather(*(client.get("/v1/payments") for _ in range(20)))
        assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 15


async def test_requests_without_a_valid_token_do_not_count(start: Start) -> None:
    """Requests without a valid token of the tenant do not count for its limit."""
    async with start(still_clock()) as deployment:
        client = await deployment.new_tenant(limits={"requests_per_second": 1})
        for change in ({"authorization": None}, {"authorization": "Bearer forged"}, {"x-tenant-id": "other"}):
            assert (await client.get("/v1/payments", change=change)).status in (401, 403)
        assert (await client.get("/v1/payments")).status == 200
        assert (await client.get("/v1/payments")).status == 429


async def test_a_refused_request_may_be_sent_again_as_it_is(start: Start) -> None:
    """A request that the limit refuses has used up neither its signature nor its key, and may be sent again
    unchanged."""
    clock = still_clock()
    async with start(clock) as deployment:
        client = await deployment.new_tenant(limits={"requests_per_second": 1})
        assert (await client.get("/v1/payments")).status == 200
        headers = client.headers("POST", "/v1/users", b"{}")
        codes = []
        for _ in range(2):
            codes.append((await deployment.wire.send("POST", "/v1/users", headers.items(), b"{}")).code)
            clock.advance(timedelta(seconds=1))
        assert codes == ["rate_limited", "validation_failed"]


async def test_the_limit_is_shown_in_the_tenant(deployment: Deployment, operator: Client) -> None:
    """A tenant's resource shows its own limits; null means the gateway's."""
    limited = await deployment.new_tenant(limits={"requests_per_second": 20_000})
    plain = await deployment.new_tenant()
    assert (await operator.read(f"/v1/tenants/{limited.tenant_id}"))["limits"] == {"requests_per_second": 20_000}
    assert (await operator.read(f"/v1/tenants/{plain.tenant_id}"))["limits"] == {"requests_per_second": None}
