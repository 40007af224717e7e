"""Closing accounts: only without money and holds, and never while a payment or deposit is in progress."""

from __future__ import annotations

from typing import Any

import pytest

from events.accounts import AccountClosed
from events.holds import FundsReleased
from events.payments.created import PaymentCreated
from events.sweeps import Tick
from shared.ports.documents import Commit, Query
from shared.records.accounts import ACCOUNTS
from shared.records.charges import RECEIPTS
from shared.records.deposits import DEPOSITS
from tests.functions.providers.rail import callback, deposit, report, with_rail
from tests.harness import Answer, Harness


async def close(harness: Harness, account_id: str) -> Answer:
    """Request the closing of an account."""
    return await harness.call("POST", f"/v1/accounts/{account_id}/close")


async def sweep(harness: Harness) -> None:
    """Deliver one tick of the schedule that closes accounts."""
    tick = harness.envelope(Tick(schedule="finish_closing"))
    assert (await harness.deliver("accounts/finish_closing", tick)).status == 204


async def status_of(harness: Harness, account_id: str) -> str:
    """Return the status of an account."""
    return str((await harness.call("GET", f"/v1/accounts/{account_id}")).json["status"])


async def pay(harness: Harness, payer: str, payee: str, value: int = 300, **fields: Any) -> str:
    """Create a payment and return its id; its events are not delivered."""
    amount = {"value": value, "currency": "BRL"}
    body = {"amount": amount, "method": "internal", "payer_account_id": payer, "payee_account_id": payee, **fields}
    answer = await harness.call("POST", "/v1/payments", body)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


@pytest.fixture
async def payer(harness: Harness) -> str:
    """Open an account with 10.00."""
    account: str = (await harness.account())["id"]
    await harness.fund(account, 1000)
    return account


@pytest.fixture
async def payee(harness: Harness) -> str:
    """Open an account without money."""
    account: str = (await harness.account())["id"]
    return account


async def test_an_account_without_money_is_closed_at_once(harness: Harness, payee: str) -> None:
    """The response shows the account as closed, the fact is published once, and a second closing is refused."""
    answer = await close(harness, payee)
    assert (answer.status, answer.json["status"]) == (200, "closed")
    assert [fact.account_id for fact in harness.events_of(AccountClosed)] == [payee]
    again = await close(harness, payee)
    assert (again.status, again.code) == (409, "illegal_state")


async def test_money_or_a_hold_refuses_the_closing(harness: Harness, payer: str, payee: str) -> None:
    """An account with a balance, or whose whole balance is on hold, is not closed."""
    answer = await close(harness, payer)
    assert (answer.status, answer.code) == (409, "illegal_state")
    await pay(harness, payer, payee, 1000, capture="manual")
    await harness.run_events()
    assert (await close(harness, payer)).status == 409
    assert await status_of(harness, payer) == "active"


async def test_a_hold_on_an_overdraft_refuses_the_closing(harness: Harness, payee: str) -> None:
    """An account with a balance of zero is not closed while a part of its overdraft is on hold."""
    account: str = (await harness.account(overdraft_limit=500))["id"]
    await pay(harness, account, payee, 300, capture="manual")
    await harness.run_events()
    answer = await close(harness, account)
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert answer.json["detail"] == "The account has 300 minor units on hold."


async def test_a_closed_account_accepts_no_payments_and_deposits(harness: Harness, payer: str, payee: str) -> None:
    """Payments to or from it and deposits to it are refused as `account_closed`."""
    await close(harness, payee)
    amount = {"value": 1, "currency": "BRL"}
    for from_account, to_account in ((payer, payee), (payee, payer)):
        body = {
            "amount": amount,
            "method": "internal",
            "payer_account_id": from_account,
            "payee_account_id": to_account,
        }
        answer = await harness.call("POST", "/v1/payments", body)
        assert (answer.status, answer.code) == (422, "account_closed")
    answer = await harness.call("POST", "/v1/deposits", {"account_id": payee, "amount": amount, "method": "pix"})
    assert (answer.status, answer.code) == (422, "account_closed")


async def test_a_payment_in_progress_ends_before_the_account_is_closed(
    harness: Harness, payer: str, payee: str
) -> None:
    """The account is `closing` and refuses payments until the authorization is canceled; then the sweep closes it."""
    payment_id = await pay(harness, payer, payee, capture="manual")
    await harness.run_events()
    assert (await close(harness, payee)).json["status"] == "closing"
    await sweep(harness)
    assert await status_of(harness, payee) == "closing"
    amount = {"value": 1, "currency": "BRL"}
    body = {"amount": amount, "method": "internal", "payer_account_id": payer, "payee_account_id": payee}
    assert (await harness.call("POST", "/v1/payments", body)).code == "account_closed"
    await harness.call("POST", f"/v1/payments/{payment_id}/cancel")
    await harness.run_events()
    await sweep(harness)
    assert await status_of(harness, payee) == "closed"
    assert len(harness.events_of(AccountClosed)) == 1


async def test_an_account_that_receives_money_while_closing_stays_open(
    harness: Harness, payer: str, payee: str
) -> None:
    """The payment in progress settles, and the account is active again because it has a balance."""
    payment_id = await pay(harness, payer, payee, capture="manual")
    await harness.run_events()
    await close(harness, payee)
    await harness.call("POST", f"/v1/payments/{payment_id}/capture")
    await harness.run_events()
    await sweep(harness)
    assert await status_of(harness, payee) == "active"
    assert await harness.balance(payee) == (300, 0, 300)


class _ClosingBefore:
    """Documents that close an account between the reads and the first commit of an event function."""

    def __init__(self, harness: Harness, consumer: str, account_id: str) -> None:
        self._harness = harness
        self._consumer = consumer
        self._account_id = account_id
        self._documents = harness.runtime.documents
        self.answer: Answer | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def commit(self, commit: Commit) -> None:
        if commit.inbox is not None and commit.inbox.consumer == self._consumer and self.answer is None:
            self._harness.runtime.documents = self._documents
            self.answer = await close(self._harness, self._account_id)
            self._harness.runtime.documents = self
        await self._documents.commit(commit)


async def test_a_payment_to_an_account_that_closes_meanwhile_is_declined(
    harness: Harness, payer: str, payee: str
) -> None:
    """When the payee's account closes between the reads and the commit of the hold, the payment is declined."""
    payment_id = await pay(harness, payer, payee)
    racing = _ClosingBefore(harness, "accounts/hold_funds", payee)
    harness.runtime.documents = racing
    await harness.run_events()
    assert racing.answer is not None
    assert racing.answer.json["status"] == "closed"
    payment = await harness.payment(payment_id)
    assert (payment["status"], payment["failure"]["code"]) == ("declined", "account_closed")
    assert [fact.reason for fact in harness.events_of(FundsReleased)] == ["failed"]
    assert await harness.balance(payee) == (0, 0, 0)
    assert await harness.balance(payer) == (1000, 0, 1000)
    assert len(harness.events_of(PaymentCreated)) == 1


async def test_a_refund_to_an_account_that_closes_meanwhile_fails(harness: Harness, payer: str, payee: str) -> None:
    """When the account of a refund's receiver closes before the hold is committed, the refund fails."""
    payment_id = await pay(harness, payer, payee, 1000)
    await harness.run_events()
    assert await harness.balance(payer) == (0, 0, 0)
    refund = await harness.call("POST", f"/v1/payments/{payment_id}/refunds")
    racing = _ClosingBefore(harness, "accounts/hold_funds", payer)
    harness.runtime.documents = racing
    await harness.run_events()
    assert racing.answer is not None
    assert racing.answer.json["status"] == "closed"
    failed = (await harness.call("GET", f"/v1/refunds/{refund.json['id']}")).json
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "account_closed")
    assert await harness.balance(payee) == (1000, 0, 1000)
    assert (await harness.payment(payment_id))["amount_refunded"] == {"value": 0, "currency": "BRL"}


async def test_holds_for_one_payee_expect_nothing_of_its_account(harness: Harness, payer: str, payee: str) -> None:
    """A credit to the payee between the reads and the commit of a hold does not make it be decided again."""
    await pay(harness, payer, payee)
    await pay(harness, payer, payee)
    commits: list[Commit] = []
    documents = harness.runtime.documents

    class Recorded:
        def __getattr__(self, name: str) -> Any:
            return getattr(documents, name)

        async def commit(self, commit: Commit) -> None:
            commits.append(commit)
            await documents.commit(commit)

    harness.runtime.documents = Recorded()
    await harness.run_events()
    holds = [each for each in commits if each.inbox is not None and each.inbox.consumer == "accounts/hold_funds"]
    assert [each.expects for each in holds] == [[], []]


class _SweepAfterTheFirstCommit:
    """Documents that deliver a tick of the sweep after the first commit, which makes the account `closing`."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._documents = harness.runtime.documents

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def commit(self, commit: Commit) -> None:
        await self._documents.commit(commit)
        self._harness.runtime.documents = self._documents
        await sweep(self._harness)


async def test_a_closing_that_the_sweep_ends_meanwhile_returns_the_closed_account(harness: Harness, payee: str) -> None:
    """When the sweep closes the account while the request is in progress, the response shows it closed."""
    harness.runtime.documents = _SweepAfterTheFirstCommit(harness)
    answer = await close(harness, payee)
    assert (answer.status, answer.json["status"]) == (200, "closed")
    assert [fact.account_id for fact in harness.events_of(AccountClosed)] == [payee]


async def test_a_deposit_in_progress_keeps_the_account_closing(harness: Harness, payee: str) -> None:
    """The charge of the deposit is still requested; a sweep finds the account with money and opens it again."""
    await with_rail(harness)
    made = await deposit(harness, payee)
    await harness.run_events()
    assert (await close(harness, payee)).json["status"] == "closing"
    txid = await _txid(harness, made["id"])
    await callback(harness, report(txid))
    await harness.run_events()
    await sweep(harness)
    assert await status_of(harness, payee) == "active"
    assert await harness.balance(payee) == (1050, 0, 1050)


async def test_a_deposit_to_an_account_that_closes_meanwhile_fails(harness: Harness, payee: str) -> None:
    """When the account closes between the reads and the commit of the deposit, no charge is requested."""
    await with_rail(harness)
    documents = harness.runtime.documents

    class ClosingBeforeTheDeposit:
        def __getattr__(self, name: str) -> Any:
            return getattr(documents, name)

        async def commit(self, commit: Commit) -> None:
            harness.runtime.documents = documents
            assert (await close(harness, payee)).json["status"] == "closed"
            await documents.commit(commit)

    harness.runtime.documents = ClosingBeforeTheDeposit()
    made = await deposit(harness, payee)
    await harness.run_events()
    failed = (await harness.call("GET", f"/v1/deposits/{made['id']}")).json
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "account_closed")


async def test_money_for_a_closed_account_is_stored_as_unmatched(harness: Harness, payee: str) -> None:
    """A charge that is paid after the account was closed changes no balance and is stored for an operator."""
    await with_rail(harness)
    made = await deposit(harness, payee)
    await harness.run_events()
    txid = await _txid(harness, made["id"])
    account = await harness.documents.get(ACCOUNTS, "acme", payee)
    assert account is not None
    closed = {**account, "status": "closed"}
    await harness.documents.commit(Commit("acme", replaces=[(ACCOUNTS, closed)]))
    assert (await callback(harness, report(txid))).status == 200
    [receipt] = await harness.documents.find(RECEIPTS, "acme", Query())
    assert (receipt["status"], receipt["reason"]) == ("unmatched", "account_closed")


async def _txid(harness: Harness, deposit_id: str) -> str:
    found = await harness.documents.get(DEPOSITS, "acme", deposit_id)
    assert found is not None
    return found["txid"]
