"""Webhooks on the whole platform: events reach endpoints, and a hanging endpoint delays nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from standardwebhooks import Webhook

from shared.core.clock import ManualClock
from tests.contract.calling import Pair, eventually, new_account, new_pair, running
from tests.functions.webhooks.hooks import ENDPOINTS, until
from tests.functions.webhooks.receiver import receiving, status

PAYMENTS = 40
SETTLED = "lastro.payment.settled.v1"


async def pay(pair: Pair, *, wait: bool = False) -> Any:
    """Create a payment, and wait until it has settled if requested."""
    return await pair.client.made("/v1/payments", pair.payment(), also=(("prefer", "wait=10"),) if wait else ())


async def test_a_hanging_endpoint_delays_no_other_tenant(tmp_path: Path) -> None:
    """While every attempt at a tenant's endpoint hangs under load, its payments settle within their request, another
    tenant's events are all delivered, and so are those to its own other endpoint."""
    async with (
        receiving(usual=None) as hanging,
        receiving() as good,
        running(tmp_path, webhooks_allow_private=1, webhooks_seconds=300.0) as deployment,
    ):
        slow, other = await deployment.new_tenant(), await deployment.new_tenant()
        pairs = [await new_pair(slow), await new_pair(other)]
        await slow.made(ENDPOINTS, {"url": hanging.url, "events": ["*"]})
        await slow.made(ENDPOINTS, {"url": good.url + "/slow", "events": [SETTLED]})
        made = await other.made(ENDPOINTS, {"url": good.url + "/other", "events": [SETTLED]})
        for _ in range(PAYMENTS):
            for pair in pairs:
                await pay(pair)
        await until(lambda: len(good.received) == 2 * PAYMENTS)
        assert {hanging.most_at_once, hanging.at_once} == {4}
        payment = await pay(pairs[0], wait=True)
        assert payment["status"] == "settled"
        assert hanging.at_once == 4
        received = [r for r in good.received if r.target.endswith("/other")]
        assert len({r.headers["webhook-id"] for r in received}) == PAYMENTS
        for each in received:
            assert Webhook(made["secret"]).verify(each.body, each.headers)["tenant_id"] == other.tenant_id
        path = f"{ENDPOINTS}/{made['id']}/deliveries?limit=100"
        page = await eventually(other, path, lambda page: all(d["status"] == "delivered" for d in page["data"]))
        assert len(page["data"]) == PAYMENTS


async def test_the_first_retry_comes_after_five_seconds(tmp_path: Path) -> None:
    """On a running platform the second attempt follows the first after five seconds ±20 %, without a tick."""
    async with receiving() as receiver, running(tmp_path, webhooks_allow_private=1) as deployment:
        receiver.answers.append(status(500))
        client = await deployment.new_tenant()
        made = await client.made(ENDPOINTS, {"url": receiver.url, "events": ["lastro.user.registered.v1"]})
        began = monotonic()
        await new_account(client)
        await until(lambda: len(receiver.received) == 2)
        assert monotonic() - began >= 4.0
        first, second = (int(r.headers["webhook-timestamp"]) for r in receiver.received[:2])
        assert second - first >= 3
        path = f"{ENDPOINTS}/{made['id']}/deliveries"
        await eventually(client, path, lambda page: len(page["data"][-1]["attempts"]) == 2)


async def test_an_attempt_survives_the_process(tmp_path: Path) -> None:
    """An attempt that the end of the process has cut off is made by the next process, after its lease."""
    start = datetime.now(UTC)
    async with receiving(usual=None) as receiver:
        async with running(tmp_path, ManualClock(start), webhooks_allow_private=1) as deployment:
            client = await deployment.tenant()
            await client.made(ENDPOINTS, {"url": receiver.url, "events": ["lastro.user.registered.v1"]})
            await new_account(client)
            await until(lambda: len(receiver.received) == 1)
        receiver.usual = status(200)
        later = ManualClock(start + timedelta(seconds=80))
        async with running(tmp_path, later, webhooks_allow_private=1) as deployment:
            client = await deployment.tenant()
            (made,) = (await client.read(ENDPOINTS))["data"]
            path = f"{ENDPOINTS}/{made['id']}/deliveries"
            page = await eventually(client, path, lambda page: page["data"][0]["status"] == "delivered")
            assert len(page["data"][0]["attempts"]) == 1
            assert len(receiver.received) == 2


async def test_without_endpoints_nothing_is_dispatched(tmp_path: Path) -> None:
    """Events of a tenant without endpoints, or that no endpoint wants, are not delivered to the dispatcher at all."""
    async with running(tmp_path, webhooks_allow_private=1) as deployment:
        client = await deployment.new_tenant()
        pair = await new_pair(client)
        await pay(pair, wait=True)
        await client.made(ENDPOINTS, {"url": "http://127.0.0.1:1/", "events": ["lastro.refund.*"]})
        await pay(pair, wait=True)
        assert await deployment.platform.broker.idle(60.0)
        calls = {status.consumer: status.calls for status in deployment.platform.functions.status()}
        assert calls["payments/settle"] == 2
        assert calls["webhooks/dispatch"] == 0
