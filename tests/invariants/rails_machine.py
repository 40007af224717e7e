"""Stories of payments over the three rails: commands, the providers' faults, deliveries, callbacks, and time.

A story ends when nothing is in progress. Then every payment is what the reference model derives from the commands and
the providers' own books, and each clearing account has what its provider has moved.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, NamedTuple

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, multiple, precondition, rule

from shared.records.payments import PAYMENTS, REFUNDS
from shared.records.rail_payments import RAIL_PAYMENTS
from shared.records.returns import RETURNS
from tests.hostile import FAULTS, Fault
from tests.invariants.bodies import brl, over_rail
from tests.invariants.books import check_always, check_quiet, everything
from tests.invariants.deliveries import Pending
from tests.invariants.providers import RAILS
from tests.invariants.rails_reference import AtProvider, Ordered, RailsReference
from tests.invariants.received_rules import AMOUNTS, TIMES, ReceivesPix

RECEIVERS = st.sampled_from(
    [
        (False, "tok_approve"),
        *((True, f"tok_{token}") for token in ("approve", "approve", "pending", "capture_fails", "refund_fails")),
    ]
)
"""Whether a receiver is known, or a card has money; and the token of the card."""
SWEEPS = (
    "operations-expire-holds",
    "operations-sweep-sagas",
    "operations-sweep-outbox",
    "providers-poll-payments",
    "providers-expire-pix-charges",
)
MOST_ROUNDS = 80
"""The hours after which a story must be at rest."""
FAULTS_OF: dict[str, dict[str, dict[str, Any]]] = {
    "pix": {
        "wrong_amount": {"fault": "wrong_amount", "payments": "sent"},
        "refused": {"fault": "refused", "payments": "sent"},
        "out_of_order": {"fault": "out_of_order", "payments": "sent"},
    },
    "bank_transfer": {fault: {"fault": fault} for fault in ("wrong_amount", "refused", "returned", "out_of_order")},
    "card": {
        "wrong_amount": {"fault": "wrong_amount", "action": "capture"},
        "out_of_order": {"fault": "out_of_order"},
    },
}
"""The faults of the next payment at each provider."""
PAYMENT_FAULTS = st.sampled_from([None, None, "wrong_amount", "refused", "returned", "out_of_order"])


class Wish(NamedTuple):
    """A payment over a rail that a story makes."""

    method: str
    amount: int
    manual: bool
    receiver: tuple[bool, str]
    fault: str | None
    times: int


WISHES = st.builds(Wish, st.sampled_from(RAILS), AMOUNTS, st.booleans(), RECEIVERS, PAYMENT_FAULTS, TIMES)
OTHER_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("pix", {"fault": "refused", "payments": "returned"}),
    ("pix", {"fault": "wrong_amount"}),
    *((rail, {"fault": fault}) for rail in RAILS for fault in ("500", "cut")),
]
"""The faults of what is received and returned, and of the next request to each provider."""


class OverRails(ReceivesPix):
    """Payments over every rail, received payments, their returns, and reports of fraud, in any order."""

    payments = Bundle("payments")

    def __init__(self) -> None:
        super().__init__()
        self.expected = RailsReference()

    def teardown(self) -> None:
        """Bring the story to rest, and check everything."""
        try:
            if self.expected.payments or self.world.pool.published:
                self.run(self.rest())
        finally:
            self.loop.close()

    # Payments

    @rule(
        target=payments,
        account=ReceivesPix.accounts,
        wishes=st.lists(WISHES, min_size=1, max_size=4),
        through=st.booleans(),
    )
    def pay(self, account: str, wishes: list[Wish], through: bool) -> Any:
        """Create payments over rails, out of the account or from a card to it, and perhaps deliver everything."""
        ids = [self.run(self.paid(account, wish)) for wish in wishes]
        if through:
            self.run(self.delivered())
        return multiple(*ids)

    async def paid(self, account: str, wish: Wish) -> str:
        """Create one payment, perhaps with a fault of its provider, and return its id."""
        fault = FAULTS_OF[wish.method].get(wish.fault or "")
        if fault is not None:
            assert (await self.providers.order(wish.method, "/faults", fault))[0] == 202
        is_known, token = wish.receiver
        body = over_rail(wish.method, account, wish.amount, is_known=is_known, token=token)
        if wish.manual:
            body |= {"capture": "manual", "expires_in": 7200}
        answer = await self.sent("/v1/payments", body, wish.times)
        assert answer.status == 201, answer.body
        can_move = is_known and not (wish.method == "card" and token == "tok_capture_fails")
        self.expected.payments[answer.body["id"]] = Ordered(wish.method, account, wish.amount, wish.manual, can_move)
        return str(answer.body["id"])

    @rule(payment=payments, part=st.one_of(st.none(), AMOUNTS), times=TIMES)
    def capture(self, payment: str, part: int | None, times: int) -> None:
        """Capture a part or all of a payment; it is refused where the status does not allow it."""
        body = {} if part is None else {"amount": brl(part)}
        answer = self.run(self.sent(f"/v1/payments/{payment}/capture", body, times))
        assert answer.code in (None, "illegal_state", "amount_exceeds_authorized"), answer.body
        if answer.status == 200:
            order = self.expected.payments[payment]
            assert order.manual
            assert order.capture is None, "two captures were accepted"
            order.capture = order.amount if part is None else part

    @rule(payment=payments, times=TIMES)
    def cancel(self, payment: str, times: int) -> None:
        """Cancel a payment; it is refused where the status does not allow it."""
        answer = self.run(self.sent(f"/v1/payments/{payment}/cancel", {}, times))
        assert answer.code in (None, "illegal_state"), answer.body
        self.expected.payments[payment].is_canceled |= answer.status == 200

    @rule(payment=payments, outcome=st.sampled_from(["settled", "failed"]), times=TIMES)
    def resolve(self, payment: str, outcome: str, times: int) -> None:
        """Resolve the review of a payment; it is refused for one that is not in review."""
        self.run(self.resolved(payment, outcome, times))

    async def resolved(self, payment: str, outcome: str, times: int) -> None:
        """See `resolve`."""
        body = {"outcome": outcome, "reason": "a test"}
        answer = await self.sent(f"/v1/payments/{payment}/resolve", body, times)
        assert answer.code in (None, "illegal_state"), answer.body
        if answer.status == 200:
            order = self.expected.payments[payment]
            assert order.decision is None, "two decisions on one review were accepted"
            order.decision = "settled" if outcome == "settled" else "failed"

    @rule(payment=payments, amount=st.one_of(st.none(), AMOUNTS), times=TIMES)
    def refund(self, payment: str, amount: int | None, times: int) -> None:
        """Refund a part or the rest of a card payment; a payment out cannot be refunded."""
        body = {} if amount is None else {"amount": brl(amount)}
        answer = self.run(self.sent(f"/v1/payments/{payment}/refunds", body, times))
        assert answer.code in (None, "illegal_state", "amount_exceeds_refundable"), answer.body
        if answer.status == 201:
            assert self.expected.payments[payment].method == "card"
            self.expected.refunds[answer.body["id"]] = payment

    @rule(number=st.integers(0, 9))
    def bank_returns(self, number: int) -> None:
        """A receiving bank sends the money of a settled transfer back."""
        references = list(self.providers.bank._state.transfers)
        if references:
            order = {"reference": references[number % len(references)]}
            assert self.run(self.providers.order("bank_transfer", "/returns", order))[0] in (202, 409)

    # Blocks and limits

    @rule(account=ReceivesPix.accounts, mode=st.sampled_from(["debits", "all", None]))
    def block(self, account: str, mode: str | None) -> None:
        """Block an account, or unblock it; it is refused when nothing would change."""
        path, body = ("block", {"mode": mode}) if mode else ("unblock", {})
        answer = self.run(self.sent(f"/v1/accounts/{account}/{path}", body))
        assert answer.code in (None, "illegal_state"), answer.body
        if mode == "all" and answer.status == 200:
            self.received.blocked.add(account)

    @rule(account=ReceivesPix.accounts, per_day=st.integers(500, 5000))
    def limit(self, account: str, per_day: int) -> None:
        """Limit what an account pays in a day."""
        answer = self.run(self.tenant.call("PATCH", f"/v1/accounts/{account}", {"limits": {"per_day": per_day}}))
        assert answer.status == 200, answer.body

    # Faults

    @rule(ordered=st.sampled_from(OTHER_FAULTS))
    def order_fault(self, ordered: tuple[str, dict[str, Any]]) -> None:
        """Order a fault of a provider: of its next payment or of the next request."""
        rail, fault = ordered
        assert self.run(self.providers.order(rail, "/faults", fault))[0] == 202

    @rule(is_down=st.booleans())
    def outage(self, is_down: bool) -> None:
        """No provider can be reached, until the next call of this rule or the end."""
        self.providers.is_down = is_down

    @precondition(lambda self: self.is_hostile)
    @rule(faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=8))
    def inject_faults(self, faults: list[Fault]) -> None:
        """Let the next writing calls of the stores, and requests to the providers, fail in this way."""
        self.die.script.extend(faults)

    # Deliveries and time

    @precondition(lambda self: self.world.pool.pending)
    @rule(count=st.integers(1, 12), seed=st.integers(0, 99), abreast=st.integers(1, 3))
    def deliver_some(self, count: int, seed: int, abreast: int) -> None:
        """Deliver several events in any order and concurrently."""
        random, pool = Random(seed), self.world.pool.pending
        while pool and count > 0:
            batch = [pool.pop(random.randrange(len(pool))) for _ in range(min(abreast, count, len(pool)))]
            self.run(self.together(batch))
            count -= len(batch)

    async def together(self, batch: list[Pending]) -> None:
        """Deliver these concurrently."""
        await asyncio.gather(*(self.world.deliver(pending) for pending in batch))

    @precondition(lambda self: self.world.pool.published)
    @rule(number=st.integers(0, 400))
    def deliver_again(self, number: int) -> None:
        """Deliver an earlier event again to all its consumers."""
        published = self.world.pool.published
        self.run(self.world.replay([published[number % len(published)]]))

    @precondition(lambda self: self.providers.callbacks)
    @rule(number=st.integers(0, 30), copies=st.integers(0, 2))
    def call_back(self, number: int, copies: int) -> None:
        """Deliver a callback, and leave copies of it in the pool."""
        callbacks = self.providers.callbacks
        callback = callbacks.pop(number % len(callbacks))
        callbacks += [callback] * copies
        self.run(self.world.call_back(callback))

    @precondition(lambda self: self.providers.callbacks)
    @rule(number=st.integers(0, 30))
    def lose_callback(self, number: int) -> None:
        """A provider does not deliver a callback, and the platform finds its outcome otherwise.

        Reports of fraud, and returns by the bank, are known from their callbacks only: these are delivered.
        """
        callbacks = self.providers.callbacks
        place = number % len(callbacks)
        if not _is_only_told(callbacks[place].body):
            callbacks.pop(place)

    @rule(seconds=st.sampled_from([1, 31, 61, 301, 3601]), schedules=st.lists(st.sampled_from(SWEEPS), max_size=2))
    def wait(self, seconds: int, schedules: list[str]) -> None:
        """Move the clock and deliver the schedules' ticks."""
        self.world.later(seconds=seconds)
        for schedule in schedules:
            self.run(self.world.tick(schedule))

    @rule(days=st.integers(1, 2))
    def wait_for_days(self, days: int) -> None:
        """Move the clock past the end of charges, with their sweep and the polling."""
        self.world.later(days=days)
        for schedule in ("providers-expire-pix-charges", "providers-poll-payments"):
            self.run(self.world.tick(schedule))

    @rule()
    def forget(self) -> None:
        """Clear every cache."""
        self.run(self.world.forget())

    # Invariants

    @invariant()
    def the_books_are_right(self) -> None:
        """Debits equal credits, `held` is the sum of the active holds, and no available balance is negative."""
        self.run(check_always(self.world, self.tenant))

    async def rest(self) -> None:
        """Let everything end; then the platform agrees with the reference model and with the providers."""
        self.providers.is_down = False
        for _ in range(MOST_ROUNDS):
            await self.delivered()
            if await self.is_at_rest():
                break
            self.world.later(hours=1)
            for schedule in SWEEPS:
                await self.world.tick(schedule)
        assert await self.is_at_rest(), "the story never comes to rest"
        await check_quiet(self.world, self.tenant)
        await self.compare()

    async def is_at_rest(self) -> bool:
        """Decide what waits for a decision, and return whether nothing is in progress."""
        for number, _ in enumerate(await self.tenant.listed("/v1/pix/fraud-reports")):
            await self.decided(number, number % 2 == 0, 1)
        waiting = 0
        for payment in await everything(self.world, self.tenant.id, PAYMENTS):
            if payment["status"] == "review" and not payment["rail"]["is_posted"]:
                await self.resolved(payment["id"], "settled", 1)
            waiting += payment["status"] in ("created", "authorized", "capturing", "processing", "review")
        for collection in (REFUNDS, RETURNS):
            documents = await everything(self.world, self.tenant.id, collection)
            waiting += sum(one["status"] not in ("settled", "failed") for one in documents)
        # The polling of received payments reads what is a minute old, and an hour at most at first.
        settled = not self.world.pool.pending and not self.providers.callbacks
        return settled and not waiting and await self.everything_received()

    async def everything_received(self) -> bool:
        """Return whether every payment that the PIX provider has received is in the ledger."""
        balance = await self.world.runtime.ledger.balance(self.tenant.id, "sys_clearing_pix_brl")
        return balance == self.clearing("pix", await self.at_providers())

    def clearing(self, rail: str, found: dict[str, AtProvider]) -> int:
        """Return the balance, credits less debits, that the clearing account of a rail must have."""
        received, sent = self.providers.moved(rail)
        difference = self.expected.differs(found, rail)
        return sent - received + (difference if rail == "card" else -difference)

    async def at_providers(self) -> dict[str, AtProvider]:
        """Return every payment as its provider's books show it."""
        ordered = {one["id"]: one["reference"] for one in await everything(self.world, self.tenant.id, RAIL_PAYMENTS)}
        return {
            id: self.providers.payment(order.method, id if order.method == "card" else ordered.get(id, ""))
            for id, order in self.expected.payments.items()
        }

    async def compare(self) -> None:
        """Compare payments, refunds, returns and clearing accounts with the reference model."""
        expected, found = self.expected, await self.at_providers()
        payments = {one["id"]: one for one in await everything(self.world, self.tenant.id, PAYMENTS)}
        assert payments.keys() == expected.payments.keys()
        for id, payment in payments.items():
            assert payment["status"] in expected.statuses(id, found[id]), (payment, found[id])
            if payment["status"] == "settled":
                assert payment["amount_captured"] == expected.captured(id, found[id]), (payment, found[id])
            assert not found[id].is_held, (payment, found[id])
        await self.compare_refunds(payments, found)
        ledger, balances = self.world.runtime.ledger, await self.compare_received()
        for id, order in expected.payments.items():
            balances[order.account] = balances.get(order.account, 0) + expected.effect(id, found[id])
        balances.pop("sys_suspense_brl", None)  # differences of payments out are there, too
        for account, expected_balance in balances.items():
            left = expected_balance - await self.kept_in_suspense(account, found)
            assert await ledger.balance(self.tenant.id, account) == left, account
        for rail in RAILS:
            balance = await ledger.balance(self.tenant.id, f"sys_clearing_{rail}_brl")
            assert balance == self.clearing(rail, found), (rail, balance, self.clearing(rail, found))

    async def kept_in_suspense(self, account: str, found: dict[str, AtProvider]) -> int:
        """Return how much of what came back to an account is in suspense: only what an account that was blocked for
        credits did not take."""
        kept = 0
        for refund in await everything(self.world, self.tenant.id, REFUNDS):
            id = refund["payment_id"]
            if self.expected.payments[id].account != account or refund["payee_account_id"] != "sys_suspense_brl":
                continue
            assert account in self.received.blocked, refund
            assert found[id].came_back, refund
            kept += refund["amount"]
        assert kept <= self.expected.came_back(account, found), account
        return kept

    async def compare_refunds(self, payments: dict[str, Any], found: dict[str, AtProvider]) -> None:
        """Check that each accepted refund was made or failed once, and that a payment that came back is refunded."""
        refunds = await everything(self.world, self.tenant.id, REFUNDS)
        asked = [refund for refund in refunds if refund["id"] in self.expected.refunds]
        assert len(asked) == len(self.expected.refunds)
        for id, payment in payments.items():
            at_provider = found[id]
            if at_provider.came_back and payment["status"] == "settled":
                assert payment["amount_refunded"] == payment["amount_captured"], payment
            elif payment["method"] == "card":
                assert payment["amount_refunded"] == sum(at_provider.refunds), (payment, at_provider)
            else:
                assert payment["amount_refunded"] == 0, payment


def _is_only_told(body: bytes) -> bool:
    """Return whether the platform learns what a callback says from callbacks only."""
    reported = orjson.loads(body)
    returned = any(transfer["status"] == "RETURNED" for transfer in reported.get("transfers", ()))
    return returned or "infractionReports" in reported
