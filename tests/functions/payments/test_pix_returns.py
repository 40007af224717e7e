"""Payments by PIX that their receivers return, as a whole or in parts: each return goes back to the payer once."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.payments.returned import PaymentReturned
from events.rail_payments import PixPaymentReturned
from shared.core.clock import format_time
from shared.ports.rail_payments import RailReport, RailReturn
from shared.records.rail_payments import RAIL_PAYMENTS
from shared.records.system_accounts import clearing_account, system_account
from tests.functions.providers.rail import (
    RecordingPayments,
    pay_out,
    payment_callback,
    sent_return,
    with_payments,
)
from tests.harness import Harness

CLEARING = clearing_account("pix", "BRL")
SUSPENSE = system_account("suspense", "BRL")


@pytest.fixture
async def provider(harness: Harness) -> RecordingPayments:
    """The PIX provider of the harness."""
    return await with_payments(harness)


async def moved(harness: Harness, account_id: str = CLEARING) -> int:
    """Return the balance of an account in the ledger."""
    return await harness.runtime.ledger.balance("acme", account_id)


async def paid(harness: Harness, provider: RecordingPayments, payer: str, value: int = 1050) -> tuple[str, RailReport]:
    """Make a payment by PIX that settles; return its id and the provider's report."""
    made = await pay_out(harness, payer, value)
    await harness.run_events()
    report = provider.decide("settled")
    assert (await payment_callback(harness, report)).status == 200
    await harness.run_events()
    return str(made["id"]), report


def with_returns(report: RailReport, *returns: RailReturn) -> RailReport:
    """Return the report of a payment with what came back of it."""
    return report._replace(returns=returns)


async def refunded(harness: Harness, payment_id: str) -> int:
    """Return what the payment shows as refunded."""
    return int((await harness.payment(payment_id))["amount_refunded"]["value"])


async def reconciled(harness: Harness) -> Any:
    """Reconcile the last two hours and the next, and return the reconciliation."""
    now = harness.clock.now()
    period = {"from": format_time(now - timedelta(hours=2)), "to": format_time(now + timedelta(hours=1))}
    answer = await harness.call("POST", "/v1/reconciliations", {"provider": "pix", **period})
    assert answer.status == 201, answer.body
    return answer.json


async def test_a_payment_that_is_returned_in_parts_goes_back_to_the_payer(
    harness: Harness, provider: RecordingPayments
) -> None:
    """Each part that the receiver returns is one refund from the clearing account, in the payment's amounts, its
    timeline and the payer's statement, the reconciliation matches it by its own id, and repeated reports of it change
    nothing."""
    payer = (await harness.account(10_000))["id"]
    harness.clock.advance(timedelta(days=1))
    before = await moved(harness)
    payment_id, report = await paid(harness, provider, payer)
    first, second = sent_return(1, 400), sent_return(2, 650, natureza="MED_FRAUDE")
    for returns in ((first,), (first,), (second, first)):
        assert (await payment_callback(harness, with_returns(report, *returns))).json == {"received": 1}
        await harness.run_events(times=2, shuffled=True)
    await payment_callback(harness, report)
    await harness.run_events(times=2)
    found = await harness.payment(payment_id)
    assert (found["status"], found["amount_captured"]["value"], found["amount_refunded"]["value"]) == (
        "settled",
        1050,
        1050,
    )
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert await moved(harness) == before
    facts = harness.events_of(PaymentReturned)
    assert [(fact.amount_returned.value, fact.reason) for fact in facts] == [(400, "MD06"), (650, "FR01")]
    for fact in facts:
        assert (await harness.call("GET", f"/v1/refunds/{fact.refund_id}")).json["status"] == "settled"
    timeline = (await harness.call("GET", f"/v1/payments/{payment_id}/events")).json["data"]
    types = [entry["type"].removeprefix("lastro.").removesuffix(".v1") for entry in timeline]
    assert types[types.index("payment.settled") + 1 :] == ["payment.returned", "refund.settled"] * 2
    lines = (await harness.call("GET", f"/v1/accounts/{payer}/statement")).json["data"]
    assert [(one["direction"], one["amount"]["value"], one["payment_id"]) for one in lines[-2:]] == [
        ("credit", 400, payment_id),
        ("credit", 650, payment_id),
    ]
    items = await reconciled(harness)
    assert (items["matched"], items["unmatched"]) == (3, 0)
    assert {item["rule"] for item in items["items"]} == {"reference"}
    assert sum(item["provider"]["amount"]["value"] for item in items["items"]) == 0
    known: Any = await harness.documents.get(RAIL_PAYMENTS, "acme", payment_id)
    assert (known["status"], known["amount_returned"]) == ("returned", 1050)
    assert harness.undelivered == []


@pytest.mark.parametrize("order", list(permutations(["processing", "settled", "part", "all"])))
async def test_reports_in_any_order_give_each_part_back_once(
    harness: Harness, provider: RecordingPayments, order: tuple[str, ...]
) -> None:
    """Whatever the order of the reports, and before the ledger has recorded anything, the payment settles and each part
    goes back once."""
    payer = (await harness.account(10_000))["id"]
    made = await pay_out(harness, payer)
    await harness.run_events()
    settled = provider.decide("settled")
    reports = {
        "processing": settled._replace(status="processing"),
        "settled": settled,
        "part": with_returns(settled, sent_return(1, 50)),
        "all": with_returns(settled, sent_return(1, 50), sent_return(2, 1000)),
    }
    for name in order:
        assert (await payment_callback(harness, reports[name])).status == 200
    await harness.run_events(times=2, shuffled=True, together=True)
    assert (await harness.payment(made["id"]))["status"] == "settled"
    assert await refunded(harness, made["id"]) == 1050
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert [fact.return_id for fact in harness.events_of(PixPaymentReturned)] == [
        sent_return(number, 1).id for number in (1, 2)
    ]
    assert harness.undelivered == []


async def test_a_return_that_is_not_made_yet_changes_nothing(harness: Harness, provider: RecordingPayments) -> None:
    """A return that is in progress, or that was refused, moves nothing; it does when it is made."""
    payer = (await harness.account(10_000))["id"]
    payment_id, report = await paid(harness, provider, payer)
    for status in ("EM_PROCESSAMENTO", "NAO_REALIZADO"):
        await payment_callback(harness, with_returns(report, sent_return(1, 1050, status=status)))
        await harness.run_events()
        assert await refunded(harness, payment_id) == 0
    await payment_callback(harness, with_returns(report, sent_return(1, 1050)))
    await harness.run_events()
    assert await refunded(harness, payment_id) == 1050


async def test_the_payer_has_at_most_what_was_paid(harness: Harness, provider: RecordingPayments) -> None:
    """Returns above the payment are given back up to what was captured; the rest stays in the clearing account, where a
    reconciliation shows it as a report without its entry."""
    payer = (await harness.account(10_000))["id"]
    harness.clock.advance(timedelta(days=1))
    payment_id, report = await paid(harness, provider, payer)
    returns = (sent_return(1, 1000), sent_return(2, 1050), sent_return(3, 7))
    await payment_callback(harness, with_returns(report, *returns))
    await harness.run_events(times=2)
    assert await refunded(harness, payment_id) == 1050
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    items = await reconciled(harness)
    unmatched = [item for item in items["items"] if item["status"] != "matched"]
    assert sorted(
        -item["ledger"]["amount"]["value"] if item["provider"] is None else item["provider"]["amount"]["value"]
        for item in unmatched
    ) == [-50, 7, 1050]
    assert harness.undelivered == []


async def test_the_returns_of_a_payment_in_review_wait_for_the_decision(
    harness: Harness, provider: RecordingPayments
) -> None:
    """Parts of a payment of another amount are given back when its review is resolved as settled, and not when it has
    failed."""
    payer = (await harness.account(10_000))["id"]
    payments = []
    for number in (1, 2):
        made = await pay_out(harness, payer)
        await harness.run_events()
        report = provider.decide("settled", 1000)
        parts = sent_return(2 * number, 300), sent_return(2 * number + 1, 700)
        await payment_callback(harness, with_returns(report, *parts))
        payments.append(made["id"])
    await harness.run_events()
    for payment_id, outcome in zip(payments, ("settled", "failed"), strict=True):
        assert (await harness.payment(payment_id))["status"] == "review"
        body = {"outcome": outcome, "reason": "The provider was asked."}
        assert (await harness.call("POST", f"/v1/payments/{payment_id}/resolve", body)).status == 200
    await harness.run_events()
    assert [await refunded(harness, payment_id) for payment_id in payments] == [1000, 0]
    assert await harness.balance(payer) == (10_000, 0, 10_000)


async def over_moved(harness: Harness, provider: RecordingPayments, payer: str) -> tuple[str, RailReport]:
    """Make a payment of 10.50 of which the provider moves 10.60, and settle it; return its id and the report."""
    made = await pay_out(harness, payer)
    await harness.run_events()
    report = provider.decide("settled", 1060)
    await payment_callback(harness, report)
    await harness.run_events()
    body = {"outcome": "settled", "reason": "The provider was asked."}
    assert (await harness.call("POST", f"/v1/payments/{made['id']}/resolve", body)).status == 200
    await harness.run_events()
    return str(made["id"]), report


@pytest.mark.parametrize("parts", [(1060,), (300, 760), (300, 750, 10), (10, 1050), (300, 750, 5, 5), (1055, 5)])
async def test_suspense_gets_back_what_it_has_paid(
    harness: Harness, provider: RecordingPayments, parts: tuple[int, ...]
) -> None:
    """A payment of which the provider had moved more than was held comes back: the payer gets what was paid, the
    suspense account the difference, also where the last parts are nothing else, and the clearing account clears."""
    payer = (await harness.account(10_000))["id"]
    clearing, suspense = await moved(harness), await moved(harness, SUSPENSE)
    harness.clock.advance(timedelta(days=1))
    payment_id, report = await over_moved(harness, provider, payer)
    assert await moved(harness, SUSPENSE) - suspense == -10
    returns = [sent_return(number, amount) for number, amount in enumerate(parts, 1)]
    await payment_callback(harness, with_returns(report, *returns))
    await harness.run_events(times=2)
    assert await refunded(harness, payment_id) == 1050
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert (await moved(harness), await moved(harness, SUSPENSE)) == (clearing, suspense)
    items = await reconciled(harness)
    assert (items["matched"], items["unmatched"]) == (1 + len(parts), 0)
    assert harness.undelivered == []


async def test_a_return_of_the_difference_alone_is_a_refund_that_gives_the_payer_nothing(
    harness: Harness, provider: RecordingPayments
) -> None:
    """The part that is suspense's alone is in the payment's refunds and timeline with the amount 0."""
    payer = (await harness.account(10_000))["id"]
    payment_id, report = await over_moved(harness, provider, payer)
    await payment_callback(harness, with_returns(report, sent_return(1, 1050), sent_return(2, 10)))
    await harness.run_events()
    refunds = (await harness.call("GET", f"/v1/payments/{payment_id}/refunds")).json["data"]
    assert sorted((one["amount"]["value"], one["status"]) for one in refunds) == [(0, "settled"), (1050, "settled")]
    facts = harness.events_of(PaymentReturned)
    assert [fact.amount_returned.value for fact in facts] == [1050, 10]
    timeline = (await harness.call("GET", f"/v1/payments/{payment_id}/events")).json["data"]
    assert [entry["type"] for entry in timeline].count("lastro.refund.settled.v1") == 2


async def test_a_return_to_a_closed_account_goes_to_suspense(harness: Harness, provider: RecordingPayments) -> None:
    """When the payer's account takes no credits any more, the suspense account has the returned money."""
    payer = (await harness.account(1050))["id"]
    _, report = await paid(harness, provider, payer)
    clearing, suspense = await moved(harness), await moved(harness, SUSPENSE)
    assert (await harness.call("POST", f"/v1/accounts/{payer}/close")).json["status"] == "closed"
    await payment_callback(harness, with_returns(report, sent_return(1, 1050)))
    await harness.run_events()
    assert clearing - await moved(harness) == await moved(harness, SUSPENSE) - suspense == 1050
    assert await harness.balance(payer) == (0, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"rtrId": "E12345678202601010000aaaaaaaaaaa"},
        {"rtrId": "D12345678202601010000aaaaaaaaaa"},
        {"rtrId": None},
        {"valor": "0.00"},
        {"status": "PAGO"},
        {"natureza": "PRESENTE"},
    ],
)
async def test_a_return_of_another_form_is_refused(
    harness: Harness, provider: RecordingPayments, change: dict[str, Any]
) -> None:
    """A callback whose return has no RtrId, no amount, or a word that is not the API's, is refused and changes
    nothing."""
    payer = (await harness.account(10_000))["id"]
    payment_id, report = await paid(harness, provider, payer)
    answer = await payment_callback(harness, with_returns(report, sent_return(1, 1050, **change)))
    assert (answer.status, answer.code) == (422, "validation_failed")
    await harness.run_events()
    assert await refunded(harness, payment_id) == 0


async def test_the_return_of_a_refused_payment_is_not_recorded(harness: Harness, provider: RecordingPayments) -> None:
    """A provider that has refused a payment cannot return it: the report is accepted and logged, and nothing moves."""
    payer = (await harness.account(10_000))["id"]
    made = await pay_out(harness, payer)
    await harness.run_events()
    report = provider.decide("refused")
    await payment_callback(harness, report)
    await harness.run_events()
    returned = with_returns(report._replace(status="settled", code="", detail=""), sent_return(1, 1050))
    assert (await payment_callback(harness, returned)).status == 200
    await harness.run_events()
    assert (await harness.payment(made["id"]))["status"] == "failed"
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert harness.events_of(PixPaymentReturned) == []


async def test_returned_parts_are_listed_newest_first(harness: Harness, provider: RecordingPayments) -> None:
    """The refunds of what came back in parts are listed in the order of their times, newest first, over pages, too."""
    payer = (await harness.account(10_000))["id"]
    payment_id, report = await paid(harness, provider, payer)
    returns: list[RailReturn] = []
    for number in range(1, 8):
        returns.append(sent_return(number, number))
        harness.clock.advance(timedelta(minutes=1))
        await payment_callback(harness, with_returns(report, *returns))
        await harness.run_events()
    path = f"/v1/payments/{payment_id}/refunds"
    everything = (await harness.call("GET", path)).json["data"]
    assert [refund["amount"]["value"] for refund in everything] == [7, 6, 5, 4, 3, 2, 1]
    page = (await harness.call("GET", path, query="limit=3")).json
    listed = page["data"]
    while page["next_cursor"] is not None:
        page = (await harness.call("GET", path, query=f"limit=3&cursor={page['next_cursor']}")).json
        listed += page["data"]
    assert listed == everything


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(st.integers(1, 700), min_size=1, max_size=5),
    moved_amount=st.integers(1051, 1400),
    seed=st.integers(0, 1000),
)
async def test_the_clearing_account_clears_whatever_the_order_of_the_parts(
    parts: list[int], moved_amount: int, seed: int
) -> None:
    """A payment of which more was moved than ordered comes back in parts of any size and order, before or after its
    review: the payer has what was paid, the suspense account the difference, nothing stays in the clearing account, and
    what came back above all that was moved is not recorded."""
    harness = Harness.make(seed=seed)
    await harness.tenant()
    provider = await with_payments(harness)
    payer = (await harness.account(10_000))["id"]
    clearing, suspense = await moved(harness), await moved(harness, SUSPENSE)
    made = await pay_out(harness, payer)
    await harness.run_events()
    report = provider.decide("settled", moved_amount)
    await payment_callback(harness, report)
    await harness.run_events()
    random = Random(seed)
    rest = moved_amount - sum(parts)
    returns = [sent_return(number, part) for number, part in enumerate([*parts, rest] if rest > 0 else parts)]
    random.shuffle(returns)
    early = random.randrange(len(returns) + 1)
    await payment_callback(harness, with_returns(report, *returns[:early]))
    await harness.run_events(times=2, shuffled=True, together=True)
    body = {"outcome": "settled", "reason": "The provider was asked."}
    assert (await harness.call("POST", f"/v1/payments/{made['id']}/resolve", body)).status == 200
    await payment_callback(harness, with_returns(report, *returns))
    await harness.run_events(times=2, shuffled=True, together=True)
    assert await refunded(harness, made["id"]) == 1050
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert await moved(harness, SUSPENSE) == suspense
    assert await moved(harness) == clearing
    assert harness.undelivered == []


@settings(max_examples=25, deadline=None)
@given(parts=st.lists(st.integers(1, 700), min_size=1, max_size=6), seed=st.integers(0, 1000))
async def test_whatever_comes_back_is_given_back_once_and_within_the_payment(parts: list[int], seed: int) -> None:
    """For returns of any number, size and order of reports, the payer has back the smaller of their sum and the
    payment, nothing stays held, and the refunds settle."""
    harness = Harness.make(seed=seed)
    await harness.tenant()
    provider = await with_payments(harness)
    payer = (await harness.account(10_000))["id"]
    payment_id, report = await paid(harness, provider, payer)
    returns = [sent_return(number, part) for number, part in enumerate(parts)]
    random = Random(seed)
    for _ in range(3):
        shown = random.sample(returns, random.randrange(1, len(returns) + 1))
        await payment_callback(harness, with_returns(report, *shown))
    await harness.run_events(times=2, shuffled=True, together=True)
    await payment_callback(harness, with_returns(report, *returns))
    await harness.run_events(times=2, shuffled=True)
    back = min(1050, sum(parts))
    assert await refunded(harness, payment_id) == back
    assert await harness.balance(payer) == (8950 + back, 0, 8950 + back)
    assert harness.undelivered == []
