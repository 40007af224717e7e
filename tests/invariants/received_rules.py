"""Rules of stories over rails for what is received by PIX: deposits, charges, static codes, their payers, returns, and
reports of fraud."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from shared.records.deposits import DEPOSITS
from shared.records.pix_charges import PIX_CHARGES
from shared.records.returns import RETURNS, provider_reference
from tests.hostile import ScriptedDie
from tests.invariants.bodies import DEBTOR, brl
from tests.invariants.books import everything
from tests.invariants.received_reference import Code, Kind, ReceivedReference, Terms, today
from tests.invariants.tenant import Answer, Tenant
from tests.invariants.world import World

T = TypeVar("T")
AMOUNTS = st.integers(1, 700)
TIMES = st.integers(1, 2)
UNAVAILABLE: Final = "dependency_unavailable"
PAYMENT_FAULTS = st.sampled_from([None, None, None, "late", "twice", "never", "wrong_amount", "out_of_order"])
"""How the provider reports a payment; `wrong_amount` is a centavo more."""


class Payer(NamedTuple):
    """A stranger's payment of a code: by how much it differs from what is to be paid, and the fault of its report."""

    more: int
    fault: str | None


PAYERS = st.builds(Payer, st.sampled_from([0, 0, 0, 1, 250]), PAYMENT_FAULTS)


class CodeWish(NamedTuple):
    """A code that a story makes, and the strangers who pay it at once."""

    kind: Kind
    amount: int
    times: int
    payers: list[Payer]
    seconds: int
    """For how long an immediate charge can be paid."""
    due: tuple[int, int]
    """In how many days a charge is due, and for how many days more it is valid."""
    parts: tuple[int, int, int]
    """The fine of a charge with a due date, its interest for each day, and its rebate, in centavos."""
    is_open: bool
    """Whether the payer of a static code chooses the amount."""
    is_removed: bool
    """Whether a charge is withdrawn before it is paid."""


WISHED_CODES = st.builds(
    CodeWish,
    st.sampled_from(["charge", "due", "due", "static"]),
    AMOUNTS,
    TIMES,
    st.lists(PAYERS, max_size=2),
    st.sampled_from([600, 86_400]),
    st.tuples(st.integers(0, 3), st.integers(0, 2)),
    st.sampled_from([(0, 0, 0), (30, 0, 5), (30, 7, 0)]),
    st.booleans(),
    st.sampled_from([False, False, True]),
)


class ReceivesPix(RuleBasedStateMachine):
    """Money that is received by PIX and given back, in any order."""

    is_hostile: ClassVar[bool] = False
    """Whether two processes share stores and a network that fail as the story says."""
    accounts = Bundle("accounts")
    codes = Bundle("codes")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.die = ScriptedDie()
        self.world = self.run(World.with_rails(die=self.die if self.is_hostile else None))
        self.providers = self.world.providers
        self.tenant: Tenant = self.run(self.world.tenant())
        self.received = ReceivedReference()

    def run(self, work: Awaitable[T]) -> T:
        """Run a coroutine on the story's event loop, until every callback that it began is in the pool."""

        async def waited() -> T:
            done = await work
            if hasattr(self, "providers"):
                await self.providers.quiet()
            return done

        return self.loop.run_until_complete(waited())

    async def sent(
        self, path: str, body: Any, times: int = 1, *, method: str = "POST", asks_provider: bool = False
    ) -> Answer:
        """Send a command several times concurrently under one key, and return its one answer.

        Only a command that asks the provider, or one on hostile stores, may have no answer: `dependency_unavailable`.
        """
        key = f"command-{next(self.world.numbers)}"
        answers = await asyncio.gather(*(self.tenant.call(method, path, body, key=key) for _ in range(times)))
        answered = [answer for answer in answers if answer.code not in ("request_in_progress", UNAVAILABLE)]
        if not answered:
            assert asks_provider or self.is_hostile, answers
            return next(answer for answer in answers if answer.code == UNAVAILABLE)
        answers = answered
        assert len({(answer.status, answer.raw) for answer in answers if answer.status < 400}) <= 1, answers
        assert len({answer.status < 400 for answer in answers}) == 1, [(each.status, each.code) for each in answers]
        return answers[0]

    async def delivered(self) -> None:
        """Deliver every event and callback until none is left."""
        if self.providers.is_down:
            return  # an order would be delivered for ever
        while self.world.pool.pending or self.providers.callbacks or await self.world.publish_outbox():
            await self.world.settle()
            await self.providers.quiet()
            callbacks, self.providers.callbacks[:] = list(self.providers.callbacks), []
            for callback in callbacks:
                await self.world.call_back(callback)

    # Accounts and deposits

    @initialize(target=accounts, overdrafts=st.lists(st.sampled_from([0, 250]), min_size=1, max_size=2))
    def open_accounts(self, overdrafts: list[int]) -> Any:
        """Open accounts of one user, some with an overdraft; the first gets money by PIX."""
        owner = self.run(self.tenant.user())
        ids = [self.run(self.tenant.account(overdraft=overdraft, owner=owner)) for overdraft in overdrafts]
        # The polling of received payments has begun before the first one: later it continues from where it was.
        self.run(self.world.tick("providers-poll-payments"))
        self.run(self.deposited(ids[0], 5000))
        return multiple(*ids)

    async def deposited(self, account: str, amount: int) -> None:
        """Request a deposit, whose charge the simulator pays, and deliver everything."""
        self.received.deposits[await self.tenant.deposit(account, amount)] = Code("deposit", account, {amount})
        await self.delivered()

    @rule(account=accounts, amount=AMOUNTS, times=TIMES)
    def deposit(self, account: str, amount: int, times: int) -> None:
        """Request a deposit. The provider is paid as soon as it has the charge."""
        body = {"account_id": account, "amount": brl(amount), "method": "pix"}
        answer = self.run(self.sent("/v1/deposits", body, times))
        assert answer.status == 201, answer.body
        self.received.deposits[answer.body["id"]] = Code("deposit", account, {amount})

    # Codes and their payers

    @rule(target=codes, account=accounts, wishes=st.lists(WISHED_CODES, min_size=1, max_size=4), through=st.booleans())
    def make_codes(self, account: str, wishes: list[CodeWish], through: bool) -> Any:
        """Create charges and static codes, which strangers pay, and perhaps deliver everything."""
        made = [self.run(self.created(account, wish)) for wish in wishes]
        if through:
            self.run(self.delivered())
        return multiple(*(resource for resource in made if resource is not None))

    async def created(self, account: str, wish: CodeWish) -> Any:
        """Create a code, let strangers pay it, and return it; None when the provider has not answered."""
        code, body = self._wished(account, wish)
        kind = "static-codes" if wish.kind == "static" else "charges"
        answer = await self.sent(f"/v1/pix/{kind}", {"account_id": account, **body}, wish.times, asks_provider=True)
        if answer.code == UNAVAILABLE:
            return None
        assert answer.status == 201, answer.body
        self.received.codes[self.providers.code_of(answer.body["br_code"])] = code
        if wish.is_removed:
            await self.removed(answer.body, 1)
        await self.paid_by(answer.body, wish.payers)
        return answer.body

    def _wished(self, account: str, wish: CodeWish) -> tuple[Code, dict[str, Any]]:
        """Return a code and the command that creates it."""
        now, amount = self.world.clock.now(), wish.amount
        if wish.kind == "static":
            amounts = set() if wish.is_open else {amount}
            return Code("static", account, amounts), {} if wish.is_open else {"amount": brl(amount)}
        if wish.kind == "charge":
            ends = now + timedelta(seconds=wish.seconds)
            return Code("charge", account, {amount}, ends), {"amount": brl(amount), "expires_in": wish.seconds}
        fine, interest, rebate = wish.parts
        terms = Terms(today(now) + timedelta(days=wish.due[0]), wish.due[1], fine, interest, rebate)
        amount += rebate  # something is left to pay
        due = {"date": terms.due_date.isoformat(), "valid_days": terms.valid_days, "debtor": DEBTOR}
        parts = {"fine": fine, "interest": interest, "rebate": rebate}
        due |= {name: {"amount": brl(value)} for name, value in parts.items() if value}
        return Code("due", account, {amount}, terms=terms), {"amount": brl(amount), "due": due}

    @rule(code=codes, payers=st.lists(PAYERS, min_size=1, max_size=2), through=st.booleans())
    def pay_code(self, code: dict[str, Any], payers: list[Payer], through: bool) -> None:
        """Strangers pay a code, perhaps not for the first time, and perhaps after its end."""
        self.run(self.paid_by(code, payers))
        if through:
            self.run(self.delivered())

    async def paid_by(self, code: dict[str, Any], payers: list[Payer]) -> None:
        """Pay a code with what is to be paid or another amount; the provider reports it with the payers' faults."""
        payable = self.code(code).payable(self.world.clock.now())
        for payer in payers:
            amount = (100 if payable is None else payable) + payer.more
            order = {"br_code": code["br_code"], "amount": brl(amount), "fault": payer.fault}
            assert (await self.providers.order("pix", "/payments", order))[0] == 202

    def code(self, resource: dict[str, Any]) -> Code:
        """Return a code by its resource."""
        return self.received.codes[self.providers.code_of(resource["br_code"])]

    @rule(code=codes, amount=AMOUNTS)
    def revise(self, code: dict[str, Any], amount: int) -> None:
        """Change the amount of a charge; it is refused after a payment, and after the end."""
        changed = self.code(code)
        if changed.kind == "static":
            return
        amount += 0 if changed.terms is None else changed.terms.rebate
        path, body = f"/v1/pix/charges/{code['txid']}", {"amount": brl(amount)}
        answer = self.run(self.sent(path, body, method="PATCH", asks_provider=True))
        assert answer.code in (None, "illegal_state", UNAVAILABLE), answer.body
        if answer.status == 200:
            changed.amounts = {amount}
        elif answer.code == UNAVAILABLE or changed.is_unsure:
            changed.amounts.add(amount)
            changed.is_unsure = True

    @rule(code=codes, times=TIMES)
    def remove(self, code: dict[str, Any], times: int) -> None:
        """Withdraw a charge; it is refused after a payment, and after the end."""
        self.run(self.removed(code, times))

    async def removed(self, code: dict[str, Any], times: int) -> None:
        """See `remove`."""
        changed = self.code(code)
        if changed.kind == "static":
            return
        answer = await self.sent(f"/v1/pix/charges/{code['txid']}/remove", {}, times, asks_provider=True)
        assert answer.code in (None, "illegal_state", UNAVAILABLE), answer.body
        changed.is_removed |= answer.status == 200
        changed.is_unsure |= answer.code == UNAVAILABLE

    # Returns and reports of fraud

    @rule(number=st.integers(0, 9), amount=st.one_of(st.none(), AMOUNTS), times=TIMES)
    def return_received(self, number: int, amount: int | None, times: int) -> None:
        """Return a received payment, or a part of it."""
        self.run(self.returned(number, amount, times))

    async def returned(self, number: int, amount: int | None, times: int) -> None:
        """See `return_received`."""
        received = [one["id"] for one in await everything(self.world, self.tenant.id, DEPOSITS)]
        body = {} if amount is None else {"amount": brl(amount)}
        answer = await self.sent(f"/v1/deposits/{received[number % len(received)]}/returns", body, times)
        assert answer.code in (None, "illegal_state", "amount_exceeds_refundable"), answer.body
        if answer.status == 201:
            self.received.returns[answer.body["id"]] = amount

    @rule(number=st.integers(0, 9), amount=AMOUNTS)
    def report_fraud(self, number: int, amount: int) -> None:
        """The payer's bank reports a received payment as a fraud, or a part of it."""
        received = list(self.providers.pix._state.payments)
        if received:
            order = {"endToEndId": received[number % len(received)], "valor": f"{amount / 100:.2f}"}
            assert self.run(self.providers.order("pix", "/frauds", order))[0] == 202

    @rule(number=st.integers(0, 9))
    def withdraw_report(self, number: int) -> None:
        """The payer's bank withdraws a report."""
        reports = list(self.providers.pix._frauds)
        if reports:
            order = {"id": reports[number % len(reports)]}
            assert self.run(self.providers.order("pix", "/frauds", order))[0] in (202, 422)

    @rule(number=st.integers(0, 9), accept=st.booleans(), times=TIMES)
    def decide(self, number: int, accept: bool, times: int) -> None:
        """Accept or reject a report of fraud; it is refused for one that is decided, withdrawn, or not held yet."""
        self.run(self.decided(number, accept, times))

    async def decided(self, number: int, accept: bool, times: int) -> None:
        """See `decide`."""
        reports = await self.tenant.listed("/v1/pix/fraud-reports")
        if reports:
            path = f"/v1/pix/fraud-reports/{reports[number % len(reports)]['id']}/{'accept' if accept else 'reject'}"
            answer = await self.sent(path, {"reason": "a test"}, times)
            assert answer.code in (None, "illegal_state"), answer.body

    # At rest

    async def compare_received(self) -> dict[str, int]:
        """Compare deposits, charges and returns with the reference model and the provider, and return what each account
        has of them."""
        deposits = await everything(self.world, self.tenant.id, DEPOSITS)
        self.received.codes |= {
            one["txid"]: self.received.deposits[one["id"]] for one in deposits if one["id"] in self.received.deposits
        }
        payments = self.providers.received()
        received = {one["end_to_end_id"]: one for one in deposits if one["end_to_end_id"] is not None}
        assert len(received) == sum(one["end_to_end_id"] is not None for one in deposits), "a payment is received twice"
        for id, one in received.items():
            assert (one["status"], one["amount"]) == ("settled", payments[id].amount), (one, payments[id])
        credited = {id: one["account_id"] for id, one in received.items()}
        paid = self.received.check_credits(payments, credited)
        await self._compare_codes(deposits, paid)
        given_back = await self._compare_returns(received)
        balances = dict.fromkeys(credited.values(), 0)
        for id, account in credited.items():
            balances[account] += payments[id].amount - given_back.get(id, 0)
        return balances

    async def _compare_codes(self, deposits: list[Any], paid: set[str]) -> None:
        """Check that the charges and deposits that are paid say so, and that no others do."""
        for one in deposits:
            if one["id"] in self.received.deposits:
                assert (one["status"] == "settled") == (one["txid"] in paid), one
        charges = {one["id"]: one for one in await everything(self.world, self.tenant.id, PIX_CHARGES)}
        for id, code in self.received.codes.items():
            if code.kind in ("charge", "due"):
                assert (charges[id]["status"] == "paid") == (id in paid), (charges[id], code)
                if code.is_removed:
                    assert charges[id]["status"] in ("removed", "paid"), (charges[id], code)

    async def _compare_returns(self, received: dict[str, Any]) -> dict[str, int]:
        """Check each return by the provider's books, and return what was given back of each payment."""
        documents = await everything(self.world, self.tenant.id, RETURNS)
        made = self.providers.returned()
        assert made.keys() <= {(one["end_to_end_id"], provider_reference(one["id"])) for one in documents}
        given_back: dict[str, int] = {}
        for one in documents:
            at_provider = made.get((one["end_to_end_id"], provider_reference(one["id"])))
            is_made = at_provider is not None and at_provider.is_made
            assert one["status"] == ("settled" if is_made else "failed"), (one, at_provider)
            if at_provider is not None and at_provider.is_made:
                assert one["amount"] == at_provider.amount, (one, at_provider)
                given_back[one["end_to_end_id"]] = given_back.get(one["end_to_end_id"], 0) + at_provider.amount
        for id, deposit in received.items():
            assert deposit["amount_returned"] == given_back.get(id, 0) <= deposit["amount"], deposit
        asked = {one["id"]: one["amount"] for one in documents if one["nature"] == "requested"}
        assert asked.keys() == self.received.returns.keys()
        for id, amount in self.received.returns.items():
            assert amount in (None, asked[id]), (id, amount, asked[id])
        return given_back
