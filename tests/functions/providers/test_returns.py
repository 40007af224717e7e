"""Returns of received payments: held first, made once by the provider, recorded after its confirmation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.deposits import DepositSettled
from events.failure import Failure
from events.holds import FundsRefused
from events.ledger import TransferRefused
from events.returns import ReturnConfirmed, ReturnCreated, ReturnFailed, ReturnSettled
from events.sweeps import Tick
from functions.providers._return_states import RETURN_CHANGES
from shared.core.money import Money
from shared.ports.documents import PLATFORM, Query, Unavailable
from shared.ports.rail import RailRefused, ReturnState
from shared.records.accounts import ACCOUNTS
from shared.records.returns import RETURNS, provider_reference
from tests.functions.providers.charges import charge, reported, suspended
from tests.functions.providers.rail import END_TO_END, OTHER_END_TO_END, RecordingRail, callback, report, with_rail
from tests.harness import Answer, Harness

CLEARING = "sys_clearing_pix_brl"
RTR_ID = "D99999004202601010000ccccccccccc"


def brl(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


class Paid:
    """An account with 10.50 from a paid charge, its deposit, and the rail."""

    def __init__(self, harness: Harness, rail: RecordingRail, account_id: str, deposit: Any) -> None:
        self.harness = harness
        self.rail = rail
        self.account_id = account_id
        self.deposit = deposit
        self.path = f"/v1/deposits/{deposit['id']}/returns"

    async def give_back(self, value: int | None = None, *, tenant: str | None = None, **fields: Any) -> Answer:
        """Ask for a return; nothing is delivered yet."""
        body = fields if value is None else {"amount": brl(value), **fields}
        return await self.harness.call("POST", self.path, body, tenant=tenant)

    async def begun(self, value: int | None = None) -> Any:
        """Ask for a return, and deliver all events: the provider has it in progress."""
        answer = await self.give_back(value)
        assert answer.status == 201, answer.body
        await self.harness.run_events(times=2, shuffled=True)
        return await self.shown(answer.json["id"])

    async def shown(self, return_id: str) -> Any:
        """Return a return."""
        answer = await self.harness.call("GET", f"/v1/returns/{return_id}")
        assert answer.status == 200, answer.body
        return answer.json

    async def ended(self, return_id: str, status: str = "DEVOLVIDO", value: int = 1050) -> Any:
        """Report the outcome of a return as the provider, twice, and deliver all events."""
        for _ in range(2):
            await reported(self.harness, self.report(return_id, status, value))
        return await self.shown(return_id)

    def report(self, return_id: str, status: str = "DEVOLVIDO", value: int = 1050) -> dict[str, Any]:
        """Return the provider's report of the payment with this return."""
        outcome = {
            "id": provider_reference(return_id),
            "rtrId": RTR_ID,
            "valor": f"{value // 100}.{value % 100:02d}",
            "status": status,
            "horario": {"solicitacao": "2026-01-01T00:00:00.000Z"},
        }
        return report(self.rail.orders[0].reference, devolucoes=[outcome])

    async def balance(self) -> tuple[int, int, int]:
        """Return what is posted, held and available on the account."""
        return await self.harness.balance(self.account_id)

    async def overdue(self) -> None:
        """Let every deadline pass, deliver the sweep's tick, and deliver all events."""
        self.harness.clock.advance(timedelta(hours=1))
        tick = self.harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
        assert (await self.harness.deliver("operations/sweep_sagas", tick)).status == 204
        await self.harness.run_events()


@pytest.fixture
async def paid(harness: Harness) -> Paid:
    """A charge of 10.50 that is paid."""
    return await received(harness, 1050)


async def received(harness: Harness, value: int) -> Paid:
    """Create a charge of 10.50 and report a payment of `value`."""
    rail = await with_rail(harness)
    account = await harness.account()
    await charge(harness, account["id"])
    await reported(harness, report(rail.orders[0].reference, value))
    (fact,) = harness.events_of(DepositSettled)
    deposit = (await harness.call("GET", f"/v1/deposits/{fact.deposit_id}")).json
    return Paid(harness, rail, account["id"], deposit)


async def test_a_returned_payment_leaves_the_account_when_the_provider_has_returned_it(paid: Paid) -> None:
    """The amount is held, the provider gets one command, and after its report the money is back over the clearing
    account, once, however often it is reported."""
    answer = await paid.give_back(reason="Out of stock")
    made = answer.json
    assert (answer.status, answer.headers["location"]) == (201, f"/v1/returns/{made['id']}")
    assert (made["status"], made["amount"], made["rail_id"], made["reason"]) == (
        "created",
        brl(1050),
        None,
        "Out of stock",
    )
    await paid.harness.run_events(times=2, shuffled=True)
    begun = await paid.shown(made["id"])
    assert (begun["status"], await paid.balance()) == ("processing", (1050, 1050, 0))
    (order,) = {*paid.rail.returns}
    assert (order.payment_id, order.amount, order.reason) == (END_TO_END, 1050, "Out of stock")
    assert order.reference == provider_reference(made["id"])
    settled = await paid.ended(made["id"])
    assert (settled["status"], settled["rail_id"], settled["failure"]) == ("settled", RTR_ID, None)
    assert await paid.balance() == (0, 0, 0)
    assert await paid.harness.runtime.ledger.balance("acme", CLEARING) == 0
    (fact,) = paid.harness.events_of(ReturnSettled)
    assert (fact.return_id, fact.deposit_id, fact.amount.value) == (made["id"], paid.deposit["id"], 1050)
    assert [one["id"] for one in (await paid.harness.call("GET", paid.path)).json["data"]] == [made["id"]]
    assert not paid.harness.undelivered


async def test_parts_are_returned_until_nothing_is_left(paid: Paid) -> None:
    """Parts that are settled or in progress count; more than the rest is refused, and a failed part counts no more."""
    first = await paid.begun(400)
    assert (await paid.give_back(651)).code == "amount_exceeds_refundable"
    second = await paid.begun(650)
    assert (await paid.give_back()).code == "amount_exceeds_refundable"
    assert (await paid.ended(second["id"], "NAO_REALIZADO", 650))["status"] == "failed"
    assert await paid.balance() == (1050, 400, 650)
    assert (await paid.ended(first["id"], value=400))["status"] == "settled"
    third = await paid.begun()
    assert third["amount"] == brl(650)
    await paid.ended(third["id"], value=650)
    assert await paid.balance() == (0, 0, 0)
    assert (await paid.give_back()).code == "amount_exceeds_refundable"


async def test_a_refused_return_gives_the_money_back(paid: Paid) -> None:
    """When the provider reports that it did not return the money, the return fails once and the hold is released."""
    made = await paid.begun()
    failed = await paid.ended(made["id"], "NAO_REALIZADO")
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "provider_refused")
    assert await paid.balance() == (1050, 0, 1050)
    assert len(paid.harness.events_of(ReturnFailed)) == 1
    assert await paid.harness.runtime.ledger.balance("acme", CLEARING) == -1050


@pytest.mark.parametrize(
    "answer",
    [
        RailRefused("PixDevolucaoInvalida", "no"),
        ReturnState("0" * 32, "refused", None, 1050, "The account is closed."),
    ],
)
async def test_a_command_that_the_provider_refuses(paid: Paid, answer: Any) -> None:
    """A return that the provider refuses at once fails, and the money is available again."""
    paid.rail.return_answer = answer
    failed = await paid.begun()
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "provider_refused")
    assert await paid.balance() == (1050, 0, 1050)


async def test_an_unknown_outcome_is_no_failure(paid: Paid) -> None:
    """Without the provider's answer the amount stays held; the command is repeated with the same id until it is
    answered."""
    made = (await paid.give_back()).json
    paid.rail.return_answer = Unavailable("timeout")
    for _ in range(2):
        await paid.harness.deliver("accounts/hold_returned_funds", _last(paid.harness, ReturnCreated))
        held = [one for one in paid.harness.events if one.type == "lastro.account.funds_held.v1"][-1]
        assert (await paid.harness.deliver("providers/request_return", held)).status == 503
    assert (await paid.shown(made["id"]))["status"] == "created"
    paid.rail.return_answer = ReturnState(provider_reference(made["id"]), "returned", RTR_ID, 1050, None)
    await paid.harness.run_events()
    assert (await paid.shown(made["id"]))["status"] == "settled"
    assert len({order.reference for order in paid.rail.returns}) == 1


def _last(harness: Harness, model: Any) -> Any:
    return [one for one in harness.events if one.type == model.type][-1]


async def test_an_outcome_that_is_never_reported_is_asked_for(paid: Paid) -> None:
    """A return whose outcome is not reported is asked for by its id after its deadline, and settles."""
    made = await paid.begun()
    paid.rail.return_answer = ReturnState(provider_reference(made["id"]), "returned", RTR_ID, 1050, None)
    await paid.overdue()
    assert (await paid.shown(made["id"]))["status"] == "settled"
    assert len({*paid.rail.returns}) == 1


async def test_a_return_that_the_provider_has_forgotten_is_requested_again(paid: Paid) -> None:
    """An overdue return that the provider does not know is requested again under the same id."""
    made = await paid.begun()
    first = paid.rail.returns[0]
    paid.rail.returns.clear()
    await paid.overdue()
    assert paid.rail.returns == [first]
    assert (await paid.shown(made["id"]))["status"] == "processing"


async def test_lost_events_of_a_return_are_published_again(paid: Paid) -> None:
    """A return whose hold request or transfer request was lost is driven forward by the sweep."""
    made = (await paid.give_back()).json
    paid.harness._routed = len(paid.harness.events)
    await paid.overdue()
    assert (await paid.shown(made["id"]))["status"] == "processing"
    assert (await callback(paid.harness, paid.report(made["id"]))).status == 200
    paid.harness._routed = len(paid.harness.events)
    assert (await paid.shown(made["id"]))["status"] == "processing"
    await paid.overdue()
    assert (await paid.shown(made["id"]))["status"] == "settled"
    assert {fact.transfer_id for fact in paid.harness.events_of(ReturnConfirmed)} == {
        fact.transfer_id for fact in paid.harness.events_of(ReturnSettled)
    }


async def test_an_account_without_the_money_fails_the_return(paid: Paid) -> None:
    """A return of money that was paid on fails as `insufficient_funds` and never reaches the provider."""
    payee = await paid.harness.account()
    await paid.harness.pay(paid.account_id, payee["id"], 1000)
    await paid.harness.run_events()
    failed = await paid.begun()
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "insufficient_funds")
    assert (paid.rail.returns, await paid.balance()) == ([], (50, 0, 50))


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"status": "blocked", "block_mode": "debits"}, "account_blocked"), ({"status": "closed"}, "account_closed")],
)
async def test_an_account_that_does_not_pay_fails_the_return(paid: Paid, fields: dict[str, Any], code: str) -> None:
    """A return from a blocked or closed account fails."""
    await paid.harness.alter(ACCOUNTS, paid.account_id, **fields)
    assert (await paid.begun())["failure"]["code"] == code
    assert paid.rail.returns == []


async def test_suspended_money_is_returned(harness: Harness) -> None:
    """A payment of a wrong amount goes back from the suspense account; nothing is held for that."""
    paid = await received(harness, 1049)
    assert await suspended(harness) == 1049
    made = await paid.begun()
    assert (made["status"], made["account_id"]) == ("processing", "sys_suspense_brl")
    assert (await paid.ended(made["id"], value=1049))["status"] == "settled"
    assert (await suspended(harness), await harness.runtime.ledger.balance("acme", CLEARING)) == (0, 0)
    again = await received_again(paid)
    paid.rail.return_answer = RailRefused("no", "no")
    failed = await again.begun()
    assert failed["status"] == "failed"
    assert await suspended(harness) == 7


async def received_again(paid: Paid) -> Paid:
    """Report another payment of a wrong amount."""
    await reported(paid.harness, report(paid.rail.orders[0].reference, 7, OTHER_END_TO_END))
    fact = paid.harness.events_of(DepositSettled)[-1]
    deposit = (await paid.harness.call("GET", f"/v1/deposits/{fact.deposit_id}")).json
    return Paid(paid.harness, paid.rail, paid.account_id, deposit)


async def test_a_payment_is_returned_for_ninety_days(paid: Paid) -> None:
    """Ninety days after it was made a payment can be returned, and a second later it cannot."""
    paid.harness.clock.advance(timedelta(days=90))
    assert (await paid.give_back(1)).status == 201
    paid.harness.clock.advance(timedelta(seconds=1))
    assert (await paid.give_back(1)).code == "illegal_state"


async def test_only_a_settled_deposit_is_returned(harness: Harness) -> None:
    """A deposit that is not settled is refused with 409."""
    await with_rail(harness)
    account = await harness.account()
    body = {"account_id": account["id"], "amount": brl(100), "method": "pix"}
    made = (await harness.call("POST", "/v1/deposits", body)).json
    answer = await harness.call("POST", f"/v1/deposits/{made['id']}/returns", {})
    assert (answer.status, answer.code) == (409, "illegal_state")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"amount": {"value": 1, "currency": "USD"}}, "currency_mismatch", "/amount/currency"),
        ({"amount": brl(0)}, "validation_failed", "/amount/value"),
        ({"amount": brl(1051)}, "amount_exceeds_refundable", "/amount/value"),
        ({"reason": "r" * 501}, "validation_failed", "/reason"),
        ({"to": "me"}, "validation_failed", "/to"),
    ],
)
async def test_an_invalid_return_is_refused(paid: Paid, body: dict[str, Any], code: str, pointer: str) -> None:
    """An invalid return is answered with 422, its code and a pointer, and leaves no trace."""
    answer = await paid.harness.call("POST", paid.path, body)
    assert (answer.status, answer.code, answer.json["errors"][0]["pointer"]) == (422, code, pointer)
    assert (await paid.harness.call("GET", paid.path)).json["data"] == []


async def test_another_tenants_return_is_not_found(paid: Paid) -> None:
    """Another tenant neither returns the payment nor sees its returns."""
    made = (await paid.give_back(1)).json
    await paid.harness.tenant("other")
    for answer in (
        await paid.give_back(1, tenant="other"),
        await paid.harness.call("GET", paid.path, tenant="other"),
        await paid.harness.call("GET", f"/v1/returns/{made['id']}", tenant="other"),
    ):
        assert (answer.status, answer.code) == (404, "not_found")


async def test_a_return_that_was_not_made_here_is_logged(paid: Paid, caplog: pytest.LogCaptureFixture) -> None:
    """A reported return that the platform did not make changes nothing and is logged."""
    await reported(paid.harness, paid.report("ret_" + "0" * 32))
    assert "which was not made here" in caplog.text
    assert await paid.balance() == (1050, 0, 1050)


async def test_contradicting_reports_change_nothing(paid: Paid, caplog: pytest.LogCaptureFixture) -> None:
    """After a return has ended, the opposite report is logged as an error and changes nothing."""
    first, second = await paid.begun(400), await paid.begun(300)
    await paid.ended(first["id"], value=400)
    await paid.ended(second["id"], "NAO_REALIZADO", 300)
    before = await paid.balance()
    assert (await paid.ended(first["id"], "NAO_REALIZADO", 400))["status"] == "settled"
    assert (await paid.ended(second["id"], value=300))["status"] == "failed"
    assert await paid.balance() == before
    assert "that it has confirmed before" in caplog.text
    assert "that it has refused before" in caplog.text


async def test_a_refused_transfer_of_a_return_becomes_a_dead_letter(paid: Paid) -> None:
    """The refusal of the transfer of a return that the provider has made is a dead letter: the return does not fail."""
    made = await paid.begun()
    await callback(paid.harness, paid.report(made["id"]))
    (fact,) = paid.harness.events_of(ReturnConfirmed)
    failure = Failure(code="transfer_refused", detail="no")
    refused = TransferRefused(transfer_id=fact.transfer_id, cause_type="return", cause_id=made["id"], failure=failure)
    delivery = await paid.harness.deliver("providers/fail_return", paid.harness.envelope(refused, causetype="return"))
    assert delivery.status == 422
    assert (await paid.shown(made["id"]))["status"] == "processing"


async def test_facts_of_other_causes_are_acknowledged(paid: Paid) -> None:
    """The functions of returns do nothing with a refusal of another cause."""
    refused = FundsRefused(
        account_id=paid.account_id,
        amount=Money(value=1, currency="BRL"),
        cause_type="payment",
        cause_id="pay_1",
        payment_id="pay_1",
        failure=Failure(code="x", detail="y"),
    )
    delivery = await paid.harness.deliver("providers/fail_return", paid.harness.envelope(refused, causetype="payment"))
    assert delivery.status == 204


def test_no_change_leads_out_of_an_end() -> None:
    """Every pair of statuses: only these changes are legal."""
    assert {status: set(changes) for status, changes in RETURN_CHANGES.items()} == {
        "created": {"held", "processing", "failed"},
        "held": {"processing", "failed"},
        "processing": {"settled", "failed"},
        "settled": set(),
        "failed": set(),
    }


@given(st.lists(st.integers(1, 1050), min_size=1, max_size=6))
async def test_returns_never_exceed_the_payment(values: list[int]) -> None:
    """Whatever parts are asked for, those that are accepted never exceed what was received."""
    harness = Harness.make()
    await harness.tenant()
    paid = await received(harness, 1050)
    accepted = [value for value in values if (await paid.give_back(value)).status == 201]
    assert sum(accepted) <= 1050
    await harness.run_events(times=2, shuffled=True)
    documents = await harness.documents.find(RETURNS, "acme", Query(limit=100))
    assert sorted(one["amount"] for one in documents) == sorted(accepted)
    assert await paid.balance() == (1050, sum(accepted), 1050 - sum(accepted))
