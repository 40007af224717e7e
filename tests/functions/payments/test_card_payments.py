"""Card payments: authorized by the issuer, captured once, refunded in parts, and never failed because of a silence."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import orjson
import pytest

from embedded.simulators.card_model import DECLINES
from events.cards import CardAuthorized, CardDeclined, CardRefundPaid, CardRefundRefused
from events.ledger import AuditCompleted
from events.rail_payments import CardPaymentConfirmed, CardPaymentRefused, CardPaymentSent
from events.sweeps import Tick
from shared.adapters.providers import callback_signature
from shared.ports.card_gateway import AuthorizationOrder
from shared.ports.documents import PLATFORM, Query
from shared.records.accounts import HOLDS
from shared.records.card_payments import CARD_EVENTS, CARD_PAYMENTS, CARD_REFUNDS
from shared.records.idempotency import IDEMPOTENCY
from shared.records.payments import PAYMENTS
from tests.functions.providers.cards import (
    CLEARING,
    PATH,
    SECRET,
    SUSPENSE,
    Gateway,
    charge,
    order,
    overdue,
    with_gateway,
)
from tests.harness import Harness

NUMBER = "4111111111111111"


@pytest.fixture
async def gateway(harness: Harness) -> Gateway:
    """The card gateway of the harness."""
    return await with_gateway(harness)


@pytest.fixture
async def payee(harness: Harness) -> str:
    """A merchant's account."""
    return str((await harness.account())["id"])


async def paid(gateway: Gateway, payee: str, value: int = 1050, token: str = "tok_approve", **fields: Any) -> str:
    """Create a card payment, deliver all events and callbacks, and return its id."""
    made = await charge(gateway.harness, payee, value, token, **fields)
    await gateway.run()
    return str(made["id"])


async def status(gateway: Gateway, payment_id: str) -> str:
    return str((await gateway.harness.payment(payment_id))["status"])


async def moved(gateway: Gateway, account_id: str) -> int:
    """Return the balance of an account in the ledger."""
    return await gateway.harness.runtime.ledger.balance("acme", account_id)


async def at_gateway(gateway: Gateway, payment_id: str) -> Any:
    """Return the payment as the gateway has it."""
    found = await gateway.adapter.payment(payment_id)
    assert found is not None
    return found


async def refund(gateway: Gateway, payment_id: str, **body: Any) -> Any:
    """Refund a payment, deliver all events and callbacks, and return the refund."""
    made = await gateway.harness.call("POST", f"/v1/payments/{payment_id}/refunds", body)
    assert made.status == 201, made.body
    await gateway.run()
    return (await gateway.harness.call("GET", f"/v1/refunds/{made.json['id']}")).json


def brl(value: int) -> dict[str, Any]:
    return {"amount": {"value": value, "currency": "BRL"}}


async def test_a_card_payment_is_authorized_captured_and_posted(gateway: Gateway, payee: str) -> None:
    """With automatic capture the issuer is asked once, the capture is ordered once, and its callback moves the amount
    from the clearing account to the payee."""
    payment_id = await paid(gateway, payee)
    shown = await gateway.harness.payment(payment_id)
    assert (shown["status"], shown["amount_captured"]["value"]) == ("settled", 1050)
    assert (shown["payer_account_id"], shown["payee_account_id"]) == (None, payee)
    assert shown["card"] == {"token": "***rove"}
    assert (await moved(gateway, payee), await moved(gateway, CLEARING)) == (1050, -1050)
    assert (gateway.commands("/payments"), gateway.commands("/captures")) == (1, 1)
    assert await gateway.harness.balance(payee) == (1050, 0, 1050)
    for fact in (CardAuthorized, CardPaymentSent, CardPaymentConfirmed):
        assert [one.payment_id for one in gateway.harness.events_of(fact)] == [payment_id]
    assert not gateway.harness.undelivered


async def test_the_timeline_of_a_card_payment(gateway: Gateway, payee: str) -> None:
    """The timeline has each step once: created, authorized, capture requested, submitted, settled."""
    payment_id = await paid(gateway, payee)
    entries = (await gateway.harness.call("GET", f"/v1/payments/{payment_id}/events")).json["data"]
    types = [entry["type"].removeprefix("lastro.payment.").removesuffix(".v1") for entry in entries]
    assert types == ["created", "authorized", "capture_requested", "submitted", "settled"]


@pytest.mark.parametrize(("token", "code"), DECLINES.items())
async def test_a_declined_card(gateway: Gateway, payee: str, token: str, code: str) -> None:
    """A payment that the issuer declines is `declined` with a code of the contract, and nothing is held or moved."""
    shown = await gateway.harness.payment(await paid(gateway, payee, token=token))
    known = {"insufficient_funds": "insufficient_funds", "limit_exceeded": "limit_exceeded"}
    known |= {"expired_card": "card_expired", "lost_card": "card_blocked", "stolen_card": "card_blocked"}
    assert (shown["status"], shown["failure"]["code"]) == ("declined", known.get(code, "card_declined"))
    (fact,) = gateway.harness.events_of(CardDeclined)
    assert fact.payment_id == shown["id"]
    assert (await moved(gateway, payee), gateway.commands("/captures"), gateway.commands("/cancel")) == (0, 0, 0)
    assert not gateway.harness.undelivered


async def test_a_suspicion_of_fraud_is_not_told(gateway: Gateway, payee: str) -> None:
    """The failure of a payment that is suspected as fraud does not say so to whoever holds the card."""
    shown = await gateway.harness.payment(await paid(gateway, payee, token="tok_suspected_fraud"))
    assert "fraud" not in str(shown["failure"])


async def test_a_token_that_the_gateway_does_not_know(gateway: Gateway, payee: str) -> None:
    """A refused token declines the payment as `invalid_card_token`, and it is sent once."""
    shown = await gateway.harness.payment(await paid(gateway, payee, token="tok_stranger"))
    assert (shown["status"], shown["failure"]["code"]) == ("declined", "invalid_card_token")
    assert gateway.commands("/payments") == 1


async def test_a_slow_issuer(gateway: Gateway, payee: str) -> None:
    """A payment whose issuer answers after the gateway is settled on the callback."""
    assert await status(gateway, await paid(gateway, payee, token="tok_pending")) == "settled"


async def test_manual_capture_in_part(gateway: Gateway, payee: str) -> None:
    """With manual capture the payment waits as `authorized`; a capture in part moves that part, and no void follows."""
    payment_id = await paid(gateway, payee, capture="manual")
    assert (await status(gateway, payment_id), gateway.commands("/captures")) == ("authorized", 0)
    answer = await gateway.harness.call("POST", f"/v1/payments/{payment_id}/capture", brl(700))
    assert answer.status == 200
    await gateway.run()
    shown = await gateway.harness.payment(payment_id)
    assert (shown["status"], shown["amount_captured"]["value"]) == ("settled", 700)
    assert (await moved(gateway, payee), gateway.commands("/cancel")) == (700, 0)
    assert (await at_gateway(gateway, payment_id)).capture.amount == 700


async def test_a_capture_above_the_authorization_is_refused(gateway: Gateway, payee: str) -> None:
    """A capture of more than the authorized amount, and a second capture, are refused."""
    payment_id = await paid(gateway, payee, capture="manual")
    path = f"/v1/payments/{payment_id}/capture"
    assert (await gateway.harness.call("POST", path, brl(1051))).code == "amount_exceeds_authorized"
    assert (await gateway.harness.call("POST", path)).status == 200
    assert (await gateway.harness.call("POST", path)).code == "illegal_state"


async def test_a_canceled_authorization_is_given_back(gateway: Gateway, payee: str) -> None:
    """Canceling an authorized payment voids it at the gateway, once."""
    payment_id = await paid(gateway, payee, capture="manual")
    assert (await gateway.harness.call("POST", f"/v1/payments/{payment_id}/cancel")).status == 200
    await gateway.run()
    assert (await status(gateway, payment_id), gateway.commands("/cancel")) == ("canceled", 1)
    assert (await at_gateway(gateway, payment_id)).status == "canceled"
    await gateway.harness.replay_all()
    assert gateway.commands("/cancel") == 1


async def test_a_payment_that_is_canceled_before_the_issuer_answers(gateway: Gateway, payee: str) -> None:
    """A payment that is canceled while its authorization is on its way is voided when the gateway has it."""
    made = await charge(gateway.harness, payee)
    await gateway.harness.deliver("providers/authorize_card", gateway.harness.events[-1])
    assert (await gateway.harness.call("POST", f"/v1/payments/{made['id']}/cancel")).status == 200
    await gateway.run()
    assert await status(gateway, made["id"]) == "canceled"
    assert (await at_gateway(gateway, made["id"])).status == "canceled"


async def test_a_payment_that_is_canceled_at_once_is_not_sent(gateway: Gateway, payee: str) -> None:
    """A payment that is canceled before anything was sent never reaches the gateway."""
    made = await charge(gateway.harness, payee)
    assert (await gateway.harness.call("POST", f"/v1/payments/{made['id']}/cancel")).status == 200
    await gateway.run()
    assert gateway.commands("/payments") == 0


async def test_an_authorization_expires(gateway: Gateway, payee: str) -> None:
    """An authorization that is not captured in time expires, and is voided at the gateway."""
    payment_id = await paid(gateway, payee, capture="manual", expires_in=60)
    await overdue(gateway)
    assert await status(gateway, payment_id) == "expired"
    assert (await at_gateway(gateway, payment_id)).status == "canceled"


async def test_a_payees_account_that_closes_meanwhile(gateway: Gateway, payee: str) -> None:
    """A payment to an account that was closed before the issuer's answer is declined, and voided at the gateway."""
    made = await charge(gateway.harness, payee)
    assert (await gateway.harness.call("POST", f"/v1/accounts/{payee}/close")).status == 200
    await gateway.run()
    shown = await gateway.harness.payment(made["id"])
    assert (shown["status"], shown["failure"]["code"]) == ("declined", "account_closed")
    assert (await at_gateway(gateway, made["id"])).status == "canceled"


async def test_a_closing_waits_for_an_authorized_card_payment(gateway: Gateway, payee: str) -> None:
    """An account is not closed while a card payment to it is authorized."""
    payment_id = await paid(gateway, payee, capture="manual")
    closing = await gateway.harness.call("POST", f"/v1/accounts/{payee}/close")
    assert (closing.status, closing.json["status"]) == (200, "closing")
    await gateway.harness.call("POST", f"/v1/payments/{payment_id}/cancel")
    await gateway.run()
    tick = gateway.harness.envelope(Tick(schedule="finish_closing"), tenant=PLATFORM)
    assert (await gateway.harness.deliver("accounts/finish_closing", tick)).status == 204
    assert (await gateway.harness.call("GET", f"/v1/accounts/{payee}")).json["status"] == "closed"


async def test_a_failed_capture(gateway: Gateway, payee: str) -> None:
    """A capture that the gateway fails fails the payment as `provider_refused`, and moves nothing."""
    shown = await gateway.harness.payment(await paid(gateway, payee, token="tok_capture_fails"))
    assert (shown["status"], shown["failure"]["code"]) == ("failed", "provider_refused")
    (fact,) = gateway.harness.events_of(CardPaymentRefused)
    assert (fact.payment_id, fact.failure.code) == (shown["id"], "provider_refused")
    assert await moved(gateway, payee) == 0


async def test_another_captured_amount_is_a_review(gateway: Gateway, payee: str) -> None:
    """When the gateway has captured another amount the payment is in review; an operator settles it, the payee gets
    what was ordered, and the difference is in the suspense account."""
    await gateway.fault("wrong_amount", action="capture")
    payment_id = await paid(gateway, payee)
    assert (await status(gateway, payment_id), await moved(gateway, payee)) == ("review", 0)
    decision = {"outcome": "settled", "reason": "The gateway keeps the amount"}
    assert (await gateway.harness.call("POST", f"/v1/payments/{payment_id}/resolve", decision)).status == 200
    await gateway.run()
    assert await status(gateway, payment_id) == "settled"
    assert [await moved(gateway, account) for account in (payee, CLEARING, SUSPENSE)] == [1050, -1051, 1]


@pytest.mark.parametrize("fault", ["late", "twice", "never", "out_of_order"])
async def test_faults_of_callbacks(gateway: Gateway, payee: str, fault: str) -> None:
    """A late, repeated, missing or early callback neither loses nor repeats the payment."""
    for action in ("authorization", "capture"):
        await gateway.fault(fault, action=action)
    payment_id = await paid(gateway, payee)
    if fault == "never":
        assert await status(gateway, payment_id) == "processing"
        await overdue(gateway)
    assert await status(gateway, payment_id) == "settled"
    assert (await moved(gateway, payee), gateway.commands("/captures")) == (1050, 1)
    assert not gateway.harness.undelivered


@pytest.mark.parametrize("fault", ["500", "cut"])
async def test_a_lost_answer_to_an_authorization(gateway: Gateway, payee: str, fault: str) -> None:
    """An authorization whose answer is lost is asked for by our id, and made once."""
    await gateway.fault(fault)
    assert await status(gateway, await paid(gateway, payee)) == "settled"
    assert await moved(gateway, payee) == 1050


async def test_an_unknown_authorization_is_asked_for_before_it_is_sent_again(gateway: Gateway, payee: str) -> None:
    """While the gateway is down the payment stays `created`; afterwards it is asked for by our id first."""
    gateway.is_down = True
    payment_id = await paid(gateway, payee)
    assert await status(gateway, payment_id) == "created"
    gateway.is_down = False
    gateway.adapter._api = None  # a new process has a closed circuit
    await overdue(gateway)
    assert gateway.requests[:2] == ["GET /v1/payments", "POST /v1/payments"]
    assert await status(gateway, payment_id) == "settled"


async def test_an_unknown_capture_is_never_a_failure(gateway: Gateway, payee: str) -> None:
    """While the gateway is down a captured payment stays in progress for days; then it is settled, once."""
    payment_id = await paid(gateway, payee, capture="manual", expires_in=2_592_000)
    gateway.is_down = True
    await gateway.harness.call("POST", f"/v1/payments/{payment_id}/capture")
    await gateway.run()
    for _ in range(15):
        await overdue(gateway)
    assert await status(gateway, payment_id) == "capturing"
    gateway.is_down = False
    gateway.adapter._api = None
    await overdue(gateway)
    await overdue(gateway)
    assert (await status(gateway, payment_id), await moved(gateway, payee)) == ("settled", 1050)


async def test_refunds_in_parts(gateway: Gateway, payee: str) -> None:
    """Refunds are held on the payee, returned by the gateway, and posted to the clearing account, up to the captured
    amount."""
    payment_id = await paid(gateway, payee)
    first = await refund(gateway, payment_id, **brl(300))
    second = await refund(gateway, payment_id)
    assert [(one["status"], one["amount"]["value"]) for one in (first, second)] == [("settled", 300), ("settled", 750)]
    assert [fact.refund_id for fact in gateway.harness.events_of(CardRefundPaid)] == [first["id"], second["id"]]
    shown = await gateway.harness.payment(payment_id)
    assert (shown["status"], shown["amount_refunded"]["value"]) == ("settled", 1050)
    assert (await moved(gateway, payee), await moved(gateway, CLEARING)) == (0, 0)
    assert await gateway.harness.balance(payee) == (0, 0, 0)
    again = await gateway.harness.call("POST", f"/v1/payments/{payment_id}/refunds", brl(1))
    assert again.code == "amount_exceeds_refundable"
    assert not gateway.harness.undelivered


async def test_a_refund_that_the_gateway_refuses(gateway: Gateway, payee: str) -> None:
    """A refund that the gateway fails is `failed`, the payee has the money again, and the amount can be refunded."""
    payment_id = await paid(gateway, payee, token="tok_refund_fails")
    found = await refund(gateway, payment_id)
    assert (found["status"], found["failure"]["code"]) == ("failed", "provider_refused")
    assert [fact.refund_id for fact in gateway.harness.events_of(CardRefundRefused)] == [found["id"]]
    assert await gateway.harness.balance(payee) == (1050, 0, 1050)
    assert (await gateway.harness.payment(payment_id))["amount_refunded"]["value"] == 0


async def test_a_refund_that_the_payee_cannot_fund(gateway: Gateway, payee: str) -> None:
    """A refund without the payee's funds fails before anything is sent to the gateway."""
    payment_id = await paid(gateway, payee)
    other = (await gateway.harness.account())["id"]
    await gateway.harness.pay(payee, other, 1000)
    await gateway.run()
    found = await refund(gateway, payment_id)
    assert (found["status"], found["failure"]["code"]) == ("failed", "insufficient_funds")
    assert gateway.commands("/refunds") == 0


@pytest.mark.parametrize("fault", ["never", "twice", "out_of_order", "cut", "500"])
async def test_faults_of_refunds(gateway: Gateway, payee: str, fault: str) -> None:
    """A refund with a lost answer or a missing, repeated or early callback is returned and posted once."""
    payment_id = await paid(gateway, payee)
    await gateway.fault(fault, action="refund")
    await refund(gateway, payment_id, **brl(300))
    await overdue(gateway)
    shown = await gateway.harness.payment(payment_id)
    assert shown["amount_refunded"]["value"] == 300
    assert await moved(gateway, payee) == 750
    assert [one.amount for one in (await at_gateway(gateway, payment_id)).refunds] == [300]


async def test_everything_delivered_again_changes_nothing(gateway: Gateway, payee: str) -> None:
    """All events and callbacks again, of a payment with a refund, move nothing and send no command."""
    payment_id = await paid(gateway, payee)
    await refund(gateway, payment_id, **brl(300))
    sent = [one for one in gateway.requests if one.startswith("POST")]
    for body in list(gateway.callbacks):
        headers = callback_signature.sign(SECRET, body, gateway.harness.clock.now())
        assert (await gateway.harness.call("POST", PATH, body, headers=headers)).status == 200
    await gateway.harness.replay_all()
    await gateway.run()
    assert (await moved(gateway, payee), await moved(gateway, CLEARING)) == (750, -750)
    assert [one for one in gateway.requests if one.startswith("POST")] == sent


async def test_an_older_callback_changes_nothing(gateway: Gateway, payee: str) -> None:
    """A callback with an older state of a payment, under a new id, is stored and changes nothing."""
    payment_id = await paid(gateway, payee)
    old = orjson.loads(gateway.callbacks[0])
    body = orjson.dumps({**old, "id": "gwe_late"})
    headers = callback_signature.sign(SECRET, body, gateway.harness.clock.now())
    assert (await gateway.harness.call("POST", PATH, body, headers=headers)).status == 200
    await gateway.run()
    assert (await status(gateway, payment_id), await moved(gateway, payee)) == ("settled", 1050)


async def test_callbacks_are_authenticated(gateway: Gateway, payee: str) -> None:
    """A callback without a signature, or with another secret, is refused; one about a stranger's payment is accepted
    and changes nothing."""
    payment_id = await paid(gateway, payee, capture="manual")
    event = orjson.loads(gateway.callbacks[0])
    event["id"] = "gwe_forged"
    body = orjson.dumps(event)
    assert (await gateway.harness.call("POST", PATH, body)).code == "missing_signature"
    forged = callback_signature.sign(b"guessed", body, gateway.harness.clock.now())
    assert (await gateway.harness.call("POST", PATH, body, headers=forged)).code == "invalid_signature"
    event["payment"]["reference"] = "pay_of_nobody"
    body = orjson.dumps(event)
    signed = callback_signature.sign(SECRET, body, gateway.harness.clock.now())
    assert (await gateway.harness.call("POST", PATH, body, headers=signed)).status == 200
    assert await status(gateway, payment_id) == "authorized"


async def test_a_callback_cannot_name_another_payment_of_the_gateway(gateway: Gateway, payee: str) -> None:
    """A callback with our id and another of the gateway's payments is logged and changes nothing."""
    payment_id = await paid(gateway, payee, capture="manual")
    event = orjson.loads(gateway.callbacks[0])
    event |= {"id": "gwe_other", "payment": {**event["payment"], "id": "gwp_other", "status": "canceled"}}
    body = orjson.dumps(event)
    signed = callback_signature.sign(SECRET, body, gateway.harness.clock.now())
    assert (await gateway.harness.call("POST", PATH, body, headers=signed)).status == 200
    found = await gateway.harness.documents.get(CARD_PAYMENTS, "acme", payment_id)
    assert found is not None
    assert found["status"] == "authorized"


async def test_a_day_of_card_payments_passes_the_audit(gateway: Gateway, payee: str) -> None:
    """A day with a settled, a refunded, a reviewed and an authorized card payment has no difference."""
    settled = await paid(gateway, payee)
    await refund(gateway, settled, **brl(300))
    await gateway.fault("wrong_amount", action="capture")
    reviewed = await paid(gateway, payee, 200)
    decision = {"outcome": "settled", "reason": "The gateway keeps the amount"}
    assert (await gateway.harness.call("POST", f"/v1/payments/{reviewed}/resolve", decision)).status == 200
    await paid(gateway, payee, capture="manual")
    gateway.harness.clock.advance(timedelta(days=1))
    tick = gateway.harness.envelope(Tick(schedule="audit_day"), tenant=PLATFORM)
    assert (await gateway.harness.deliver("operations/audit_day", tick)).status == 204
    (fact,) = gateway.harness.events_of(AuditCompleted)
    assert (fact.passed, fact.differences) == (True, ())


async def test_an_authorization_that_stays_unknown_expires_and_is_given_back(gateway: Gateway, payee: str) -> None:
    """A payment whose authorization arrived and is never answered expires after the last attempt; when the gateway can
    be asked again, the dead letter's replay gives the authorization back."""
    made = await charge(gateway.harness, payee)
    await gateway.adapter.authorize(
        AuthorizationOrder(made["id"], 1050, "BRL", "tok_approve", None, f"http://platform.test{PATH}")
    )
    await gateway.simulator.reporter.close()
    gateway.is_down = True
    for _ in range(14):
        await overdue(gateway)
    shown = await gateway.harness.payment(made["id"])
    assert (shown["status"], shown["failure"]["code"]) == ("expired", "hold_timed_out")
    gateway.is_down = False
    gateway.adapter._api = None
    for letter in gateway.harness.undelivered:
        assert (await gateway.harness.deliver(letter.operation, letter.envelope)).status == 204
    assert (await at_gateway(gateway, made["id"])).status == "canceled"


# Card numbers

_BODIES: tuple[dict[str, Any], ...] = (
    {"description": f"card {NUMBER}"},
    {"reference": "4111 1111 1111 1111"},
    {"metadata": {"note": "4111-1111-1111-1111"}},
    {"card": {"token": f"tok_{NUMBER}"}},
    {"card": {"number": NUMBER, "cvv": "123"}},
    {"card": {"number": int(NUMBER)}},
    {"card": NUMBER},
    {"payee_account_id": NUMBER},
    {NUMBER: "x"},
    {"metadata": {NUMBER: "x"}},
    {"method": "internal", "payer_account_id": NUMBER},
)


@pytest.mark.parametrize("more", _BODIES)
async def test_a_body_with_a_card_number_is_refused_and_kept_nowhere(
    gateway: Gateway, payee: str, more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A card payment with a card number in any field, also as a number or a name, is refused with 422; the number is in
    no answer, log, document or event, and the idempotency key is free."""
    caplog.set_level(logging.DEBUG)
    harness = gateway.harness
    answer = await harness.call("POST", "/v1/payments", order(payee, **more), key="once")
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert "card number" in answer.json["errors"][0]["detail"]
    bare = answer.body.decode().replace(" ", "").replace("-", "")
    assert NUMBER not in bare
    assert NUMBER not in caplog.text.replace(" ", "").replace("-", "")
    assert not await harness.documents.find(PAYMENTS, "acme", Query(limit=10))
    kept = await harness.documents.find(IDEMPOTENCY, "acme", Query(limit=100))
    assert NUMBER not in str(kept)
    assert all(NUMBER not in str(event) for event in harness.events)
    assert (await harness.call("POST", "/v1/payments", order(payee), key="once")).status == 201


async def test_a_repeated_key_that_is_a_card_number_is_not_shown(gateway: Gateway) -> None:
    """The problem about a repeated member does not show a name that is a card number."""
    body = f'{{"card": {{"{NUMBER}": 1, "{NUMBER}": 2}}}}'.encode()
    answer = await gateway.harness.call("POST", "/v1/payments", body)
    assert answer.code == "malformed_request"
    assert NUMBER not in answer.body.decode()


async def test_commands_about_a_card_payment_refuse_card_numbers(gateway: Gateway, payee: str) -> None:
    """The reasons of a cancellation and a refund of a card payment are refused when they have a card number."""
    held = await paid(gateway, payee, capture="manual")
    settled = await paid(gateway, payee)
    for path in (f"/v1/payments/{held}/cancel", f"/v1/payments/{settled}/refunds"):
        answer = await gateway.harness.call("POST", path, {"reason": f"card {NUMBER}"})
        assert (answer.code, answer.json["errors"][0]["pointer"]) == ("validation_failed", "/reason")
        assert NUMBER not in answer.body.decode()


async def test_a_gateways_report_with_a_card_number_is_stored_masked(gateway: Gateway, payee: str) -> None:
    """What the gateway sends is stored with card numbers and the cardholder masked."""
    payment_id = await paid(gateway, payee, capture="manual")
    event = orjson.loads(gateway.callbacks[0])
    event["payment"] |= {"cardholder": {"name": "Ana Souza"}, "trace": f"PAN {NUMBER}"}
    body = orjson.dumps({**event, "id": "gwe_full"})
    signed = callback_signature.sign(SECRET, body, gateway.harness.clock.now())
    assert (await gateway.harness.call("POST", PATH, body, headers=signed)).status == 200
    stored = await gateway.harness.documents.get(CARD_EVENTS, "acme", "gwe_full")
    assert stored is not None
    assert (stored["payment_id"], stored["report"]["trace"]) == (payment_id, "PAN ***1111")
    assert stored["report"]["cardholder"] == {"name": "***ouza"}


async def test_the_token_is_sealed_at_rest(gateway: Gateway, payee: str) -> None:
    """The token of a payment is stored sealed, and stands in no event."""
    payment_id = await paid(gateway, payee, token="tok_approve-secret1001")
    stored = await gateway.harness.documents.get(PAYMENTS, "acme", payment_id)
    assert "secret1001" not in str(stored)
    assert all("secret1001" not in str(event.data) for event in gateway.harness.events)


# What requests may say, and who may send them


@pytest.mark.parametrize(
    ("more", "code", "pointer"),
    [
        ({"payer_account_id": "acc_1"}, "validation_failed", "/payer_account_id"),
        ({"card": None}, "validation_failed", "/card"),
        ({"payee_account_id": None}, "validation_failed", "/payee_account_id"),
        ({"pix": {"key": "ana@example.com"}}, "validation_failed", "/pix"),
        ({"card": {"token": "4111"}}, "validation_failed", "/card/token"),
        ({"card": {}}, "validation_failed", "/card/token"),
        ({"amount": {"value": 1, "currency": "USD"}}, "currency_mismatch", "/amount/currency"),
        ({"amount": {"value": 1_000_000_000_000, "currency": "BRL"}}, "validation_failed", "/amount/value"),
        ({"payee_account_id": "acc_unknown"}, "unknown_reference", "/payee_account_id"),
        ({"method": "internal", "payer_account_id": "acc_1"}, "validation_failed", "/card"),
    ],
)
async def test_a_body_that_does_not_fit(
    gateway: Gateway, payee: str, more: dict[str, Any], code: str, pointer: str
) -> None:
    """A card payment needs a token and a payee, has no payer's account, and is in BRL within the rail's bound."""
    answer = await gateway.harness.call("POST", "/v1/payments", order(payee, **more))
    assert (answer.code, answer.json["errors"][0]["pointer"]) == (code, pointer)


async def test_a_card_payment_to_another_tenants_account(gateway: Gateway) -> None:
    """Another tenant's account as the payee is an unknown reference."""
    await gateway.harness.tenant("other")
    foreign = (await gateway.harness.account(tenant="other"))["id"]
    assert (await gateway.harness.call("POST", "/v1/payments", order(foreign))).code == "unknown_reference"


async def test_a_person_charges_cards_to_own_accounts_only(gateway: Gateway) -> None:
    """A person's token charges a card to an account of the person; another's account is an unknown reference."""
    harness = gateway.harness
    ana, bruno = await harness.user(), await harness.user("11144477735")
    own = (await harness.account(owner_id=ana["id"]))["id"]
    others = (await harness.account(owner_id=bruno["id"]))["id"]
    made = await harness.call("POST", "/v1/payments", order(own), person=ana["id"])
    assert made.status == 201
    refused = await harness.call("POST", "/v1/payments", order(others), person=ana["id"])
    assert (refused.code, refused.json["errors"][0]["pointer"]) == ("unknown_reference", "/payee_account_id")


async def test_the_issuers_hold_is_stored_and_ends(gateway: Gateway, payee: str) -> None:
    """The hold of a card payment is on the clearing account, and is captured with the payment."""
    payment_id = await paid(gateway, payee, capture="manual")
    query = Query({"payment_id": payment_id}, limit=10)
    (hold,) = await gateway.harness.documents.find(HOLDS, "acme", query)
    assert (hold["account_id"], hold["status"], hold["amount"]) == (CLEARING, "active", 1050)
    await gateway.harness.call("POST", f"/v1/payments/{payment_id}/capture")
    await gateway.run()
    (hold,) = await gateway.harness.documents.find(HOLDS, "acme", query)
    assert hold["status"] == "captured"


async def test_a_refund_of_another_amount_is_logged(
    gateway: Gateway, payee: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When the gateway returns another amount than was ordered, the ledger has what was ordered, and it is logged."""
    payment_id = await paid(gateway, payee)
    await gateway.fault("wrong_amount", action="refund")
    found = await refund(gateway, payment_id, **brl(300))
    assert found["status"] == "settled"
    stored = await gateway.harness.documents.get(CARD_REFUNDS, "acme", found["id"])
    assert stored is not None
    assert stored["amount_moved"] == 301
    assert "the gateway returned 301" in caplog.text


async def test_concurrent_deliveries_make_one_payment(gateway: Gateway, payee: str) -> None:
    """Every event delivered three times at the same time, in any order, moves the amount once."""
    made = await charge(gateway.harness, payee)
    await gateway.run(times=3, shuffled=True, together=True)
    assert (await status(gateway, made["id"]), await moved(gateway, payee)) == ("settled", 1050)
    assert gateway.commands("/captures") >= 1
    assert len((await at_gateway(gateway, made["id"])).refunds) == 0
