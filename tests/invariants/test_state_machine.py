"""The whole path compared with the reference model, step by step, in an order that Hypothesis chooses.

LASTRO_INVARIANT_EXAMPLES sets the number of stories. A failing story is printed as a program, with its seed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from random import Random
from typing import Any, TypeVar

import orjson
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

from shared.records.accounts import ACCOUNTS, HOLDS
from shared.records.deposits import DEPOSITS
from shared.records.payments import PAYMENTS, REFUNDS
from tests.invariants.bodies import brl
from tests.invariants.books import check_always, check_quiet, everything
from tests.invariants.deliveries import Pending
from tests.invariants.reference import ENDED, Reference
from tests.invariants.tenant import Tenant
from tests.invariants.world import World

T = TypeVar("T")
EXAMPLES = int(os.environ.get("LASTRO_INVARIANT_EXAMPLES", "80"))
STEPS = int(os.environ.get("LASTRO_INVARIANT_STEPS", "40"))

AMOUNTS = st.integers(1, 700)
CONSUMERS = st.sampled_from(["hold_funds", "release_funds", "apply_transfer", "authorize", "settle", "post_transfer"])
SCHEDULES = st.sampled_from(["expire-holds", "sweep-sagas", "sweep-outbox"])
STEP_SECONDS = st.sampled_from([1, 29, 31, 61, 299, 301])


class WholePath(RuleBasedStateMachine):
    """Commands, deliveries, losses of the cache and the progress of time, in any order."""

    accounts = Bundle("accounts")
    payments = Bundle("payments")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = self.run(World.in_memory())
        self.world.observers.append(self.observed)
        self.tenant: Tenant = self.run(self.world.tenant())
        self.expected = Reference()
        self.taken: list[Pending] = []
        self.owner = ""

    def run(self, work: Awaitable[T]) -> T:
        """Run a coroutine on the story's event loop."""

        async def waited() -> T:
            return await work

        return self.loop.run_until_complete(waited())

    def teardown(self) -> None:
        self.loop.close()

    async def observed(self, pending: Pending) -> None:
        data = orjson.loads(pending.envelope.data)
        self.expected.applied(pending.consumer.id, f"{pending.envelope.source} {pending.envelope.id}", data)
        self.taken.append(pending)

    # Commands

    @initialize(target=accounts, overdrafts=st.lists(st.sampled_from([0, 0, 250]), min_size=2, max_size=4))
    def open_accounts(self, overdrafts: list[int]) -> Any:
        """Open accounts of one user, some with an overdraft; the first gets money."""
        self.owner = owner = self.run(self.tenant.user())
        ids = [self.run(self.tenant.account(overdraft=overdraft, owner=owner)) for overdraft in overdrafts]
        for account_id, overdraft in zip(ids, overdrafts, strict=True):
            self.expected.opened(account_id, overdraft)
        deposit = self.run(self.tenant.fund(ids[0], 1000))
        self.expected.deposits[deposit], self.expected.deposited_to[deposit] = "settled", ids[0]
        return multiple(*ids)

    @rule(account=accounts, amount=AMOUNTS, times=st.integers(0, 2))
    def deposit(self, account: str, amount: int, times: int) -> None:
        """Request a deposit; the rail reports the paid charges now or later."""
        deposit = self.run(self.tenant.deposit(account, amount))
        self.expected.deposits[deposit], self.expected.deposited_to[deposit] = "created", account
        if times:
            self.run(self.pay_charges(times))

    async def pay_charges(self, times: int) -> None:
        """Report the paid charges. A deposit to an account that is blocked for all fails when it is paid."""
        before = await everything(self.world, self.tenant.id, DEPOSITS)
        await self.world.pay_charges(times=times)
        for deposit in before:
            if deposit["id"] not in self.expected.deposits:
                continue  # a payment in the suspense account
            paid = deposit["txid"] in self.world.paid and deposit["end_to_end_id"] is None
            blocked = self.expected.books[deposit["account_id"]].block == "all"
            if paid and blocked and deposit["status"] == "created":
                self.expected.deposits[deposit["id"]] = "failed"

    @rule(target=payments, payer=accounts, payee=accounts, amount=AMOUNTS, manual=st.booleans(), through=st.booleans())
    def pay(self, payer: str, payee: str, amount: int, manual: bool, through: bool) -> Any:
        """Create a payment of either kind and perhaps deliver all its events; one from an account to itself is
        refused."""
        more = {"capture": "manual", "expires_in": 60} if manual else {}
        if payer == payee:
            body = {"amount": brl(amount), "method": "internal", "payer_account_id": payer, "payee_account_id": payee}
            assert self.run(self.tenant.call("POST", "/v1/payments", body)).status == 422
            return multiple()
        id = self.run(self.tenant.pay(payer, payee, amount, **more))
        self.expected.asked(id, payer, payee, amount, manual=manual)
        if through:
            self.run(self.world.settle())
        return id

    @rule(payment=payments, part=st.integers(1, 10), again=st.booleans())
    def capture(self, payment: str, part: int, again: bool) -> None:
        """Capture a part or all of a payment, perhaps twice under one key; it is refused where the status does not
        allow it."""
        order = self.expected.orders[payment]
        amount = max(1, order.amount * part // 10)
        key = f"capture-{next(self.world.numbers)}"
        path, body = f"/v1/payments/{payment}/capture", {"amount": brl(amount)}
        answer = self.run(self.tenant.call("POST", path, body, key=key))
        if answer.status == 200:
            self.expected.captured(payment, amount)
            if again:
                assert self.run(self.tenant.call("POST", path, body, key=key)).raw == answer.raw
        else:
            assert answer.code == "illegal_state"
            # An authorization is expired after its time, also before the sweep has found it.
            blocked = self.expected.books[order.payee].block == "all"
            assert order.status != "authorized" or blocked or self.run(self.has_expired(payment))

    async def has_expired(self, payment: str) -> bool:
        """Return whether a payment's authorization has expired."""
        payment_now = await self.tenant.get(f"/v1/payments/{payment}")
        return bool(payment_now["expires_at"] <= f"{self.world.clock.now():%Y-%m-%dT%H:%M:%S.%fZ}")

    @rule(payment=payments)
    def cancel(self, payment: str) -> None:
        """Cancel a payment; this is refused after a capture was requested or the payment has ended."""
        allowed = self.expected.orders[payment].status in ("created", "authorized")
        answer = self.run(self.tenant.call("POST", f"/v1/payments/{payment}/cancel"))
        assert answer.status == (200 if allowed else 409), answer.body
        if allowed:
            self.expected.canceled(payment)

    @rule(payment=payments, amounts=st.lists(st.one_of(st.none(), st.integers(1, 400)), min_size=1, max_size=3))
    def refund(self, payment: str, amounts: list[int | None]) -> None:
        """Refund a part or the rest of a payment, as long as something is left."""
        for amount in amounts:
            self._refund(payment, amount)

    def _refund(self, payment: str, amount: int | None) -> None:
        settled, left = self.expected.orders[payment].status == "settled", self.expected.refundable(payment)
        body = {} if amount is None else {"amount": brl(amount)}
        answer = self.run(self.tenant.call("POST", f"/v1/payments/{payment}/refunds", body))
        asked = left if amount is None else amount
        if not settled:
            assert answer.code == "illegal_state"
        elif asked > left or left == 0:
            assert answer.code == "amount_exceeds_refundable"
        else:
            assert answer.status == 201, answer.body
            self.expected.refunded(answer.body["id"], payment, asked)

    # States and limits

    @rule(account=accounts, mode=st.sampled_from(["debits", "all"]))
    def block(self, account: str, mode: str) -> None:
        """Block an account, or change its block; the same block again is refused."""
        book = self.expected.books[account]
        answer = self.run(self.tenant.call("POST", f"/v1/accounts/{account}/block", {"mode": mode}))
        assert answer.status == (409 if book.block == mode else 200), answer.body
        book.block = mode

    @rule(account=accounts)
    def unblock(self, account: str) -> None:
        """Unblock an account; this is refused when it is not blocked."""
        book = self.expected.books[account]
        answer = self.run(self.tenant.call("POST", f"/v1/accounts/{account}/unblock"))
        assert answer.status == (409 if book.block is None else 200), answer.body
        book.block = None

    @rule(suspend=st.booleans())
    def suspend_or_activate(self, suspend: bool) -> None:
        """Suspend or activate the owner; this is refused when nothing would change."""
        path = f"/v1/users/{self.owner}/{'suspend' if suspend else 'activate'}"
        answer = self.run(self.tenant.call("POST", path))
        assert answer.status == (409 if suspend == self.expected.suspended else 200), answer.body
        self.expected.suspended = suspend

    @rule(account=accounts, per_day=st.integers(0, 1500))
    def limit(self, account: str, per_day: int) -> None:
        """Request a limit for a day: a lower one is in force at once, and a higher one not in the story's hours."""
        book = self.expected.books[account]
        body = {"limits": {"per_day": per_day}}
        answer = self.run(self.tenant.call("PATCH", f"/v1/accounts/{account}", body))
        book.per_day = per_day if book.per_day is None else min(book.per_day, per_day)
        assert (answer.status, answer.body["limits"]["per_day"]) == (200, book.per_day)

    # Deliveries

    @precondition(lambda self: self.world.pool.pending)
    @rule(number=st.integers(0, 30), copies=st.integers(0, 2))
    def deliver(self, number: int, copies: int) -> None:
        """Deliver one of the pending deliveries, and leave copies of it in the pool."""
        pool = self.world.pool.pending
        pending = pool.pop(number % len(pool))
        pool += [Pending(pending.subscription, pending.envelope, pending.consumer) for _ in range(copies)]
        self.run(self.world.deliver(pending))

    @precondition(lambda self: self.world.pool.pending)
    @rule(count=st.integers(1, 12), seed=st.integers(0, 99))
    def deliver_some(self, count: int, seed: int) -> None:
        """Deliver several pending deliveries in any order."""
        random, pool = Random(seed), self.world.pool.pending
        for _ in range(count):
            if pool:
                self.run(self.world.deliver(pool.pop(random.randrange(len(pool)))))

    @precondition(lambda self: self.taken)
    @rule(number=st.integers(0, 200))
    def deliver_again(self, number: int) -> None:
        """Deliver an earlier delivery again."""
        old = self.taken[number % len(self.taken)]
        self.run(self.world.deliver(Pending(old.subscription, old.envelope, old.consumer)))

    @precondition(lambda self: self.world.pool.pending)
    @rule(consumer=CONSUMERS, forget=st.booleans())
    def all_but(self, consumer: str, forget: bool) -> None:
        """Deliver everything except to one function; perhaps the cache loses everything, too."""
        pool, kept = self.world.pool.pending, []
        while pool:
            pending = pool.pop(0)
            if pending.consumer.name == consumer:
                kept.append(pending)
            else:
                self.run(self.world.deliver(pending))
        pool += kept
        if forget:
            self.run(self.world.forget())

    # Time

    @rule(seconds=STEP_SECONDS, schedules=st.lists(SCHEDULES, max_size=2))
    def wait(self, seconds: int, schedules: list[str]) -> None:
        """Move the clock and deliver the schedules' ticks."""
        self.world.later(seconds=seconds)
        self.expected.now += seconds
        for schedule in schedules:
            self.run(self.world.tick(f"operations-{schedule}"))

    # Invariants

    @invariant()
    def the_books_are_right(self) -> None:
        """Debits equal credits, `held` is the sum of the active holds, and no available balance is negative."""
        self.run(check_always(self.world, self.tenant))

    @invariant()
    def all_is_as_expected(self) -> None:
        """Accounts, payments, refunds, holds and deposits are equal to those of the reference model."""
        self.run(self.compare())

    async def compare(self) -> None:
        """See `all_is_as_expected`."""
        world, tenant_id, expected = self.world, self.tenant.id, self.expected
        for account in await everything(world, tenant_id, ACCOUNTS):
            book = expected.books[account["id"]]
            assert (account["posted"], account["held"]) == (book.posted, book.held), account
        orders = [*await everything(world, tenant_id, PAYMENTS), *await everything(world, tenant_id, REFUNDS)]
        assert {order["id"]: order["status"] for order in orders} == {
            id: order.status for id, order in expected.orders.items()
        }
        holds = {hold["cause_id"]: hold["status"] for hold in await everything(world, tenant_id, HOLDS)}
        assert holds == {cause: hold.status for cause, hold in expected.holds.items()}
        # A payment for an account that takes no credits goes to the suspense account, as a deposit of its own.
        deposits = {
            deposit["id"]: deposit["status"]
            for deposit in await everything(world, tenant_id, DEPOSITS)
            if not deposit["account_id"].startswith("sys_")
        }
        assert deposits.keys() == expected.deposits.keys()
        expected.once_blocked |= {account for account, book in expected.books.items() if book.block == "all"}
        for id, status in deposits.items():
            if expected.deposited_to[id] in expected.once_blocked and expected.deposits[id] != "settled":
                # Whether it was paid before the account was blocked decides; the books show that money is not lost.
                assert status in ("created", "failed"), id
            else:
                assert status == expected.deposits[id], id
        turnover = await world.runtime.ledger.turnover(tenant_id)
        assert {line.account_id: line.credits - line.debits for line in turnover} == {
            line.account_id: expected.ledger_balance(line.account_id) for line in turnover
        }
        assert sum(line.debits for line in turnover) == sum(amount for *_, amount in expected.entries.values())

    @rule()
    def come_to_rest(self) -> None:
        """When everything is delivered, every payment has ended or waits for its capture, and all books agree."""
        self.run(self.rest())

    async def rest(self) -> None:
        """See `come_to_rest`."""
        await self.world.settle()
        for order in self.expected.orders.values():
            assert order.status in ENDED or (order.status == "authorized" and order.manual)
        await self.compare()
        await check_quiet(self.world, self.tenant, open_ones=True)


@pytest.mark.timeout(3000)  # a failing story is shortened before it is shown
def test_the_whole_path_agrees_with_the_reference_model() -> None:
    """In every story of commands, deliveries and failures, the platform's books agree with the reference model."""
    run_state_machine_as_test(
        WholePath,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
