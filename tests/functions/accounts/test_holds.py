"""Holding funds and releasing them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from events.failure import Failure
from events.holds import FundsHeld, FundsRefused, FundsReleased
from events.payments.base import PaymentEvent
from events.payments.canceled import PaymentCanceled
from events.payments.created import PaymentCreated
from events.payments.expired import PaymentExpired
from events.payments.failed import PaymentFailed
from events.refunds import RefundCreated, RefundFailed
from shared.core.money import Money
from shared.records.accounts import ACCOUNTS
from tests.harness import Harness

EXPIRES = "2026-01-08T00:00:00.000000Z"


def created(harness: Harness, payer: str, payee: str, value: int, **fields: Any) -> PaymentCreated:
    """A payment was asked for."""
    return PaymentCreated(
        **{
            "payment_id": harness.runtime.ids.new("pay"),
            "amount": Money(value=value, currency="BRL"),
            "payer_account_id": payer,
            "payee_account_id": payee,
            "method": "internal",
            "capture": "automatic",
            "expires_at": EXPIRES,
            **fields,
        }
    )


def ended(model: type[PaymentEvent], payment: PaymentCreated, **fields: Any) -> PaymentEvent:
    """The payment came to an end."""
    return model(
        payment_id=payment.payment_id,
        amount=payment.amount,
        payer_account_id=payment.payer_account_id,
        payee_account_id=payment.payee_account_id,
        **fields,
    )


async def hold(harness: Harness, event: PaymentCreated | RefundCreated) -> None:
    """Deliver the wish once."""
    assert (await harness.deliver("accounts/hold_funds", harness.envelope(event))).status == 204


async def release(harness: Harness, event: PaymentEvent | RefundFailed) -> None:
    """Deliver the end once."""
    assert (await harness.deliver("accounts/release_funds", harness.envelope(event))).status == 204


async def two_accounts(harness: Harness, funds: int, **fields: Any) -> tuple[str, str]:
    """A payer with this much and a payee."""
    payer = await harness.account(funds, **fields)
    payee = await harness.account()
    return payer["id"], payee["id"]


async def test_an_amount_is_set_aside(harness: Harness) -> None:
    """Held grows, available falls, posted stays; the fact says for which kind of cause."""
    payer, payee = await two_accounts(harness, 1000)
    payment = created(harness, payer, payee, 300)
    await hold(harness, payment)
    assert await harness.balance(payer) == (1000, 300, 700)
    [fact] = harness.events_of(FundsHeld)
    assert (fact.cause_type, fact.cause_id, fact.amount.value) == ("payment", payment.payment_id, 300)
    assert harness.events[-1].extensions["causetype"] == "payment"


@pytest.mark.parametrize(
    ("funds", "overdraft", "value", "held"),
    [(1000, 0, 1000, True), (1000, 0, 1001, False), (0, 500, 500, True), (0, 500, 501, False), (0, 0, 1, False)],
)
async def test_what_is_available_decides(harness: Harness, funds: int, overdraft: int, value: int, held: bool) -> None:
    """To the last minor unit of posted and overdraft together, and not one more."""
    payer, payee = await two_accounts(harness, funds, overdraft_limit=overdraft)
    await hold(harness, created(harness, payer, payee, value))
    refused = harness.events_of(FundsRefused)
    assert [fact.failure.code for fact in refused] == ([] if held else ["insufficient_funds"])
    assert (await harness.balance(payer))[1] == (value if held else 0)


@pytest.mark.parametrize(
    ("side", "fields", "code"),
    [
        ("payer", {"status": "blocked", "block_mode": "debits"}, "account_blocked"),
        ("payer", {"status": "blocked", "block_mode": "all"}, "account_blocked"),
        ("payer", {"status": "closed"}, "account_closed"),
        ("payer", {"currency": "USD"}, "currency_mismatch"),
        ("payee", {"status": "blocked", "block_mode": "all"}, "account_blocked"),
        ("payee", {"status": "blocked", "block_mode": "debits"}, None),
        ("payee", {"status": "closed"}, "account_closed"),
    ],
)
async def test_the_accounts_states_decide(
    harness: Harness, side: str, fields: dict[str, Any], code: str | None
) -> None:
    """A blocked payer pays nothing, a payee blocked for all receives nothing, a closed account does neither."""
    payer, payee = await two_accounts(harness, 1000)
    await harness.alter(ACCOUNTS, payer if side == "payer" else payee, **fields)
    await hold(harness, created(harness, payer, payee, 300))
    assert [fact.failure.code for fact in harness.events_of(FundsRefused)] == ([] if code is None else [code])
    assert (await harness.balance(payer))[1] == (300 if code is None else 0)


async def test_an_account_that_is_not_there_is_refused(harness: Harness) -> None:
    """An unknown payer is like a closed one, and nothing fails."""
    payee = (await harness.account())["id"]
    await hold(harness, created(harness, "acc_0", payee, 300))
    assert [fact.failure.code for fact in harness.events_of(FundsRefused)] == ["account_closed"]


@pytest.mark.parametrize(("funds", "model"), [(1000, FundsHeld), (0, FundsRefused)])
async def test_a_repeated_wish_is_answered_anew_without_effect(
    harness: Harness, funds: int, model: type[FundsHeld | FundsRefused]
) -> None:
    """A second attempt gets the first answer as another event; the same event twice gets nothing more."""
    payer, payee = await two_accounts(harness, funds)
    payment = created(harness, payer, payee, 300)
    first, second = (harness.envelope(payment.model_copy(update={"attempt": attempt})) for attempt in (1, 2))
    for envelope in (first, first, second, second):
        assert (await harness.deliver("accounts/hold_funds", envelope)).status == 204
    answers = [envelope for envelope in harness.events if envelope.type == model.type]
    assert len({envelope.id for envelope in answers}) == len(answers) == 2
    assert (await harness.balance(payer))[1] == (300 if funds else 0)


async def test_a_refund_holds_funds_until_it_fails(harness: Harness) -> None:
    """A refund holds its amount once, however often it is requested, and its failure releases the amount."""
    payer, payee = await two_accounts(harness, 1000)
    refund = RefundCreated(
        refund_id=harness.runtime.ids.new("rfd"),
        payment_id="pay_1",
        amount=Money(value=300, currency="BRL"),
        payer_account_id=payer,
        payee_account_id=payee,
        transfer_id="ltr_1",
        deadline=EXPIRES,
    )
    await hold(harness, refund)
    await hold(harness, refund.model_copy(update={"attempt": 2, "deadline": "2026-02-01T00:00:00.000000Z"}))
    assert [fact.cause_type for fact in harness.events_of(FundsHeld)] == ["refund", "refund"]
    assert await harness.balance(payer) == (1000, 300, 700)
    await release(
        harness,
        RefundFailed(
            refund_id=refund.refund_id,
            payment_id="pay_1",
            amount=refund.amount,
            payer_account_id=payer,
            payee_account_id=payee,
            failure=Failure(code="deadline_passed", detail=""),
        ),
    )
    assert await harness.balance(payer) == (1000, 0, 1000)


async def test_holds_at_once_never_exceed_what_is_available(crowded: Harness) -> None:
    """Fifty wishes of 100 on 1000 at the same time: ten are held, forty refused, whatever cuts in."""
    payer, payee = await two_accounts(crowded, 1000)
    wishes = [crowded.envelope(created(crowded, payer, payee, 100)) for _ in range(50)]
    await asyncio.gather(*(until_done(crowded, envelope) for envelope in wishes))
    assert len(crowded.events_of(FundsHeld)) == 10
    assert {fact.failure.code for fact in crowded.events_of(FundsRefused)} == {"insufficient_funds"}
    assert len(crowded.events_of(FundsRefused)) == 40
    assert await crowded.balance(payer) == (1000, 1000, 0)


async def until_done(harness: Harness, envelope: Any) -> None:
    """Deliver as a broker does, again while the answer is to try again."""
    for _ in range(50):
        if (await harness.deliver("accounts/hold_funds", envelope)).status == 204:
            return
        await asyncio.sleep(0)
    raise AssertionError("the delivery did not come to an end")


@pytest.mark.parametrize(
    ("model", "fields", "reason"),
    [
        (PaymentCanceled, {"reason": "changed my mind"}, "canceled"),
        (PaymentExpired, {}, "expired"),
        (PaymentFailed, {"failure": Failure(code="deadline_passed", detail="")}, "failed"),
    ],
)
async def test_what_came_to_nothing_is_released(
    harness: Harness, model: type[PaymentEvent], fields: dict[str, Any], reason: str
) -> None:
    """The whole hold is available again, once, and the fact says why."""
    payer, payee = await two_accounts(harness, 1000)
    payment = created(harness, payer, payee, 300)
    await hold(harness, payment)
    for _ in range(2):
        await release(harness, ended(model, payment, **fields))
    assert await harness.balance(payer) == (1000, 0, 1000)
    assert [(fact.reason, fact.amount.value) for fact in harness.events_of(FundsReleased)] == [(reason, 300)]


async def test_a_wish_that_comes_after_its_end_holds_nothing(harness: Harness) -> None:
    """When the cancellation overtakes the creation, nothing is held and nobody is told that it is."""
    payer, payee = await two_accounts(harness, 1000)
    payment = created(harness, payer, payee, 300)
    await release(harness, ended(PaymentCanceled, payment, reason=None))
    await hold(harness, payment)
    assert await harness.balance(payer) == (1000, 0, 1000)
    assert harness.events_of(FundsHeld) == harness.events_of(FundsReleased) == []


async def test_wish_and_end_at_once_leave_no_hold(crowded: Harness) -> None:
    """Whichever comes first, nothing stays held."""
    payer, payee = await two_accounts(crowded, 1000)
    for _ in range(20):
        payment = created(crowded, payer, payee, 300)
        end = ended(PaymentCanceled, payment, reason=None)
        await asyncio.gather(hold(crowded, payment), release(crowded, end))
    assert await crowded.balance(payer) == (1000, 0, 1000)


async def test_a_refused_wish_has_nothing_to_release(harness: Harness) -> None:
    """The end of a payment whose funds were refused changes no balance."""
    payer, payee = await two_accounts(harness, 100)
    payment = created(harness, payer, payee, 300)
    await hold(harness, payment)
    await release(harness, ended(PaymentExpired, payment))
    assert await harness.balance(payer) == (100, 0, 100)
    assert harness.events_of(FundsReleased) == []
