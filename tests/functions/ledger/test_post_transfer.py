"""A requested transfer is recorded once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from events.charges import ChargePaid
from events.holds import FundsHeld
from events.ledger import TransferPosted, TransferRefused
from events.payments.capture_requested import PaymentCaptureRequested
from events.refunds import RefundPostingRequested
from shared.adapters.memory.stores import MemoryLedger
from shared.core.clock import format_time
from shared.core.money import MAX_MINOR_UNITS, Money
from shared.ports.ledger import RecordedTransfer, Refusal, Transfer
from shared.records.system_accounts import clearing_account
from tests.harness import Harness

POST = "ledger/post_transfer"


def capture_requested(
    harness: Harness, value: int = 300, currency: str = "BRL", **fields: Any
) -> PaymentCaptureRequested:
    """Return the fact that requests a payment's transfer, with a deadline in one minute."""
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
    """Return the transfer or refusal that the ledger has stored under an id."""
    return await harness.runtime.ledger.transfer("acme", transfer_id)


async def test_a_capture_is_recorded_and_published(harness: Harness) -> None:
    """The payer is debited, the payee is credited, and the published fact contains the whole transfer."""
    assert (await harness.deliver(POST, harness.envelope(capture_requested(harness)))).status == 204
    [fact] = harness.events_of(TransferPosted)
    assert (fact.transfer_id, fact.cause_type, fact.cause_id) == ("ltr_1", "payment", "pay_1")
    assert (fact.payment_id, fact.description) == ("pay_1", "lunch")
    legs = [(leg.account_id, leg.direction, leg.amount, leg.sequence, leg.balance_after) for leg in fact.legs]
    assert legs == [("acc_a", "debit", 300, 1, -300), ("acc_b", "credit", 300, 1, 300)]
    assert harness.events[-1].extensions["causetype"] == "payment"


class TwoTimes(MemoryLedger):
    """A ledger whose transfers have a first entry that is older than the transfer."""

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        recorded = await super().append(transfer, recorded_at)
        assert isinstance(recorded, RecordedTransfer)
        first, *rest = recorded.entries
        return replace(recorded, entries=(first._replace(recorded_at="2025-12-31T23:59:59.000000Z"), *rest))


async def test_a_leg_has_the_time_of_its_entry(harness: Harness) -> None:
    """The fact has the time of an entry in its leg, where it is not the time of the transfer."""
    harness.runtime.ledger = TwoTimes()
    await harness.deliver(POST, harness.envelope(capture_requested(harness)))
    [fact] = harness.events_of(TransferPosted)
    assert [leg.recorded_at for leg in fact.legs] == ["2025-12-31T23:59:59.000000Z", None]
    assert fact.recorded_at == format_time(harness.clock.now())


async def test_a_repeated_request_publishes_the_same_fact(harness: Harness) -> None:
    """A second attempt records nothing more; its fact is the first one again, by id and data."""
    for attempt in (1, 2):
        request = capture_requested(harness, attempt=attempt)
        assert (await harness.deliver(POST, harness.envelope(request))).status == 204
    published = [event for event in harness.events if event.type == TransferPosted.type]
    assert len(published) == 2
    assert published[0].id == published[1].id
    assert published[0].data == published[1].data
    turnover = await harness.runtime.ledger.turnover("acme")
    assert [(line.debits, line.credits) for line in turnover] == [(300, 0), (0, 300)]


async def test_concurrent_requests_record_one_transfer(crowded: Harness) -> None:
    """Ten concurrent attempts record one transfer and publish facts with one id."""
    requests = [crowded.envelope(capture_requested(crowded, attempt=attempt)) for attempt in range(1, 11)]
    deliveries = await asyncio.gather(*(crowded.deliver(POST, request) for request in requests))
    assert {delivery.status for delivery in deliveries} == {204}
    published = [event for event in crowded.events if event.type == TransferPosted.type]
    assert len({event.id for event in published}) == 1
    assert len(await crowded.runtime.ledger.entries("acme", "acc_a", 0, 100)) == 1


async def test_after_the_deadline_the_transfer_is_refused_for_good(harness: Harness) -> None:
    """A request after its deadline is refused for good: no later request under this id is recorded, not even one in
    time."""
    request = capture_requested(harness)
    harness.clock.advance(timedelta(minutes=1, microseconds=1))
    assert (await harness.deliver(POST, harness.envelope(request))).status == 204
    assert (await harness.deliver(POST, harness.envelope(capture_requested(harness, attempt=2)))).status == 204
    assert [fact.failure.code for fact in harness.events_of(TransferRefused)] == ["deadline_passed"] * 2
    assert await recorded(harness) is None
    assert harness.events[-1].extensions["causetype"] == "payment"


async def test_a_request_at_its_deadline_is_recorded(harness: Harness) -> None:
    """A transfer may still be recorded exactly at its deadline."""
    request = capture_requested(harness)
    harness.clock.advance(timedelta(minutes=1))
    assert (await harness.deliver(POST, harness.envelope(request))).status == 204
    assert await recorded(harness) is not None


async def test_a_recorded_transfer_is_not_refused_after_its_deadline(harness: Harness) -> None:
    """A request that is repeated after its deadline publishes the recorded transfer and not a refusal."""
    request = capture_requested(harness)
    assert (await harness.deliver(POST, harness.envelope(request))).status == 204
    harness.clock.advance(timedelta(hours=1))
    assert (await harness.deliver(POST, harness.envelope(request.model_copy(update={"attempt": 2})))).status == 204
    assert len(harness.events_of(TransferPosted)) == 2
    assert harness.events_of(TransferRefused) == []


async def test_a_different_transfer_with_a_recorded_id_is_a_dead_letter(harness: Harness) -> None:
    """A request with another amount under a recorded id is answered with 422 (dead letter) and publishes no refusal,
    because a transfer exists."""
    assert (await harness.deliver(POST, harness.envelope(capture_requested(harness)))).status == 204
    count = len(harness.events)
    delivery = await harness.deliver(POST, harness.envelope(capture_requested(harness, value=301)))
    assert (delivery.status, delivery.headers["Kne-Code"]) == (422, "validation_failed")
    assert len(harness.events) == count


async def test_a_transfer_that_the_ledger_cannot_record_is_refused(harness: Harness) -> None:
    """A transfer in another currency of an account, or with sums over 64 bits, publishes `transfer_refused`."""
    assert (await harness.deliver(POST, harness.envelope(capture_requested(harness)))).status == 204
    foreign = capture_requested(harness, currency="USD", transfer_id="ltr_2", payment_id="pay_2")
    huge = capture_requested(harness, value=MAX_MINOR_UNITS, transfer_id="ltr_3", payment_id="pay_3")
    for request in (foreign, huge):
        assert (await harness.deliver(POST, harness.envelope(request))).status == 204
        assert await recorded(harness, request.transfer_id) is None
    assert [fact.failure.code for fact in harness.events_of(TransferRefused)] == ["transfer_refused"] * 2


async def test_a_refund_is_recorded_on_its_own_request(harness: Harness) -> None:
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


async def test_held_funds_request_no_transfer(harness: Harness) -> None:
    """The ledger does not accept `account.funds_held` of a refund or payment: it is not a request for a transfer."""
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


async def test_a_paid_charge_is_recorded_however_late(harness: Harness) -> None:
    """A charge that the rail reports as paid is recorded without a deadline."""
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
