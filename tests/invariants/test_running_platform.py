"""The invariants on a running platform: gateway, broker and store on a socket, with events in the broker's own
order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from embedded.platform.platform import Options, Platform
from shared.adapters.sqlite.writer import ProcessWriter
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from tests.contract.calling import Client, Deployment, Pair, brl, eventually, new_account, running, user_body
from tests.contract.wire import Answer, served
from tests.invariants.books import check_always, check_quiet
from tests.waiting import PATIENCE_SECONDS

WAIT = (("prefer", "wait=10"),)


@dataclass
class Reader:
    """The client that reads the books."""

    client: Client

    @property
    def id(self) -> str:
        return self.client.tenant_id

    async def get(self, path: str) -> Any:
        return await self.client.read(path)

    async def listed(self, path: str) -> list[Any]:
        found: list[Any] = []
        page = await self.client.read(f"{path}?limit=100")
        while True:
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            page = await self.client.read(f"{path}?limit=100&cursor={page['next_cursor']}")


async def funded(client: Client, amount: int) -> Pair:
    """Create a payer with this balance and no overdraft, and a payee."""
    payer, payee = await new_account(client, overdraft_limit=0), await new_account(client, overdraft_limit=0)
    await client.made("/v1/deposits", {"account_id": payer, "amount": brl(amount), "method": "pix"}, also=WAIT)
    await eventually(client, f"/v1/accounts/{payer}/balance", lambda balance: balance["posted"] == amount)
    return Pair(client, payer, payee)


async def at_rest(deployment: Deployment, client: Client) -> None:
    """Check the books when the broker has delivered everything."""
    assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
    await check_always(deployment.platform, Reader(client))
    await check_quiet(deployment.platform, Reader(client))


async def persistent(client: Client, target: str, body: Any, key: str) -> Answer:
    """Send a request under one key until the platform accepts it or refuses it finally."""
    while True:
        answer = await client.post(target, body, key=key)
        if answer.status != 503 and answer.code != "request_in_progress":
            return answer
        await asyncio.sleep(0.02)


async def test_ten_of_fifty_payments_settle_over_http(tmp_path: Path) -> None:
    """Of 50 concurrent payments of 1.00 from an account with 10.00, exactly 10 settle and 40 are declined."""
    async with running(tmp_path) as deployment:
        client = await deployment.tenant()
        pair = await funded(client, 1000)
        made = await asyncio.gather(*(pair.paid() for _ in range(50)))
        await at_rest(deployment, client)
        payments = [await client.read(f"/v1/payments/{payment['id']}") for payment in made]
        outcomes = Counter(p["status"] if p["failure"] is None else p["failure"]["code"] for p in payments)
        assert outcomes == {"settled": 10, "insufficient_funds": 40}
        assert (await client.read(f"/v1/accounts/{pair.payer}/balance"))["available"] == 0


async def test_twenty_requests_of_one_key_make_one_payment_over_http(tmp_path: Path) -> None:
    """20 concurrent requests with one key create one payment, and all successful responses have the same bytes."""
    async with running(tmp_path) as deployment:
        client = await deployment.tenant()
        pair = await funded(client, 1000)
        body = pair.payment()
        answers = await asyncio.gather(*(persistent(client, "/v1/payments", body, "one") for _ in range(20)))
        assert {answer.status for answer in answers} == {201}
        assert len({answer.body for answer in answers}) == 1
        await at_rest(deployment, client)
        assert len((await client.read(f"/v1/payments?account={pair.payer}"))["data"]) == 1


@asynccontextmanager
async def with_a_writer_process(data_dir: Path) -> AsyncIterator[Deployment]:
    """A platform with a writer process, as in `lastro up`."""
    options, settings = Options(writer="process"), Settings(data_dir=str(data_dir))
    platform = await Platform.start(settings, options, clock=SystemClock())
    try:
        async with served(platform.gateway) as wire:
            yield Deployment(platform, wire, SystemClock())
    finally:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await platform.stop()


def kill_the_writer(platform: Platform) -> None:
    """Kill the writer process."""
    os.kill(cast("ProcessWriter", platform.store._journal._writer).pid, signal.SIGKILL)


async def has_a_writer(platform: Platform, *, wanted: bool) -> None:
    """Wait until the store has a writer, or has noticed that it has none."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (platform.store._journal.refusing is None) is not wanted:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.005)


async def test_the_writer_dies_under_load(tmp_path: Path) -> None:
    """When the writer process is killed repeatedly during fifty payments, no answered command is lost: clients repeat
    unanswered commands under their keys, and the books are right."""
    async with with_a_writer_process(tmp_path) as deployment:
        client, platform = await deployment.tenant(), deployment.platform
        pair = await funded(client, 1000)
        asking = [persistent(client, "/v1/payments", pair.payment(), f"order-{number}") for number in range(50)]
        under_way = asyncio.gather(*asking)
        for _ in range(4):
            await asyncio.sleep(0.03)
            kill_the_writer(platform)
            await has_a_writer(platform, wanted=False)
            await has_a_writer(platform, wanted=True)
        answers = await under_way
        again = await asyncio.gather(
            *(persistent(client, "/v1/payments", pair.payment(), f"order-{number}") for number in range(50))
        )
        assert [answer.body for answer in again] == [answer.body for answer in answers]
        assert len({answer.document["id"] for answer in answers}) == 50
        await at_rest(deployment, client)
        payments = await Reader(client).listed("/v1/payments")
        assert Counter(payment["status"] for payment in payments) == {"settled": 10, "declined": 40}
        assert (await client.read(f"/v1/accounts/{pair.payee}/balance"))["posted"] == 1000


async def test_a_platform_without_its_writer_stops_in_time(tmp_path: Path) -> None:
    """A platform that is stopped without a writer, and with unwritten changes, ends in time."""
    async with with_a_writer_process(tmp_path) as deployment:
        kill_the_writer(deployment.platform)
        await has_a_writer(deployment.platform, wanted=False)
        deployment.platform.store.acknowledge(1, "trigger/none")


async def test_an_acknowledgement_without_a_writer_is_written_by_the_next(tmp_path: Path) -> None:
    """An acknowledgement that was made without a writer is written by the next writer and delays nothing."""
    async with with_a_writer_process(tmp_path) as deployment:
        client, platform = await deployment.tenant(), deployment.platform
        kill_the_writer(platform)
        await has_a_writer(platform, wanted=False)
        platform.store.acknowledge(1, "trigger/none")
        await asyncio.sleep(0)
        await has_a_writer(platform, wanted=True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await client.read("/v1/accounts")


async def test_two_tenants_at_once_are_separate(tmp_path: Path) -> None:
    """Concurrent payments of two tenants through one broker leave each tenant's own books right."""
    async with running(tmp_path) as deployment:
        clients = [await deployment.tenant(), await deployment.new_tenant()]
        pairs = [await funded(client, 500) for client in clients]
        await asyncio.gather(*(pair.paid(amount=brl(50)) for pair in pairs for _ in range(12)))
        for client, pair in zip(clients, pairs, strict=True):
            await at_rest(deployment, client)
            assert (await client.read(f"/v1/accounts/{pair.payee}/balance"))["posted"] == 500
            owner = await client.made("/v1/users", user_body())
            assert owner["status"] == "active"
