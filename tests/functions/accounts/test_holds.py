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
    """Return the fact that a payment was created."""
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
    """Return a fact that ends the payment."""
    return model(
        payment_id=payment.payment_id,
        amount=payment.amount,
        payer_account_id=payment.payer_account_id,
        payee_account_id=payment.payee_account_id,
        **fields,
    )


async def hold(harness: Harness, event: PaymentCreated | RefundCreated) -> None:
    """Deliver the hold request once."""
    assert (await harness.deliver("accounts/hold_funds", harness.envelope(event))).status == 204


async def release(harness: Harness, event: PaymentEvent | RefundFailed) -> None:
    """Deliver the fact that releases the hold once."""
    assert (await harness.deliver("accounts/release_funds", harness.envelope(event))).status == 204


async def two_accounts(harness: Harness, funds: int, **fields: Any) -> tuple[str, str]:
    """Create a payer with this balance, and a payee."""
    payer = await harness.account(funds, **fields)
    payee = await harness.account()
    return payer["id"], payee["id"]


async def test_an_amount_is_held(harness: Harness) -> None:
    """The held amount increases, the available balance decreases, posted stays, and the fact has the kind of its
    cause."""
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
async def test_the_available_balance_limits_a_hold(
    harness: Harness, funds: int, overdraft: int, value: int, held: bool
) -> None:
    """The whole of posted balance and overdraft limit can be held, and not one minor unit more."""
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
async def test_the_status_of_the_accounts_limits_a_hold(
    harness: Harness, side: str, fields: dict[str, Any], code: str | None
) -> None:
    """A blocked payer cannot pay, a payee that is blocked for all movements cannot receive, and a closed account can
    do neither."""
    payer, payee = await two_accounts(harness, 1000)
    await harness.alter(ACCOUNTS, payer if side == "payer" else payee, **fields)
    await hold(harness, created(harness, payer, payee, 300))
    assert [fact.failure.code for fact in harness.events_of(FundsRefused)] == ([] if code is None else [code])
    assert (await harness.balance(payer))[1] == (300 if code is None else 0)


async def test_an_unknown_account_is_refused(harness: Harness) -> None:
    """A hold for an unknown payer is refused as for a closed account, without an error."""
    payee = (await harness.account())["id"]
    await hold(harness, created(harness, "acc_0", payee, 300))
    assert [fact.failure.code for fact in harness.events_of(FundsRefused)] == ["account_closed"]


@pytest.mark.parametrize(("funds", "model"), [(1000, FundsHeld), (0, FundsRefused)])
async def test_a_repeated_request_makes_no_second_hold(
    harness: Harness, funds: int, model: type[FundsHeld | FundsRefused]
) -> None:
    """A second attempt publishes the first answer in a new event; the same event delivered twice publishes nothing."""
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
    """Of fifty concurrent requests to hold 100 of 1000, ten are held and forty refused, however they interleave."""
    payer, payee = await two_accounts(crowded, 1000)
    wishes = [crowded.envelope(created(crowded, payer, payee, 100)) for _ in range(50)]
    await asyncio.gather(*(until_processed(crowded, envelope) for envelope in wishes))
    assert len(crowded.events_of(FundsHeld)) == 10
    assert {fact.failure.code for fact in crowded.events_of(FundsRefused)} == {"insufficient_funds"}
    assert len(crowded.events_of(FundsRefused)) == 40
    assert await crowded.balance(payer) == (1000, 1000, 0)


async def until_processed(harness: Harness, envelope: Any) -> None:
    """Deliver the event again, as a broker does, until the function does not ask for a retry."""
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
async def test_an_ended_payment_releases_its_hold(
    harness: Harness, model: type[PaymentEvent], fields: dict[str, Any], reason: str
) -> None:
    """The whole amount is available again, once, and the fact has the reason."""
    payer, payee = await two_accounts(harness, 1000)
    payment = created(harness, payer, payee, 300)
    await hold(harness, payment)
    for _ in range(2):
        await release(harness, ended(model, payment, **fields))
    assert await harness.balance(payer) == (1000, 0, 1000)
    assert [(fact.reason, fact.amount.value) for fact in harness.events_of(FundsReleased)] == [(reason, 300)]


async def test_a_request_after_its_release_holds_nothing(harness: Harness) -> None:
    """When the cancellation arrives before the creation, nothing is held and no FundsHeld is published."""
    payer, payee = await two_accounts(harness, 1000)
    payment = created(harness, payer, payee, 300)
    await release(harness, ended(PaymentCanceled, payment, reason=None))
    await hold(harness, payment)
    assert await harness.balance(payer) == (1000, 0, 1000)
    assert harness.events_of(FundsHeld) == harness.events_of(FundsReleased) == []


async def test_a_concurrent_request_and_release_leave_no_hold(crowded: Harness) -> None:
    """Whichever of the two is processed first, nothing stays held."""
    payer, payee = await two_accounts(crowded, 1000)
    for _ in range(20):
        payment = created(crowded, payer, payee, 300)
        end = ended(PaymentCanceled, payment, reason=None)
        await asyncio.gather(hold(crowded, payment), release(crowded, end))
    assert await crowded.balance(payer) == (1000, 0, 1000)


async def test_a_refused_hold_has_nothing_to_release(harness: Harness) -> None:
    """A payment that ends after its hold was refused changes no balance."""
    payer, payee = await two_accounts(harness, 100)
    payment = created(harness, payer, payee, 300)
    await hold(harness, payment)
    await release(harness, ended(PaymentExpired, payment))
    assert await harness.balance(payer) == (100, 0, 100)
    assert harness.events_of(FundsReleased) == []
