"""Payments by bank transfer: ordered once, settled, refused or returned on the bank's word, however it comes."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from events.payments.returned import PaymentReturned
from events.rail_payments import BankTransferConfirmed, BankTransferRefused, BankTransferReturned, BankTransferSent
from events.settlement_files import SettlementFileApplied
from events.sweeps import Tick
from shared.core.clock import format_time
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.rail import RailRefused
from shared.records.payments import PAYMENTS
from shared.records.rail_payments import RAIL_PAYMENTS
from shared.records.system_accounts import clearing_account, system_account
from tests.functions.providers.bank import (
    ACCOUNT,
    RecordingBank,
    file,
    line,
    ordered,
    report,
    told,
    transfer,
    with_bank,
)
from tests.harness import Harness

CLEARING = clearing_account("bank_transfer", "BRL")
SUSPENSE = system_account("suspense", "BRL")


@pytest.fixture
async def bank(harness: Harness) -> RecordingBank:
    """The partner bank of the harness."""
    return await with_bank(harness)


async def payer_with(harness: Harness, funds: int = 10_000) -> str:
    """Open an account with this balance, and return its id."""
    return str((await harness.account(funds))["id"])


async def moved(harness: Harness, account_id: str = CLEARING) -> int:
    """Return the balance of an account in the ledger."""
    return await harness.runtime.ledger.balance("acme", account_id)


async def overdue(harness: Harness) -> None:
    """Move the clock by an hour, and deliver the sweep's tick and all events that follow."""
    harness.clock.advance(timedelta(hours=1))
    tick = harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
    assert (await harness.deliver("operations/sweep_sagas", tick)).status == 204
    await harness.run_events()


async def test_a_transfer_is_held_ordered_and_settled(harness: Harness, bank: RecordingBank) -> None:
    """The amount is held, one order is sent with the account, and the bank's report moves the amount to the clearing
    account; the resource shows the account masked."""
    payer = await payer_with(harness)
    made = (await transfer(harness, payer, description="Rent")).json
    assert (made["status"], made["method"], made["payee_account_id"]) == ("created", "bank_transfer", None)
    assert made["bank_account"] == {
        "bank": "341",
        "branch": "***",
        "number": "***67-8",
        "type": "checking",
        "holder_name": "***ouza",
        "holder_document": "***4725",
        "end_to_end_id": None,
    }
    await harness.run_events(times=2, shuffled=True)
    (order,) = bank.orders
    assert (order.amount, order.description) == (1050, "Rent")
    assert order.receiver["holder_document"] == "52998224725"
    assert order.callback_url == "http://127.0.0.1:8080/v1/providers/bank_transfer/callbacks"
    payment = await harness.payment(made["id"])
    assert (payment["status"], payment["bank_account"]["end_to_end_id"]) == ("processing", order.reference)
    assert await harness.balance(payer) == (10_000, 1050, 8950)
    for _ in range(2):
        assert (await told(harness, report(order.reference, "settled"))).json == {"received": 1}
    await harness.run_events(times=2, shuffled=True)
    assert (await harness.payment(made["id"]))["status"] == "settled"
    (sent,) = harness.events_of(BankTransferSent)
    (confirmed,) = harness.events_of(BankTransferConfirmed)
    assert (sent.payment_id, sent.end_to_end_id, sent.amount.value) == (made["id"], order.reference, 1050)
    assert (confirmed.payment_id, confirmed.end_to_end_id) == (made["id"], order.reference)
    assert confirmed.amount_moved.value == 1050
    assert await harness.balance(payer) == (8950, 0, 8950)
    assert await moved(harness) == 1050
    assert harness.undelivered == []


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"payee_account_id": "acc_1"}, "validation_failed", "/payee_account_id"),
        ({"bank_account": None}, "validation_failed", "/bank_account"),
        ({"pix": {"key": "+5511987654321"}}, "validation_failed", "/pix"),
        ({"method": "internal", "payee_account_id": "acc_1"}, "validation_failed", "/bank_account"),
        ({"method": "pix", "pix": {"key": "+5511987654321"}}, "validation_failed", "/bank_account"),
        ({"bank_account": {**ACCOUNT, "bank": "34A"}}, "validation_failed", "/bank_account/bank"),
        ({"bank_account": {**ACCOUNT, "number": "1234567"}}, "validation_failed", "/bank_account/number"),
        ({"bank_account": {**ACCOUNT, "type": "x"}}, "validation_failed", "/bank_account/type"),
        (
            {"bank_account": {**ACCOUNT, "holder": {"name": " ", "document": ACCOUNT["holder"]["document"]}}},
            "validation_failed",
            "/bank_account/holder/name",
        ),
        (
            {"bank_account": {**ACCOUNT, "holder": {"name": "A", "document": {"type": "cpf", "number": "1"}}}},
            "validation_failed",
            "/bank_account/holder/document/number",
        ),
        ({"amount": {"value": 1, "currency": "USD"}}, "currency_mismatch", "/amount/currency"),
        ({"amount": {"value": 10**15, "currency": "BRL"}}, "validation_failed", "/amount/value"),
        ({"payer_account_id": "acc_unknown"}, "unknown_reference", "/payer_account_id"),
    ],
)
async def test_an_invalid_transfer_is_refused(
    harness: Harness, bank: RecordingBank, change: dict[str, Any], code: str, pointer: str
) -> None:
    """Each invalid command is refused with its code and a pointer to the field, and no payment is created."""
    body = {"amount": {"value": 1050, "currency": "BRL"}, "method": "bank_transfer", "bank_account": ACCOUNT}
    before = len(harness.events)
    answer = await harness.call(
        "POST", "/v1/payments", {**body, "payer_account_id": await payer_with(harness, 0), **change}
    )
    assert (answer.status, answer.code) == (422, code)
    assert answer.json["errors"][0]["pointer"] == pointer
    assert [event.type for event in harness.events[before:] if "payment" in event.type] == []


async def test_the_account_is_sealed_and_in_no_event(harness: Harness, bank: RecordingBank) -> None:
    """The receiver's name, account and document are sealed in the payment, and in no event, report or settlement
    file."""
    payment = await ordered(harness, await payer_with(harness))
    reference = bank.orders[0].reference
    await told(harness, report(reference, "settled"))
    await file(harness, line(reference, "settled"))
    await harness.run_events()
    stored = await harness.documents.get(PAYMENTS, "acme", payment["id"])
    known = await harness.documents.get(RAIL_PAYMENTS, "acme", payment["id"])
    everything = f"{stored}{known}{[event.data for event in harness.events]}"
    for secret in ("Ana Souza", "52998224725", "1234567-8"):
        assert secret not in everything


async def test_a_refused_transfer_fails_and_releases_the_hold(harness: Harness, bank: RecordingBank) -> None:
    """A refusal, at once or later, fails the payment with the bank's code, and the hold is released."""
    payer = await payer_with(harness)
    payment = await ordered(harness, payer)
    await told(harness, report(bank.orders[0].reference, "refused"))
    bank.error = RailRefused("unknown_bank", "The partner bank refused the transfer.")
    at_once = await ordered(harness, payer)
    for made, code in ((payment, "AC04"), (at_once, "unknown_bank")):
        failed = await harness.payment(made["id"])
        assert (failed["status"], failed["failure"]["code"]) == ("failed", "provider_refused")
        assert failed["failure"]["detail"].startswith(f"{code}: The ")
    facts = harness.events_of(BankTransferRefused)
    assert [(fact.payment_id, fact.failure.detail.partition(":")[0]) for fact in facts] == [
        (payment["id"], "AC04"),
        (at_once["id"], "unknown_bank"),
    ]
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert await moved(harness) == 0


async def test_a_lost_answer_is_asked_for_and_never_fails(harness: Harness, bank: RecordingBank) -> None:
    """When the answer to an order is lost, the bank is asked by the reference and the order is not repeated; while it
    does not answer, the payment stays in progress."""
    bank.loses_answers = True
    payer = await payer_with(harness)
    payment = await ordered(harness, payer)
    assert (payment["status"], len(bank.orders)) == ("processing", 1)
    bank.error = Unavailable("down")
    await overdue(harness)
    assert (await harness.payment(payment["id"]))["status"] == "processing"
    bank.error = None
    reference = bank.orders[0].reference
    bank.known[reference] = bank.known[reference]._replace(status="settled")
    await overdue(harness)
    assert (await harness.payment(payment["id"]))["status"] == "settled"
    assert len(bank.orders) == 1


async def test_another_amount_is_left_to_an_operator(harness: Harness, bank: RecordingBank) -> None:
    """A transfer of another amount is in review, by a callback or a file, with its funds held."""
    payer = await payer_with(harness)
    first, second = await ordered(harness, payer), await ordered(harness, payer)
    await told(harness, report(bank.orders[0].reference, "settled", 1051))
    await file(harness, line(bank.orders[1].reference, "settled", 1050, moved=1049))
    await harness.run_events()
    assert [(await harness.payment(one["id"]))["status"] for one in (first, second)] == ["review"] * 2
    assert await harness.balance(payer) == (10_000, 2100, 7900)


async def test_a_returned_transfer_goes_back_to_the_payer_once(harness: Harness, bank: RecordingBank) -> None:
    """The receiving bank returns a settled transfer: the payer has the money again, the clearing account is at zero,
    and repeated reports of it, by callbacks and by a file, change nothing."""
    payer = await payer_with(harness)
    payment = await ordered(harness, payer)
    reference = bank.orders[0].reference
    await told(harness, report(reference, "settled"))
    await harness.run_events()
    assert await moved(harness) == 1050
    for _ in range(2):
        await told(harness, report(reference, "returned"))
        await harness.run_events(times=2)
    await file(harness, line(reference, "settled"), line(reference, "returned", number=2))
    await harness.run_events(times=2)
    found = await harness.payment(payment["id"])
    assert (found["status"], found["amount_refunded"]["value"]) == ("settled", 1050)
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert await moved(harness) == 0
    (fact,) = harness.events_of(PaymentReturned)
    assert (fact.reason, fact.amount_returned.value) == ("AC04", 1050)
    (reported,) = harness.events_of(BankTransferReturned)
    assert (reported.payment_id, reported.reason, reported.amount_returned) == (
        payment["id"],
        fact.reason,
        fact.amount_returned,
    )
    refund = (await harness.call("GET", f"/v1/refunds/{fact.refund_id}")).json
    assert (refund["status"], refund["payment_id"]) == ("settled", payment["id"])
    assert harness.undelivered == []


@pytest.mark.parametrize("order", list(permutations(["processing", "settled", "returned"])))
async def test_reports_in_any_order_have_one_result(
    harness: Harness, bank: RecordingBank, order: tuple[str, ...]
) -> None:
    """Whatever the order of the reports, the transfer is settled and then returned, once."""
    payer = await payer_with(harness)
    payment = await ordered(harness, payer)
    for status in order:
        await told(harness, report(bank.orders[0].reference, status))
    await harness.run_events()
    found = await harness.payment(payment["id"])
    assert (found["status"], found["amount_refunded"]["value"]) == ("settled", 1050)
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert await moved(harness) == 0


async def test_a_return_to_a_closed_account_goes_to_suspense(harness: Harness, bank: RecordingBank) -> None:
    """When the payer's account takes no credits any more, the suspense account has the returned money."""
    payer = await payer_with(harness, 1050)
    await ordered(harness, payer)
    reference = bank.orders[0].reference
    await told(harness, report(reference, "settled"))
    await harness.run_events()
    suspense = await moved(harness, SUSPENSE)
    assert (await harness.call("POST", f"/v1/accounts/{payer}/close")).json["status"] == "closed"
    await told(harness, report(reference, "returned"))
    # The request of the transfer is lost; the sweep requests it again from the ledger.
    position = len(harness.events)
    await harness.step("payments/return_payment", position - 1)
    harness._routed = len(harness.events)
    await overdue(harness)
    assert await moved(harness) == 0
    assert await moved(harness, SUSPENSE) - suspense == 1050
    assert await harness.balance(payer) == (0, 0, 0)


@pytest.mark.parametrize(("returned", "given_back"), [(7, 7), (2000, 1050)])
async def test_a_return_of_another_amount_gives_back_at_most_what_was_paid(
    harness: Harness, bank: RecordingBank, returned: int, given_back: int
) -> None:
    """Of a return of another amount the payer has at most what was paid; the rest stays in the clearing account, where
    a reconciliation shows it."""
    payer = await payer_with(harness)
    await ordered(harness, payer)
    reference = bank.orders[0].reference
    await told(harness, report(reference, "settled"), report(reference, "returned", returned))
    await harness.run_events()
    assert await moved(harness) == 1050 - given_back
    assert await harness.balance(payer) == (8950 + given_back, 0, 8950 + given_back)


async def test_the_return_of_a_payment_in_review_waits_for_the_decision(harness: Harness, bank: RecordingBank) -> None:
    """A transfer of another amount that came back is given back when its review is resolved as settled, and not when it
    has failed."""
    payer = await payer_with(harness)
    payments = [await ordered(harness, payer) for _ in range(2)]
    for order in bank.orders:
        await told(harness, report(order.reference, "settled", 1000), report(order.reference, "returned", 1000))
    await harness.run_events()
    for payment, outcome in zip(payments, ("settled", "failed"), strict=True):
        path = f"/v1/payments/{payment['id']}/resolve"
        body = {"outcome": outcome, "reason": "The bank was asked."}
        assert (await harness.call("POST", path, body)).status == 200
    await harness.run_events()
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert await moved(harness) == 0


async def test_a_forged_callback_changes_nothing(harness: Harness, bank: RecordingBank) -> None:
    """A callback with another secret is refused, and one about an unknown transfer is accepted without effect."""
    payment = await ordered(harness, await payer_with(harness))
    settled = report(bank.orders[0].reference, "settled")
    assert (await told(harness, settled, secret=b"guessed")).code == "invalid_signature"
    assert (await told(harness, report("U" * 20, "settled"))).json == {"received": 1}
    await harness.run_events()
    assert (await harness.payment(payment["id"]))["status"] == "processing"


# Settlement files


async def test_a_settlement_file_gives_payments_their_outcomes(harness: Harness, bank: RecordingBank) -> None:
    """A file settles, fails and leaves in progress the payments of its lines; a line without a payment is unmatched."""
    payer = await payer_with(harness)
    payments = [await ordered(harness, payer) for _ in range(3)]
    references = [order.reference for order in bank.orders]
    details = [
        line(reference, outcome, number=number)
        for number, (reference, outcome) in enumerate(
            zip([*references, "U" * 20], ["settled", "refused", "accepted", "settled"], strict=True), 1
        )
    ]
    made = (await file(harness, *details)).json
    await harness.run_events(times=2, shuffled=True)
    statuses = [(await harness.payment(payment["id"]))["status"] for payment in payments]
    assert statuses == ["settled", "failed", "processing"]
    failed = await harness.payment(payments[1]["id"])
    assert failed["failure"]["detail"] == "AG: The bank refused the transfer."
    found = (await harness.call("GET", f"/v1/settlement-files/{made['id']}")).json
    assert found["status"] == "applied"
    assert len(harness.events_of(SettlementFileApplied, made["id"])) == 1
    assert [(one["result"], one["payment_id"]) for one in found["lines"]] == [
        *[("matched", payment["id"]) for payment in payments],
        ("unmatched", None),
    ]
    assert await moved(harness) == 1050
    assert harness.undelivered == []


async def test_a_file_reaches_no_other_tenants_payment(harness: Harness, bank: RecordingBank) -> None:
    """A line with the reference of another tenant's payment is unmatched, exactly as an unknown one, and changes
    nothing."""
    payment = await ordered(harness, await payer_with(harness))
    await harness.tenant("other")
    made = (await file(harness, line(bank.orders[0].reference, "settled"), tenant="other")).json
    await harness.run_events()
    found = (await harness.call("GET", f"/v1/settlement-files/{made['id']}", tenant="other")).json
    assert [one["result"] for one in found["lines"]] == ["unmatched"]
    assert (await harness.payment(payment["id"]))["status"] == "processing"


async def test_a_reconciliation_has_transfers_returns_and_unknown_lines(harness: Harness, bank: RecordingBank) -> None:
    """Transfers that were paid, and those that came back, are matched with the clearing account; a line of a file that
    is no payment here is listed as the bank's."""
    payer = await payer_with(harness)
    harness.clock.advance(timedelta(days=1))
    for _ in range(3):
        await ordered(harness, payer)
    paid, back, other = (order.reference for order in bank.orders)
    await file(harness, line(paid, "settled"), line("U" * 20, "settled", 300, number=2))
    await told(harness, report(back, "settled"), report(back, "returned"))
    await told(harness, report(other, "settled"), report(other, "returned", 7))
    await harness.run_events()
    now = harness.clock.now()
    period = {"from": format_time(now - timedelta(hours=1)), "to": format_time(now + timedelta(hours=1))}
    answer = await harness.call("POST", "/v1/reconciliations", {"provider": "bank_transfer", **period})
    assert answer.status == 201, answer.body
    found = answer.json
    matched = sorted(one["provider"]["amount"]["value"] for one in found["items"] if one["status"] == "matched")
    assert matched == [-1050, -1050, -1050, 7, 1050]
    (unknown,) = [one for one in found["items"] if one["status"] != "matched"]
    assert (unknown["status"], unknown["provider"]["amount"]["value"]) == ("unmatched_provider", -300)
