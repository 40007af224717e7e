"""What the ledger is asked for is recorded once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from events.charges import ChargePaid
from events.holds import FundsHeld
from events.ledger import TransferPosted, TransferRefused
from events.payments.capture_requested import PaymentCaptureRequested
from events.refunds import RefundPostingRequested
from shared.core.clock import format_time
from shared.core.money import MAX_MINOR_UNITS, Money
from shared.ports.ledger import RecordedTransfer
from shared.records.system_accounts import clearing_account
from tests.harness import Harness

POST = "ledger/post_transfer"


def asked(harness: Harness, value: int = 300, currency: str = "BRL", **fields: Any) -> PaymentCaptureRequested:
    """A payment asks for its transfer, which may be recorded within a minute."""
    amount = Money(value=value, currency=currency)
    return PaymentCaptureRequested(
        **{
            "payment_id": "pay_1",
            "amount": amount,
            "payer_account_id": "acc_a",
            "payee_account_id": "acc_b",
            "transfer_id": "ltr_1",
            "capture_amount": amount,
            "description": "lunch",
            "deadline": format_time(harness.clock.now() + timedelta(minutes=1)),
            **fields,
        }
    )


async def recorded(harness: Harness, transfer_id: str = "ltr_1") -> RecordedTransfer | None:
    """What stands in the ledger under an id."""
    return await harness.runtime.ledger.transfer("acme", transfer_id)


async def test_a_capture_is_recorded_and_told(harness: Harness) -> None:
    """Debit of the payer, credit of the payee, and a fact that needs no look-up to be understood."""
    assert (await harness.deliver(POST, harness.envelope(asked(harness)))).status == 204
    [fact] = harness.events_of(TransferPosted)
    assert (fact.transfer_id, fact.cause_type, fact.cause_id) == ("ltr_1", "payment", "pay_1")
    assert (fact.payment_id, fact.description) == ("pay_1", "lunch")
    legs = [(leg.account_id, leg.direction, leg.amount, leg.sequence, leg.balance_after) for leg in fact.legs]
    assert legs == [("acc_a", "debit", 300, 1, -300), ("acc_b", "credit", 300, 1, 300)]
    assert harness.events[-1].extensions["causetype"] == "payment"


async def test_asking_again_tells_the_same_fact_again(harness: Harness) -> None:
    """A second attempt records nothing more; its fact is the first one again, by id and data."""
    for attempt in (1, 2):
        request = asked(harness, attempt=attempt)
        assert (await harness.deliver(POST, harness.envelope(request))).status == 204
    told = [event for event in harness.events if event.type == TransferPosted.type]
    assert len(told) == 2
    assert told[0].id == told[1].id
    assert told[0].data == told[1].data
    turnover = await harness.runtime.ledger.turnover("acme")
    assert [(line.debits, line.credits) for line in turnover] == [(300, 0), (0, 300)]


async def test_asking_at_once_records_once(crowded: Harness) -> None:
    """Ten attempts at the same time, cut in on each other: one transfer, one id of the fact."""
    requests = [crowded.envelope(asked(crowded, attempt=attempt)) for attempt in range(1, 11)]
    deliveries = await asyncio.gather(*(crowded.deliver(POST, request) for request in requests))
    assert {delivery.status for delivery in deliveries} == {204}
    told = [event for event in crowded.events if event.type == TransferPosted.type]
    assert len({event.id for event in told}) == 1
    assert len(await crowded.runtime.ledger.entries("acme", "acc_a", 0, 100)) == 1


async def test_after_the_deadline_the_id_is_given_up(harness: Harness) -> None:
    """An order that comes too late is refused for good: not even one in time is recorded under the id then."""
    request = asked(harness)
    harness.clock.advance(timedelta(minutes=1, microseconds=1))
    assert (await harness.deliver(POST, harness.envelope(request))).status == 204
    assert (await harness.deliver(POST, harness.envelope(asked(harness, attempt=2)))).status == 204
    assert [fact.failure.code for fact in harness.events_of(TransferRefused)] == ["deadline_passed"] * 2
    assert await recorded(harness) is None
    assert harness.events[-1].extensions["causetype"] == "payment"


async def test_at_the_deadline_it_is_not_too_late(harness: Harness) -> None:
    """The deadline's own instant still counts."""
    request = asked(harness)
    harness.clock.advance(timedelta(minutes=1))
    assert (await harness.deliver(POST, harness.envelope(request))).status == 204
    assert await recorded(harness) is not None


async def test_what_was_recorded_in_time_is_never_refused(harness: Harness) -> None:
    """An order that comes again after its deadline hears of the transfer that it led to: unknown is not failed."""
    request = asked(harness)
    assert (await harness.deliver(POST, harness.envelope(request))).status == 204
    harness.clock.advance(timedelta(hours=1))
    assert (await harness.deliver(POST, harness.envelope(request.model_copy(update={"attempt": 2})))).status == 204
    assert len(harness.events_of(TransferPosted)) == 2
    assert harness.events_of(TransferRefused) == []


async def test_other_legs_under_one_id_are_a_persons_matter(harness: Harness) -> None:
    """Another amount under a recorded id is 422 (dead letter): telling a failure would be a lie, for money moved."""
    assert (await harness.deliver(POST, harness.envelope(asked(harness)))).status == 204
    count = len(harness.events)
    delivery = await harness.deliver(POST, harness.envelope(asked(harness, value=301)))
    assert (delivery.status, delivery.headers["Kne-Code"]) == (422, "validation_failed")
    assert len(harness.events) == count


async def test_what_the_ledger_cannot_take_is_refused(harness: Harness) -> None:
    """An account has one currency and sums of 64 bits; beyond that the fact says transfer_refused."""
    assert (await harness.deliver(POST, harness.envelope(asked(harness)))).status == 204
    foreign = asked(harness, currency="USD", transfer_id="ltr_2", payment_id="pay_2")
    huge = asked(harness, value=MAX_MINOR_UNITS, transfer_id="ltr_3", payment_id="pay_3")
    for request in (foreign, huge):
        assert (await harness.deliver(POST, harness.envelope(request))).status == 204
        assert await recorded(harness, request.transfer_id) is None
    assert [fact.failure.code for fact in harness.events_of(TransferRefused)] == ["transfer_refused"] * 2


async def test_a_refund_is_recorded_on_its_own_order(harness: Harness) -> None:
    """`refund.posting_requested` records a transfer from the payment's payee to its payer."""
    order = RefundPostingRequested(
        refund_id="rfd_1",
        payment_id="pay_1",
        amount=Money(value=300, currency="BRL"),
        payer_account_id="acc_b",
        payee_account_id="acc_a",
        transfer_id="ltr_1",
        deadline=format_time(harness.clock.now()),
    )
    assert (await harness.deliver(POST, harness.envelope(order))).status == 204
    [posted] = harness.events_of(TransferPosted)
    assert (posted.cause_type, posted.cause_id, posted.payment_id) == ("refund", "rfd_1", "pay_1")
    assert [leg.account_id for leg in posted.legs] == ["acc_b", "acc_a"]


async def test_held_funds_order_no_transfer(harness: Harness) -> None:
    """The ledger does not accept `account.funds_held`, of a refund or of a payment: it is a fact and no order."""
    held = FundsHeld(
        account_id="acc_b",
        hold_id="hld_1",
        amount=Money(value=300, currency="BRL"),
        cause_type="refund",
        cause_id="rfd_1",
        payment_id="pay_1",
        counterparty_account_id="acc_a",
    )
    assert (await harness.deliver(POST, harness.envelope(held))).status == 400
    assert harness.events_of(TransferPosted) == []


async def test_a_paid_charge_moves_money_in_from_clearing_however_late(harness: Harness) -> None:
    """What the rail has taken in is recorded without a deadline."""
    harness.clock.advance(timedelta(days=30))
    paid = ChargePaid(
        charge_id="chg_1",
        deposit_id="dep_1",
        account_id="acc_a",
        amount=Money(value=500, currency="BRL"),
        end_to_end_id="E1",
        transfer_id="ltr_1",
        clearing_account_id=clearing_account("pix", "BRL"),
    )
    assert (await harness.deliver(POST, harness.envelope(paid))).status == 204
    [posted] = harness.events_of(TransferPosted)
    assert posted.cause_type == "deposit"
    assert [(leg.account_id, leg.direction) for leg in posted.legs] == [
        ("sys_clearing_pix_brl", "debit"),
        ("acc_a", "credit"),
    ]
