"""The kill switch of a payment method: it refuses what is new, and finishes what has begun."""

from __future__ import annotations

from typing import Any

from shared.adapters.memory.stores import MemoryFlags
from shared.core.flags import STOP_METHOD
from tests.functions.payments.story import story
from tests.functions.providers.rail import callback, deposit, report, with_rail
from tests.harness import Answer, Harness

INTERNAL, PIX = STOP_METHOD["internal"], STOP_METHOD["pix"]


def stop(harness: Harness, *tenants: str, method: str = "internal") -> None:
    """Stop a method for the tenants; for all when none is named."""
    flags = harness.runtime.flags
    assert isinstance(flags, MemoryFlags)
    flags.values[STOP_METHOD[method]] = tenants or True


def payment(payer: str, payee: str) -> dict[str, Any]:
    amount = {"value": 100, "currency": "BRL"}
    return {"amount": amount, "method": "internal", "payer_account_id": payer, "payee_account_id": payee}


def assert_stopped(answer: Answer, method: str) -> None:
    assert (answer.status, answer.code) == (503, "dependency_unavailable")
    assert answer.headers["retry-after"] == "60"
    assert answer.json["detail"].startswith(f"The payment method `{method}` is stopped at the moment.")


async def test_a_stopped_method_refuses_new_payments(harness: Harness) -> None:
    """While a method is stopped, a new payment by it is answered 503 with Retry-After, and nothing is stored; after it
    is started again, the same request with the same key is carried out."""
    begun = await story(harness)
    body = payment(begun.payer, begun.payee)
    stop(harness)
    events = len(harness.events)
    for _ in range(2):
        assert_stopped(await harness.call("POST", "/v1/payments", body, key="k"), "internal")
    assert len(harness.events) == events
    assert (await harness.call("GET", "/v1/payments")).json["data"] == []
    harness.runtime.flags = MemoryFlags()
    answer = await harness.call("POST", "/v1/payments", body, key="k")
    assert answer.status == 201
    assert "idempotent-replayed" not in answer.headers


async def test_a_method_is_stopped_for_one_tenant(harness: Harness) -> None:
    """A method that is stopped for one tenant accepts the payments of another."""
    begun = await story(harness)
    stop(harness, "another", "globex")
    assert (await harness.call("POST", "/v1/payments", payment(begun.payer, begun.payee))).status == 201
    stop(harness, "globex", "acme")
    assert_stopped(await harness.call("POST", "/v1/payments", payment(begun.payer, begun.payee)), "internal")


async def test_another_method_goes_on(harness: Harness) -> None:
    """Stopping PIX refuses deposits and charges by PIX and leaves internal payments."""
    await with_rail(harness)
    begun = await story(harness)
    stop(harness, method="pix")
    body = {"account_id": begun.payer, "amount": {"value": 1, "currency": "BRL"}, "method": "pix"}
    assert_stopped(await harness.call("POST", "/v1/deposits", body), "pix")
    del body["method"]
    assert_stopped(await harness.call("POST", "/v1/pix/charges", body), "pix")
    assert await begun.status(await begun.paid(100)) == "settled"


async def test_payments_that_have_begun_are_finished(harness: Harness) -> None:
    """A payment that was accepted before the stop is held, authorized, captured, settled and refunded, and its request
    is answered again."""
    begun = await story(harness)
    first = await harness.call("POST", "/v1/payments", payment(begun.payer, begun.payee), key="k")
    captured, cancelled = await begun.authorized(200), await begun.authorized(300)
    stop(harness)
    again = await harness.call("POST", "/v1/payments", payment(begun.payer, begun.payee), key="k")
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    await harness.run_events()
    assert (await begun.act(captured, "capture")).status == 200
    assert (await begun.act(cancelled, "cancel")).status == 200
    await harness.run_events()
    assert (await begun.refund(captured)).status == 201
    await harness.run_events()
    statuses = [await begun.status(each) for each in (first.json["id"], captured, cancelled)]
    assert statuses == ["settled", "settled", "canceled"]
    assert (await harness.payment(captured))["amount_refunded"]["value"] == 200
    assert await begun.balances() == ((9900, 0), (100, 0))


async def test_deposits_that_have_begun_are_finished(harness: Harness) -> None:
    """A deposit that was accepted before the stop is charged, and its payment is credited."""
    rail = await with_rail(harness)
    account = await harness.account()
    made = await deposit(harness, account["id"])
    stop(harness, method="pix")
    await harness.run_events(times=2)
    ((txid, *_),) = set(rail.requested)
    assert (await callback(harness, report(txid))).json == {"received": 1}
    await harness.run_events(times=2)
    assert (await harness.call("GET", f"/v1/deposits/{made['id']}")).json["status"] == "settled"
    assert await harness.balance(account["id"]) == (1050, 0, 1050)
