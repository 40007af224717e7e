"""One fault at a time on the real servers, under load: what holds afterwards is the table of docs/servers.md.

`pytest -s` shows the figures of each case. They also go to a file of results, from which `python -m tests.faults table`
writes the table.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.faults.cases import CASES, Case
from tests.faults.checks import check_all, stores_of
from tests.faults.client import Client, Credentials
from tests.faults.conftest import Prepare
from tests.faults.load import Load, Watch
from tests.faults.outcome import Outcome, forget, record
from tests.faults.stage import Stage

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_nothing_is_lost_and_nothing_happens_twice(case: Case, prepare: Prepare) -> None:
    """After a fault under load, every accepted payment is final, each command has had one effect, repeated commands get
    their first answer, and accounts, ledger, events and statements agree."""
    forget(case.name)
    stage = await prepare(case.layout)
    stage.is_sound = False
    outcome = await run(case, stage)
    stage.is_sound = True
    print(f"\n{outcome.text()}")
    record(outcome)


async def run(case: Case, stage: Stage) -> Outcome:
    """Run a case with a tenant of its own, and return the outcome. Fails when something does not hold."""
    operator = Client(stage.addresses, stage.operator(), stage.token_url)
    body = {"name": case.name, "limits": {"requests_per_second": 1000}}
    tenant = Credentials.of_tenant(await operator.command(f"tenant-{case.name}", "/v1/tenants", body))
    await stage.admit(tenant)
    client = Client(stage.addresses, tenant, stage.token_url)
    stage.client = client
    async with stores_of(stage) as world, contextlib.aclosing(operator), contextlib.aclosing(client):
        load, watch = Load(client), Watch(world.platform, client.id)
        await load.open_accounts()
        watching = asyncio.create_task(watch.go_on())
        note = ""

        async def strike() -> None:
            nonlocal note
            note = await case.strike(stage)

        await load.run(strike)
        statuses, replayed = await check_all(world, load)
        await watch.look()
        assert not watching.done(), watching.exception()
        watching.cancel()
    before = [load.made[number]["id"] for number, at in load.sent_at.items() if at < load.fault_ended]
    counts = client.counts
    return Outcome(
        case=case.name,
        accepted=len(load.made),
        settled=statuses["settled"],
        declined=statuses["declined"],
        refunds=len(load.refunds),
        refused=counts.refused,
        lost=counts.lost,
        had_happened=counts.had_happened,
        had_not=counts.had_not,
        longest=round(counts.longest, 1),
        recovery=round(max(0.0, max(watch.ended_at[id] for id in before) - load.fault_ended), 1),
        dead_letters=replayed,
        looks=watch.looks,
        note=note,
    )
