"""`Prefer: wait`: an answer that comes when the platform has nothing left to do by itself."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import pytest

from shared.adapters.pix.rail import PixHttpRail
from shared.ports.documents import Unavailable
from tests.contract.calling import House, Pair, brl, unused_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAY = "/v1/payments"


def preferring(value: str) -> dict[str, Any]:
    return {"also": (("prefer", value),)}


async def test_an_automatic_payment_is_waited_for_to_its_end(pair: Pair) -> None:
    """It answers settled, as a 201, and says which preference it followed."""
    answer = await pair.client.post(PAY, pair.payment(), **preferring("wait=10"))
    assert (answer.status, answer.document["status"]) == (201, "settled")
    assert answer.header("preference-applied") == "wait=10"


async def test_a_manual_payment_is_waited_for_to_its_authorization(pair: Pair) -> None:
    """Then it is the caller's turn; its capture is waited for to the end."""
    payment = await pair.client.made(PAY, pair.payment(capture="manual"), **preferring("wait=10"))
    assert payment["status"] == "authorized"
    captured = await pair.client.made(f"{PAY}/{payment['id']}/capture", **preferring("wait=10"))
    assert (captured["status"], captured["amount_captured"]) == ("settled", brl(100))


async def test_what_cannot_be_paid_is_waited_for_as_well(pair: Pair) -> None:
    """Declined is an end."""
    payment = await pair.client.made(PAY, pair.payment(amount=brl(10**12)), **preferring("wait=10"))
    assert payment["status"] == "declined"


async def test_refunds_and_deposits_are_waited_for(pair: Pair) -> None:
    """Both answer settled."""
    payment = await pair.paid()
    refund = await pair.client.made(f"{PAY}/{payment['id']}/refunds", **preferring("wait=10"))
    deposit = {"account_id": pair.payer, "amount": brl(300), "method": "pix"}
    assert refund["status"] == "settled"
    assert (await pair.client.made("/v1/deposits", deposit, **preferring("wait=10")))["status"] == "settled"


async def test_when_it_is_answered_everything_that_followed_is_there(pair: Pair) -> None:
    """Balance and statement have it: nothing is left to do."""
    before = await pair.client.read(f"/v1/accounts/{pair.payee}/balance")
    payment = await pair.paid()
    after = await pair.client.read(f"/v1/accounts/{pair.payee}/balance")
    assert after["posted"] == before["posted"] + 100
    lines = await pair.client.read(f"/v1/accounts/{pair.payee}/statement?limit=100&from={payment['created_at']}")
    assert [line["payment_id"] for line in lines["data"]] == [payment["id"]]


NO_WISH = ["wait=0", "wait", "wait=", "wait=-1", "wait=soon", "wait=1.5", "wait=\xb2", "wait=" + "9" * 5000, "foo"]


@pytest.mark.parametrize("value", NO_WISH)
async def test_without_a_number_of_seconds_the_answer_comes_at_once(pair: Pair, value: str) -> None:
    """What is no wish to wait is passed over (RFC 7240 §2), and the payment is answered as it was made."""
    answer = await pair.client.post(PAY, pair.payment(), **preferring(value))
    assert (answer.status, answer.document["status"]) == (201, "created")
    assert answer.header("preference-applied") is None


@pytest.mark.parametrize("value", ["respond-async, wait=10", "Wait=10", "wait = 10", "wait=10; foo", "wait=10, wait=0"])
async def test_a_preference_may_stand_among_others(pair: Pair, value: str) -> None:
    """Names are case-insensitive, several preferences may share the header, and the first of a name counts."""
    answer = await pair.client.post(PAY, pair.payment(), **preferring(value))
    assert (answer.status, answer.document["status"]) == (201, "settled")


async def test_more_than_ten_seconds_are_ten(pair: Pair) -> None:
    """A longer wish is cut to what the platform grants, and the answer says so."""
    answer = await pair.client.post(PAY, pair.payment(), **preferring("wait=3600"))
    assert (answer.document["status"], answer.header("preference-applied")) == ("settled", "wait=10")


class SilentRail(PixHttpRail):
    """A PIX rail whose provider cannot be reached."""

    async def request_charge(self, *_arguments: object) -> None:
        raise Unavailable("the rail does not answer")


async def test_when_the_time_is_over_the_answer_is_what_there_is(
    house: House, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deposit whose provider cannot be reached is answered as created after the seconds that were asked for."""
    monkeypatch.setitem(house.platform.runtime.rails, "pix", SilentRail(""))
    body = {"account_id": pair.payer, "amount": brl(300), "method": "pix"}
    started = perf_counter()
    answer = await pair.client.post("/v1/deposits", body, **preferring("wait=1"))
    assert (answer.status, answer.document["status"]) == (201, "created")
    assert answer.header("preference-applied") == "wait=1"
    assert perf_counter() - started >= 0.9


async def test_the_answer_that_was_waited_for_is_the_one_that_comes_again(pair: Pair) -> None:
    """The same key, waiting or not, gives the settled answer once more, at once."""
    key = unused_key()
    first = await pair.client.post(PAY, pair.payment(), key=key, **preferring("wait=10"))
    again = await pair.client.post(PAY, pair.payment(), key=key)
    assert (again.body, again.header("idempotent-replayed")) == (first.body, "true")


async def test_many_may_wait_at_once(pair: Pair) -> None:
    """Each is answered when its own payment is through."""
    answers = await asyncio.gather(
        *(pair.client.post(PAY, pair.payment(amount=brl(1)), **preferring("wait=10")) for _ in range(30))
    )
    assert {answer.document["status"] for answer in answers} == {"settled"}


async def test_an_action_without_progress_passes_it_over(pair: Pair) -> None:
    """Registering a user has nothing to wait for."""
    payment = await pair.paid(capture="manual")
    answer = await pair.client.post(f"{PAY}/{payment['id']}/cancel", **preferring("wait=10"))
    assert (answer.status, answer.document["status"]) == (200, "canceled")
