"""Two processes on common stores whose calls fail as Hypothesis chooses: refused, lost, late, or done without an
answer.

LASTRO_INVARIANT_EXAMPLES sets the number of stories. A failing story is printed as a program.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.records.accounts import ACCOUNTS, HOLDS, HoldDocument
from shared.records.payments import PAYMENTS, REFUNDS
from tests.hostile import FAULTS, Fault, ScriptedDie
from tests.invariants.bodies import brl, payment
from tests.invariants.books import check_always, check_quiet, everything
from tests.invariants.deliveries import Pending
from tests.invariants.tenant import Answer, Tenant
from tests.invariants.world import World

T = TypeVar("T")
EXAMPLES = int(os.environ.get("LASTRO_INVARIANT_EXAMPLES", "60"))
STEPS = int(os.environ.get("LASTRO_INVARIANT_STEPS", "30"))

WITHOUT_TRANSFER = frozenset({"created", "declined", "canceled", "expired", "failed"})
"""The statuses of a payment or refund whose transfer was not requested, or was refused."""
AMOUNTS = st.integers(1, 700)
SWEEPS = ("operations-expire-holds", "operations-sweep-sagas", "operations-sweep-outbox", "accounts-finish-closing")
SCHEDULES = st.sampled_from(SWEEPS)
TIMES = st.integers(1, 3)


class TwoProcesses(RuleBasedStateMachine):
    """Commands sent once or several times concurrently, deliveries, faults, lost caches, and the progress of time."""

    accounts = Bundle("accounts")
    payments = Bundle("payments")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.die = ScriptedDie()
        self.world = self.run(World.hostile(die=self.die))
        self.tenant: Tenant = self.run(self.world.tenant())
        self.commands: dict[str, int] = {PAYMENTS.name: 0, REFUNDS.name: 0}
        self.money = 0
        self.owner = ""
        self.entries_when_closed: dict[str, int] = {}

    def run(self, work: Awaitable[T]) -> T:
        """Run a coroutine on the story's event loop."""

        async def waited() -> T:
            return await work

        return self.loop.run_until_complete(waited())

    def teardown(self) -> None:
        """Check that at the end of every story nothing is in progress and all books are right."""
        try:
            self.run(self.rest())
        finally:
            self.loop.close()

    async def sent(self, path: str, body: Any, times: int) -> Answer:
        """Send a command several times concurrently under one key, and return its one answer."""
        key = f"command-{next(self.world.numbers)}"
        answers = await asyncio.gather(*(self.tenant.call("POST", path, body, key=key) for _ in range(times)))
        assert len({(answer.status, answer.raw) for answer in answers if answer.status < 400}) <= 1, answers
        assert len({answer.status < 400 for answer in answers}) == 1, [(each.status, each.code) for each in answers]
        return answers[0]

    # Commands

    @initialize(target=accounts, overdrafts=st.lists(st.sampled_from([0, 250]), min_size=2, max_size=3))
    def open_accounts(self, overdrafts: list[int]) -> Any:
        """Open accounts of one user, some with an overdraft; the first gets money."""
        self.owner = owner = self.run(self.tenant.user())
        ids = [self.run(self.tenant.account(overdraft=overdraft, owner=owner)) for overdraft in overdrafts]
        self.run(self.tenant.fund(ids[0], 1000))
        self.money = 1000
        return multiple(*ids)

    @rule(faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=12))
    def inject_faults(self, faults: list[Fault]) -> None:
        """Let the next writing calls fail in this way."""
        self.die.script.extend(faults)

    @rule(target=payments, payer=accounts, payee=accounts, amount=AMOUNTS, manual=st.booleans(), times=TIMES)
    def pay(self, payer: str, payee: str, amount: int, manual: bool, times: int) -> Any:
        """Create a payment of either kind."""
        if payer == payee:
            return multiple()
        more = {"capture": "manual", "expires_in": 60} if manual else {}
        answer = self.run(self.sent("/v1/payments", payment(payer, payee, amount, **more), times))
        if answer.code == "account_closed":
            return multiple()
        assert answer.status == 201, answer.body
        self.commands[PAYMENTS.name] += 1
        return answer.body["id"]

    @rule(payment=payments, part=st.one_of(st.none(), AMOUNTS), times=TIMES)
    def capture(self, payment: str, part: int | None, times: int) -> None:
        """Capture a part or all of a payment; it is refused where the status does not allow it."""
        body = {} if part is None else {"amount": brl(part)}
        answer = self.run(self.sent(f"/v1/payments/{payment}/capture", body, times))
        assert answer.code in (None, "illegal_state", "amount_exceeds_authorized"), answer.body

    @rule(account=accounts, block=st.booleans(), times=TIMES)
    def block(self, account: str, block: bool, times: int) -> None:
        """Block an account for all, or unblock it; it is refused when the status does not allow it."""
        action, body = ("block", {"mode": "all"}) if block else ("unblock", {})
        answer = self.run(self.sent(f"/v1/accounts/{account}/{action}", body, times))
        assert answer.code in (None, "illegal_state"), answer.body

    @rule(suspend=st.booleans(), times=TIMES)
    def suspend(self, suspend: bool, times: int) -> None:
        """Suspend or activate the owner of all accounts; it is refused when the status does not allow it."""
        path = f"/v1/users/{self.owner}/{'suspend' if suspend else 'activate'}"
        answer = self.run(self.sent(path, {}, times))
        assert answer.code in (None, "illegal_state"), answer.body

    @rule(payment=payments, times=TIMES)
    def cancel(self, payment: str, times: int) -> None:
        """Cancel a payment; it is refused where the status does not allow it."""
        answer = self.run(self.sent(f"/v1/payments/{payment}/cancel", {}, times))
        assert answer.code in (None, "illegal_state"), answer.body

    @rule(payment=payments, amount=st.one_of(st.none(), AMOUNTS), times=TIMES)
    def refund(self, payment: str, amount: int | None, times: int) -> None:
        """Refund a part or the rest of a payment; it is refused when nothing is left."""
        body = {} if amount is None else {"amount": brl(amount)}
        answer = self.run(self.sent(f"/v1/payments/{payment}/refunds", body, times))
        assert answer.code in (None, "illegal_state", "amount_exceeds_refundable"), answer.body
        self.commands[REFUNDS.name] += answer.status == 201

    @rule(target=accounts, overdraft=st.sampled_from([0, 250]))
    def open_account(self, overdraft: int) -> Any:
        """Open another account, with a balance of 0."""
        return self.run(self.tenant.account(overdraft=overdraft))

    @rule(account=accounts, times=TIMES, batch=st.integers(0, 6), seed=st.integers(0, 99))
    def close(self, account: str, times: int, batch: int, seed: int) -> None:
        """Request the closing of an account while deliveries are made. It is refused with a balance or holds."""
        self.run(self.close_during_deliveries(account, times, batch, Random(seed)))

    async def close_during_deliveries(self, account: str, times: int, batch: int, random: Random) -> None:
        """See `close`."""
        pool = self.world.pool.pending
        parallel = [pool.pop(random.randrange(len(pool))) for _ in range(min(batch, len(pool)))]
        answer, _ = await asyncio.gather(
            self.sent(f"/v1/accounts/{account}/close", {}, times), self.delivered(parallel)
        )
        assert answer.code in (None, "illegal_state"), answer.body

    @rule(account=accounts, amount=AMOUNTS, times=TIMES)
    def deposit(self, account: str, amount: int, times: int) -> None:
        """Request a deposit, which the provider reports one or several times. To an account that is blocked for all it
        fails."""
        body = {"account_id": account, "amount": brl(amount), "method": "pix"}
        answer = self.run(self.sent("/v1/deposits", body, times))
        if answer.code == "account_closed":
            return
        assert answer.status == 201, answer.body
        self.run(self.world.settle())
        self.run(self.world.pay_charges(times=times))
        shown = self.run(self.tenant.get(f"/v1/accounts/{account}"))
        self.money += amount if shown["block"] is None else 0

    # Deliveries

    @precondition(lambda self: self.world.pool.pending)
    @rule(count=st.integers(1, 12), seed=st.integers(0, 99), abreast=st.integers(1, 4))
    def deliver_some(self, count: int, seed: int, abreast: int) -> None:
        """Deliver several pending deliveries in any order and concurrently, each to either process."""
        random, pool = Random(seed), self.world.pool.pending
        while pool and count > 0:
            batch = [pool.pop(random.randrange(len(pool))) for _ in range(min(abreast, count, len(pool)))]
            self.run(self.delivered(batch))
            count -= len(batch)

    async def delivered(self, batch: list[Pending]) -> None:
        """Deliver these concurrently."""
        await asyncio.gather(*(self.world.deliver(pending) for pending in batch))

    @precondition(lambda self: self.world.pool.published)
    @rule(number=st.integers(0, 200))
    def deliver_again(self, number: int) -> None:
        """Deliver an earlier event again to all its consumers."""
        published = self.world.pool.published
        self.run(self.world.replay([published[number % len(published)]]))

    @rule()
    def forget(self) -> None:
        """Clear every cache."""
        self.run(self.world.forget())

    @rule(seconds=st.sampled_from([1, 31, 61, 301]), schedules=st.lists(SCHEDULES, max_size=2))
    def wait(self, seconds: int, schedules: list[str]) -> None:
        """Move the clock and deliver the schedules' ticks."""
        self.world.later(seconds=seconds)
        for schedule in schedules:
            self.run(self.world.tick(schedule))

    # Invariants

    @invariant()
    def the_books_are_right(self) -> None:
        """Debits equal credits, `held` is the sum of the active holds, and no available balance is negative."""
        self.run(check_always(self.world, self.tenant))

    @invariant()
    def nothing_is_posted_to_a_closed_account(self) -> None:
        """An account that is `closed` has no balance, nothing is held from it, and its ledger account does not change.
        A hold for it belongs to a payment or refund whose transfer was not requested (docs/decisions/0017)."""
        self.run(self.check_closed())

    async def check_closed(self) -> None:
        """See `nothing_is_posted_to_a_closed_account`."""
        world, tenant_id = self.world, self.tenant.id
        active = [hold for hold in await everything(world, tenant_id, HOLDS) if hold["status"] == "active"]
        for account in await everything(world, tenant_id, ACCOUNTS):
            if account["status"] != "closed":
                continue
            id = account["id"]
            assert (account["posted"], account["held"]) == (0, 0), account
            assert not [hold for hold in active if hold["account_id"] == id]
            for hold in active:
                if hold["counterparty_account_id"] == id:
                    assert await self.status_of_cause(hold) in WITHOUT_TRANSFER, hold
            entries = len(await world.runtime.ledger.entries(tenant_id, id, 0, 1000))
            assert self.entries_when_closed.setdefault(id, entries) == entries, account

    async def status_of_cause(self, hold: HoldDocument) -> str:
        """Return the status of the payment or refund of a hold."""
        collection = PAYMENTS if hold["cause_type"] == "payment" else REFUNDS
        found = await everything(self.world, self.tenant.id, collection)
        statuses: list[str] = [each["status"] for each in found if each["id"] == hold["cause_id"]]
        return statuses[0]

    async def rest(self) -> None:
        """Deliver everything and let every deadline pass; each command has had one effect, and the books are right."""
        world, tenant = self.world, self.tenant
        for _ in range(3):
            await world.settle()
            world.later(seconds=301)
            for schedule in SWEEPS:
                await world.tick(schedule)
        await world.settle()
        await check_quiet(world, tenant)
        for collection in (PAYMENTS, REFUNDS):
            assert len(await everything(world, tenant.id, collection)) == self.commands[collection.name]
        turnover = await world.runtime.ledger.turnover(tenant.id)
        accounts = [line.credits - line.debits for line in turnover if not line.account_id.startswith("sys_")]
        assert sum(accounts) == self.money


@pytest.mark.timeout(3000)  # a failing story is shortened before it is shown
def test_two_processes_have_right_books_on_hostile_stores() -> None:
    """In every story of commands, deliveries and faults, a command has one effect and one answer, and no money is
    lost."""
    run_state_machine_as_test(
        TwoProcesses,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


async def test_every_fault_happens_to_both_processes() -> None:
    """In one seeded story every kind of fault happens, and each process answers requests and processes events."""
    world = await World.hostile(3)
    tenant = await world.tenant()
    payer, payee = await tenant.account(5000), await tenant.account()
    for _ in range(20):
        await tenant.pay(payer, payee, 10)
    await world.settle_in_any_order(Random(3), abreast=4)
    assert world.servers is not None
    assert set(world.servers.happened) == set(Fault)
    for process in world.processes:
        assert process.telemetry.http
        assert process.telemetry.events
    await check_quiet(world, tenant)
