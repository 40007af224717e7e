"""`Prefer: wait`: the response is sent when the platform has finished its work on the resource."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import pytest

from shared.adapters.pix.rail import PixHttpRail
from shared.ports.documents import Unavailable
from tests.contract.calling import Deployment, Pair, brl, unused_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAY = "/v1/payments"


def preferring(value: str) -> dict[str, Any]:
    return {"also": (("prefer", value),)}


async def test_waiting_for_an_automatic_payment_ends_when_it_settles(pair: Pair) -> None:
    """A payment with automatic capture is returned as settled, with 201 and Preference-Applied."""
    answer = await pair.client.post(PAY, pair.payment(), **preferring("wait=10"))
    assert (answer.status, answer.document["status"]) == (201, "settled")
    assert answer.header("preference-applied") == "wait=10"


async def test_waiting_for_a_manual_payment_ends_at_its_authorization(pair: Pair) -> None:
    """A payment with manual capture is returned as authorized, and its capture as settled."""
    payment = await pair.client.made(PAY, pair.payment(capture="manual"), **preferring("wait=10"))
    assert payment["status"] == "authorized"
    captured = await pair.client.made(f"{PAY}/{payment['id']}/capture", **preferring("wait=10"))
    assert (captured["status"], captured["amount_captured"]) == ("settled", brl(100))


async def test_waiting_for_a_payment_ends_when_it_is_declined(pair: Pair) -> None:
    """A payment that cannot be paid is returned as declined."""
    payment = await pair.client.made(PAY, pair.payment(amount=brl(10**12)), **preferring("wait=10"))
    assert payment["status"] == "declined"


async def test_refunds_and_deposits_can_be_waited_for(pair: Pair) -> None:
    """A refund and a deposit are returned as settled."""
    payment = await pair.paid()
    refund = await pair.client.made(f"{PAY}/{payment['id']}/refunds", **preferring("wait=10"))
    deposit = {"account_id": pair.payer, "amount": brl(300), "method": "pix"}
    assert refund["status"] == "settled"
    assert (await pair.client.made("/v1/deposits", deposit, **preferring("wait=10")))["status"] == "settled"


async def test_after_waiting_all_effects_are_visible(pair: Pair) -> None:
    """When the response is sent, balance and statement include the payment."""
    before = await pair.client.read(f"/v1/accounts/{pair.payee}/balance")
    payment = await pair.paid()
    after = await pair.client.read(f"/v1/accounts/{pair.payee}/balance")
    assert after["posted"] == before["posted"] + 100
    lines = await pair.client.read(f"/v1/accounts/{pair.payee}/statement?limit=100&from={payment['created_at']}")
    assert [line["payment_id"] for line in lines["data"]] == [payment["id"]]


NO_WISH = ["wait=0", "wait", "wait=", "wait=-1", "wait=soon", "wait=1.5", "wait=\xb2", 'wait="3"', "foo"]


@pytest.mark.parametrize("value", NO_WISH)
async def test_an_invalid_preference_is_ignored(pair: Pair, value: str) -> None:
    """A preference that is not a valid `wait` is ignored (RFC 7240 §2), and the payment is returned as created."""
    answer = await pair.client.post(PAY, pair.payment(), **preferring(value))
    assert (answer.status, answer.document["status"]) == (201, "created")
    assert answer.header("preference-applied") is None


@pytest.mark.parametrize("value", ["respond-async, wait=10", "Wait=10", "wait = 10", "wait=10; foo", "wait=10, wait=0"])
async def test_wait_may_be_one_of_several_preferences(pair: Pair, value: str) -> None:
    """Names are case-insensitive, several preferences may share the header, and the first of a name counts."""
    answer = await pair.client.post(PAY, pair.payment(), **preferring(value))
    assert (answer.status, answer.document["status"]) == (201, "settled")


@pytest.mark.parametrize("value", ["wait=3600", "wait=0010", "wait=" + "9" * 20, "wait=" + "9" * 5000])
async def test_the_wait_is_at_most_ten_seconds(pair: Pair, value: str) -> None:
    """A longer wait, with any number of digits, is reduced to ten seconds, and Preference-Applied shows that."""
    answer = await pair.client.post(PAY, pair.payment(), **preferring(value))
    assert (answer.document["status"], answer.header("preference-applied")) == ("settled", "wait=10")


class SilentRail(PixHttpRail):
    """A PIX rail whose provider cannot be reached."""

    async def request_charge(self, *_arguments: object) -> None:
        raise Unavailable("the rail does not answer")


async def test_after_the_time_the_present_resource_is_returned(
    deployment: Deployment, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deposit whose provider cannot be reached is returned as created after the requested seconds."""
    monkeypatch.setitem(deployment.platform.runtime.rails, "pix", SilentRail(""))
    body = {"account_id": pair.payer, "amount": brl(300), "method": "pix"}
    started = perf_counter()
    answer = await pair.client.post("/v1/deposits", body, **preferring("wait=1"))
    assert (answer.status, answer.document["status"]) == (201, "created")
    assert answer.header("preference-applied") == "wait=1"
    assert perf_counter() - started >= 0.9


async def test_a_repeated_request_gets_the_later_response(pair: Pair) -> None:
    """A repeated request with the key, with or without waiting, gets the settled response at once."""
    key = unused_key()
    first = await pair.client.post(PAY, pair.payment(), key=key, **preferring("wait=10"))
    again = await pair.client.post(PAY, pair.payment(), key=key)
    assert (again.body, again.header("idempotent-replayed")) == (first.body, "true")


async def test_many_requests_may_wait_at_once(pair: Pair) -> None:
    """Each of many waiting requests is answered when its own payment has ended."""
    answers = await asyncio.gather(
        *(pair.client.post(PAY, pair.payment(amount=brl(1)), **preferring("wait=10")) for _ in range(30))
    )
    assert {answer.document["status"] for answer in answers} == {"settled"}


async def test_an_operation_without_progress_ignores_the_preference(pair: Pair) -> None:
    """An operation without progress, such as a registration, ignores the preference."""
    payment = await pair.paid(capture="manual")
    answer = await pair.client.post(f"{PAY}/{payment['id']}/cancel", **preferring("wait=10"))
    assert (answer.status, answer.document["status"]) == (200, "canceled")
