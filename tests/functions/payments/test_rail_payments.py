"""Payments over a rail: ordered once, settled on the provider's word, and never failed because of a silence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.payments.posting_requested import PaymentPostingRequested
from events.payments.review_opened import PaymentReviewOpened
from events.payments.submitted import PaymentSubmitted
from events.sweeps import Tick
from shared.adapters.pix.br_code import static_code
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.rail import RailRefused
from shared.records.payments import PAYMENTS
from shared.records.rail_payments import RAIL_PAYMENTS
from shared.records.system_accounts import clearing_account, system_account
from tests.functions.providers.rail import (
    PAID_KEY,
    RecordingPayments,
    pay_out,
    payment_callback,
    sent_report,
    with_payments,
)
from tests.harness import Harness

CLEARING = clearing_account("pix", "BRL")
SUSPENSE = system_account("suspense", "BRL")


@pytest.fixture
async def provider(harness: Harness) -> RecordingPayments:
    """The PIX provider of the harness."""
    return await with_payments(harness)


async def payer_with(harness: Harness, funds: int = 10_000) -> str:
    """Open an account with this balance, and return its id."""
    return str((await harness.account(funds))["id"])


async def ordered(harness: Harness, payer: str, value: int = 1050, **fields: Any) -> str:
    """Create a payment by PIX, deliver all events, and return its id."""
    made = await pay_out(harness, payer, value, **fields)
    await harness.run_events()
    return str(made["id"])


async def status(harness: Harness, payment_id: str) -> str:
    """Return the payment's status."""
    return str((await harness.payment(payment_id))["status"])


async def moved(harness: Harness, account_id: str) -> int:
    """Return the balance of an account in the ledger."""
    return await harness.runtime.ledger.balance("acme", account_id)


async def overdue(harness: Harness) -> None:
    """Move the clock by an hour, and deliver the sweep's tick and all events that follow."""
    harness.clock.advance(timedelta(hours=1))
    tick = harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
    assert (await harness.deliver("operations/sweep_sagas", tick)).status == 204
    await harness.run_events()


async def types_of(harness: Harness, payment_id: str) -> list[str]:
    """Return the types of the payment's timeline, in short."""
    entries = (await harness.call("GET", f"/v1/payments/{payment_id}/events")).json["data"]
    return [str(entry["type"]).removeprefix("lastro.").removesuffix(".v1") for entry in entries]


async def test_a_payment_by_pix_is_held_ordered_confirmed_and_posted(
    harness: Harness, provider: RecordingPayments
) -> None:
    """The amount is held, one order is sent with an end-to-end id of the payment, and its confirmation moves the amount
    from the payer to the clearing account."""
    payer = await payer_with(harness)
    clearing = await moved(harness, CLEARING)
    made = await pay_out(harness, payer, reference="rent", description="Rent of May")
    assert (made["status"], made["method"], made["payee_account_id"]) == ("created", "pix", None)
    assert made["pix"] == {"key": PAID_KEY, "br_code": None, "end_to_end_id": None}
    await harness.run_events(times=2, shuffled=True)
    (order,) = provider.orders
    assert (order.amount, order.receiver, order.description) == (1050, {"key": PAID_KEY}, "Rent of May")
    assert order.callback_url == "http://127.0.0.1:8080/v1/providers/pix/callbacks"
    assert order.reference.startswith(f"E99999004{harness.clock.now():%Y%m%d%H%M}")
    payment = await harness.payment(made["id"])
    assert (payment["status"], payment["pix"]["end_to_end_id"]) == ("processing", order.reference)
    assert await harness.balance(payer) == (10_000, 1050, 8950)
    assert (await payment_callback(harness, provider.decide("settled"))).json == {"received": 1}
    await harness.run_events(times=2, shuffled=True)
    settled = await harness.payment(made["id"])
    assert (settled["status"], settled["amount_captured"]["value"]) == ("settled", 1050)
    assert await harness.balance(payer) == (8950, 0, 8950)
    assert await moved(harness, CLEARING) - clearing == 1050
    expected = ["created", "authorized", "capture_requested", "submitted", "settled"]
    assert await types_of(harness, made["id"]) == [f"payment.{fact}" for fact in expected]
    assert harness.undelivered == []


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"payee_account_id": "acc_1"}, "validation_failed", "/payee_account_id"),
        ({"pix": None}, "validation_failed", "/pix"),
        ({"pix": {}}, "validation_failed", "/pix"),
        ({"pix": {"key": PAID_KEY, "br_code": "x"}}, "validation_failed", "/pix"),
        ({"pix": {"key": "not a key"}}, "validation_failed", "/pix/key"),
        ({"pix": {"key": "Ana@example.test"}}, "validation_failed", "/pix/key"),
        ({"pix": {"br_code": "0002"}}, "validation_failed", "/pix/br_code"),
        ({"pix": {"br_code": static_code(PAID_KEY, "Ana", "SP", amount=1)}}, "validation_failed", "/pix/br_code"),
        ({"amount": {"value": 1, "currency": "USD"}}, "currency_mismatch", "/amount/currency"),
        ({"amount": {"value": 10**12, "currency": "BRL"}}, "validation_failed", "/amount/value"),
        ({"payer_account_id": "acc_unknown"}, "unknown_reference", "/payer_account_id"),
        ({"method": "internal", "payee_account_id": "acc_1"}, "validation_failed", "/pix"),
        ({"method": "internal"}, "validation_failed", "/payee_account_id"),
    ],
)
async def test_an_invalid_payment_by_pix_is_refused(
    harness: Harness, provider: RecordingPayments, change: dict[str, Any], code: str, pointer: str
) -> None:
    """Each invalid command is refused with its code and a pointer to the field, and no payment is created."""
    body = {
        "amount": {"value": 1050, "currency": "BRL"},
        "method": "pix",
        "payer_account_id": await payer_with(harness),
        "pix": {"key": PAID_KEY},
        **change,
    }
    before = len(harness.events)
    answer = await harness.call("POST", "/v1/payments", body)
    assert (answer.status, answer.code) == (422, code)
    assert answer.json["errors"][0]["pointer"] == pointer
    assert len(harness.events) == before


async def test_a_br_code_with_a_key_is_paid_to_its_key(harness: Harness, provider: RecordingPayments) -> None:
    """A static BR Code of the payment's amount is ordered, and is shown with its key masked."""
    code = static_code("+5511987654321", "Ana Souza", "SAO PAULO", amount=1050)
    made = await pay_out(harness, await payer_with(harness), pix={"br_code": code})
    assert "98765" not in made["pix"]["br_code"]
    await harness.run_events()
    assert provider.orders[0].receiver == {"key": "+5511987654321"}


async def test_the_receiver_is_sealed_and_in_no_event(harness: Harness, provider: RecordingPayments) -> None:
    """The receiver's key is personal data: the document has it sealed, and no response and no event has it."""
    made = await pay_out(harness, await payer_with(harness), pix={"key": "ana@example.test"})
    assert made["pix"]["key"] == "***@example.test"
    await harness.run_events()
    await payment_callback(harness, provider.decide("settled"))
    await harness.run_events()
    assert provider.orders[0].receiver == {"key": "ana@example.test"}
    assert not [one for one in harness.events if b"ana@example.test" in one.data]
    payment: Any = await harness.documents.get(PAYMENTS, "acme", made["id"])
    sealed = payment["rail"].pop("receiver")
    assert await harness.runtime.secrets.open([sealed], "acme") == ['{"key": "ana@example.test"}']
    assert "ana@example.test" not in str(payment)
    assert "ana@example.test" not in str(await harness.documents.get(RAIL_PAYMENTS, "acme", made["id"]))


async def test_a_payment_that_the_payer_cannot_fund_is_not_ordered(
    harness: Harness, provider: RecordingPayments
) -> None:
    """A payment that cannot be held is declined, and the provider is not called."""
    payment_id = await ordered(harness, await payer_with(harness, 100))
    assert (await harness.payment(payment_id))["failure"]["code"] == "insufficient_funds"
    assert provider.orders == []


async def test_a_manual_capture_orders_the_part_that_is_captured(harness: Harness, provider: RecordingPayments) -> None:
    """With manual capture nothing is ordered before it; then the captured part is, and the rest is released at the
    end."""
    payer = await payer_with(harness)
    payment_id = await ordered(harness, payer, capture="manual")
    assert (await status(harness, payment_id), provider.orders) == ("authorized", [])
    body = {"amount": {"value": 400, "currency": "BRL"}}
    assert (await harness.call("POST", f"/v1/payments/{payment_id}/capture", body)).status == 200
    await harness.run_events()
    assert provider.orders[0].amount == 400
    await payment_callback(harness, provider.decide("settled"))
    await harness.run_events()
    assert await status(harness, payment_id) == "settled"
    assert await harness.balance(payer) == (9600, 0, 9600)


@pytest.mark.parametrize("reported", [True, False])
async def test_a_refused_payment_fails_and_releases_its_hold(
    harness: Harness, provider: RecordingPayments, *, reported: bool
) -> None:
    """A payment that the provider refuses, in its answer or later in a callback, fails with the provider's reason, and
    the hold is released."""
    payer = await payer_with(harness)
    if not reported:
        provider.error = RailRefused("ChaveInvalida", "There is no such key.")
    payment_id = await ordered(harness, payer)
    if reported:
        await payment_callback(harness, provider.decide("refused"))
        await harness.run_events()
    payment = await harness.payment(payment_id)
    assert (payment["status"], payment["failure"]["code"]) == ("failed", "provider_refused")
    assert payment["failure"]["detail"].startswith("AB03: " if reported else "ChaveInvalida: ")
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert harness.undelivered == []


async def test_a_silent_provider_leaves_the_payment_in_progress(harness: Harness, provider: RecordingPayments) -> None:
    """While the provider does not answer, the request is delivered again, and the payment neither fails nor loses its
    hold, however long it takes; then it settles by one payment."""
    payer = await payer_with(harness)
    provider.error = Unavailable("timeout")
    made = await pay_out(harness, payer)
    await harness.run_events()
    (lost,) = harness.undelivered
    assert (lost.operation, lost.delivery.status) == ("providers/submit_payment", 503)
    for _ in range(15):
        await overdue(harness)
    assert await status(harness, made["id"]) == "capturing"
    assert (await harness.balance(payer))[1] == 1050
    provider.error, provider.answers = None, "settled"
    await overdue(harness)
    assert await status(harness, made["id"]) == "settled"
    assert len({order.reference for order in provider.orders}) == 1


async def test_a_lost_answer_is_reconciled_before_another_order(harness: Harness, provider: RecordingPayments) -> None:
    """When the answer to an order is lost, the provider is asked for the payment by its end-to-end id, and the order is
    not sent again."""
    provider.loses_answers = True
    payment_id = await ordered(harness, await payer_with(harness))
    assert len(provider.orders) == 1
    assert provider.asked == [provider.orders[0].reference]
    assert await status(harness, payment_id) == "processing"


async def test_a_provider_that_never_reports_is_asked(harness: Harness, provider: RecordingPayments) -> None:
    """A payment that stays in processing is asked for by its end-to-end id, and settles by what the provider knows."""
    payer = await payer_with(harness)
    payment_id = await ordered(harness, payer)
    await overdue(harness)
    assert await status(harness, payment_id) == "processing"
    provider.decide("settled")
    await overdue(harness)
    assert await status(harness, payment_id) == "settled"
    assert (len(provider.orders), len(provider.asked)) == (1, 2)
    assert await harness.balance(payer) == (8950, 0, 8950)


async def test_a_report_that_comes_first_or_again_settles_once(harness: Harness, provider: RecordingPayments) -> None:
    """A confirmation that comes before the answer to the order, and again later, settles the payment once."""
    payer = await payer_with(harness)
    made = await pay_out(harness, payer)
    await harness.run_events()
    report = provider.decide("settled")
    for _ in range(2):
        assert (await payment_callback(harness, report, report)).status == 200
    await harness.run_events(times=2, shuffled=True, together=True)
    assert (await payment_callback(harness, report)).status == 200
    await harness.run_events()
    assert await status(harness, made["id"]) == "settled"
    assert await harness.balance(payer) == (8950, 0, 8950)
    assert len(harness.events_of(PaymentSubmitted)) == 1
    assert harness.undelivered == []


async def test_facts_that_were_lost_are_published_again(harness: Harness, provider: RecordingPayments) -> None:
    """A payment whose order, outcome or transfer request was lost is driven to its end by the sweep."""
    payer = await payer_with(harness)
    made = await pay_out(harness, payer)
    for operation in ("accounts/hold_funds", "payments/authorize"):
        assert (await harness.deliver(operation, harness.events[-1])).status == 204
    harness._routed = len(harness.events)
    await overdue(harness)
    assert (await status(harness, made["id"]), len(provider.orders)) == ("processing", 1)
    await payment_callback(harness, provider.decide("settled"))
    harness._routed = len(harness.events)
    await overdue(harness)
    assert await status(harness, made["id"]) == "settled"
    second = await ordered(harness, payer)
    await payment_callback(harness, provider.decide("settled"))
    assert (await harness.deliver("payments/confirm", harness.events[-1])).status == 204
    harness._routed = len(harness.events)
    assert await status(harness, second) == "processing"
    await overdue(harness)
    assert await status(harness, second) == "settled"
    assert len(provider.orders) == 2


async def in_review(harness: Harness, provider: RecordingPayments, payer: str, amount: int) -> str:
    """Order a payment of 1050, of which the provider moves another amount; return its id."""
    payment_id = await ordered(harness, payer)
    await payment_callback(harness, provider.decide("settled", amount))
    await harness.run_events()
    assert await status(harness, payment_id) == "review"
    return payment_id


async def resolve(harness: Harness, payment_id: str, outcome: str) -> Any:
    """Resolve a review and deliver all events; return the answer."""
    body = {"outcome": outcome, "reason": "The provider has explained it."}
    answer = await harness.call("POST", f"/v1/payments/{payment_id}/resolve", body)
    await harness.run_events()
    return answer


@pytest.mark.parametrize(("amount", "paid", "suspense"), [(1000, 1000, 0), (1051, 1050, -1)])
async def test_a_review_is_settled_with_what_the_provider_moved(
    harness: Harness, provider: RecordingPayments, amount: int, paid: int, suspense: int
) -> None:
    """A payment of another amount waits in review with its hold. Settled by an operator, the payer pays at most what is
    held, the clearing account has what was moved, and the suspense account the difference."""
    payer = await payer_with(harness)
    clearing = await moved(harness, CLEARING)
    payment_id = await in_review(harness, provider, payer, amount)
    assert harness.events_of(PaymentReviewOpened)[0].amount_moved.value == amount
    assert await harness.balance(payer) == (10_000, 1050, 8950)
    await overdue(harness)
    assert await status(harness, payment_id) == "review"
    assert (await resolve(harness, payment_id, "settled")).status == 200
    payment = await harness.payment(payment_id)
    assert (payment["status"], payment["amount_captured"]["value"]) == ("settled", paid)
    assert await harness.balance(payer) == (10_000 - paid, 0, 10_000 - paid)
    assert await moved(harness, CLEARING) - clearing == amount
    assert await moved(harness, SUSPENSE) == suspense
    assert (await resolve(harness, payment_id, "failed")).code == "illegal_state"


async def test_a_review_is_failed_when_the_money_came_back(harness: Harness, provider: RecordingPayments) -> None:
    """Failed by an operator, a payment in review releases its hold and moves nothing; the reason is in the failure."""
    payer = await payer_with(harness)
    payment_id = await in_review(harness, provider, payer, 1000)
    assert (await resolve(harness, payment_id, "failed")).status == 200
    failure = (await harness.payment(payment_id))["failure"]
    assert failure == {"code": "review_failed", "detail": "The provider has explained it."}
    assert await harness.balance(payer) == (10_000, 0, 10_000)


async def test_a_decided_review_is_not_decided_again(harness: Harness, provider: RecordingPayments) -> None:
    """Until the ledger has answered no other decision is taken, and a lost transfer request is published again."""
    payment_id = await in_review(harness, provider, await payer_with(harness), 1000)
    body = {"outcome": "settled", "reason": "Agreed."}
    assert (await harness.call("POST", f"/v1/payments/{payment_id}/resolve", body)).json["status"] == "review"
    body["outcome"] = "failed"
    assert (await harness.call("POST", f"/v1/payments/{payment_id}/resolve", body)).code == "illegal_state"
    harness._routed = len(harness.events)
    await overdue(harness)
    assert await status(harness, payment_id) == "settled"


async def test_a_refusal_after_the_confirmation_changes_nothing(harness: Harness, provider: RecordingPayments) -> None:
    """A provider that contradicts its outcome changes no payment."""
    payer = await payer_with(harness)
    payment_id = await ordered(harness, payer)
    await payment_callback(harness, provider.decide("settled"))
    await payment_callback(harness, provider.decide("refused"))
    await harness.run_events()
    assert await status(harness, payment_id) == "settled"
    assert await harness.balance(payer) == (8950, 0, 8950)


async def test_a_report_of_an_unknown_payment_is_answered_and_changes_nothing(
    harness: Harness, provider: RecordingPayments
) -> None:
    """A report of a payment that was not ordered here is acknowledged: the provider cannot correct it."""
    before = len(harness.events)
    answer = await payment_callback(harness, sent_report("E" + "9" * 31, 1, "settled"))
    assert (answer.status, answer.json, len(harness.events)) == (200, {"received": 1}, before)


async def test_a_report_with_another_secret_changes_nothing(harness: Harness, provider: RecordingPayments) -> None:
    """A report that is not signed by the provider is refused, and the payment stays in processing."""
    payment_id = await ordered(harness, await payer_with(harness))
    answer = await payment_callback(harness, provider.decide("settled"), secret=b"guessed")
    assert (answer.status, answer.code) == (401, "invalid_signature")
    assert await status(harness, payment_id) == "processing"


async def test_a_payment_to_a_receiver_elsewhere_is_not_refunded_or_canceled(
    harness: Harness, provider: RecordingPayments
) -> None:
    """A payment that the provider has cannot be canceled, and a settled one cannot be refunded: both are 409."""
    payment_id = await ordered(harness, await payer_with(harness))
    for action in ("cancel", "refunds"):
        assert (await harness.call("POST", f"/v1/payments/{payment_id}/{action}")).code == "illegal_state"
    await payment_callback(harness, provider.decide("settled"))
    await harness.run_events()
    answer = await harness.call("POST", f"/v1/payments/{payment_id}/refunds")
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert "only its receiver can return the money" in answer.json["detail"]


async def test_a_transfer_that_the_ledger_refuses_after_the_provider_paid_is_reviewed(
    harness: Harness, provider: RecordingPayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the provider has paid and the ledger refuses the transfer, an operator decides: the hold stays."""
    payer = await payer_with(harness)
    payment_id = await ordered(harness, payer)
    await payment_callback(harness, provider.decide("settled"))

    async def refuse(*_: object) -> Any:
        from shared.ports.ledger import LedgerRefused

        raise LedgerRefused("the balance is too large")

    with monkeypatch.context() as patched:
        patched.setattr(type(harness.runtime.ledger), "append", refuse)
        await harness.run_events()
    assert await status(harness, payment_id) == "review"
    assert (await harness.balance(payer))[1] == 1050
    assert harness.events_of(PaymentPostingRequested)


async def test_another_tenants_review_is_not_found(harness: Harness, provider: RecordingPayments) -> None:
    """Another tenant's payment cannot be resolved: it is answered as one that does not exist."""
    payment_id = await in_review(harness, provider, await payer_with(harness), 1000)
    await harness.tenant("other")
    body = {"outcome": "failed", "reason": "Mine."}
    answer = await harness.call("POST", f"/v1/payments/{payment_id}/resolve", body, tenant="other")
    assert (answer.status, answer.code) == (404, "not_found")


async def test_a_payment_out_counts_in_the_limits_of_its_night(harness: Harness, provider: RecordingPayments) -> None:
    """Payments by PIX from 20:00 to 06:00 in São Paulo count together and are declined above the limit of the night,
    before the provider is asked; by day they are not, and one that the provider refuses counts no more."""
    provider.answers = "settled"
    payer = (await harness.account(10_000, limits={"per_night": 1_000}))["id"]
    nights = {"22:59:59": None, "23:00:00": "limit_exceeded", "08:59:59": "limit_exceeded", "09:00:00": None}
    start = harness.clock.now().replace(hour=0, minute=0, second=0)
    for number, (time, code) in enumerate(nights.items()):
        hours, minutes, seconds = map(int, time.split(":"))
        day = timedelta(days=number // 2, hours=hours, minutes=minutes, seconds=seconds)
        harness.clock.advance(start + day - harness.clock.now())
        payment = await harness.payment(await ordered(harness, payer, 1_001))
        assert (payment["status"], (payment["failure"] or {"code": None})["code"]) == (
            "settled" if code is None else "declined",
            code,
        )
    assert len(provider.orders) == 2
    harness.clock.advance(timedelta(hours=15))
    provider.answers = "refused"
    assert await status(harness, await ordered(harness, payer, 1_000)) == "failed"
    provider.answers = "settled"
    assert await status(harness, await ordered(harness, payer, 600)) == "settled"
    assert await status(harness, await ordered(harness, payer, 401)) == "declined"
    assert await status(harness, await ordered(harness, payer, 400)) == "settled"
    assert (await harness.balance(payer))[1] == 0
