"""Provider callbacks: authenticated, deduplicated, and no money lost or given to the wrong account."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import orjson
import pytest

from events.charges import ChargePaid
from shared.adapters.pix import callback_signature as provider_signature
from shared.core.clock import format_time
from shared.ports.documents import PLATFORM
from shared.ports.rail import callback_secret_name
from shared.records.charges import RECEIPTS
from tests.functions.providers.rail import (
    END_TO_END,
    OTHER_END_TO_END,
    SECRET,
    NotingRail,
    callback,
    deposit,
    report,
    with_rail,
)
from tests.harness import Harness


@pytest.fixture
async def rail(harness: Harness) -> NotingRail:
    """The rail of the harness."""
    return await with_rail(harness)


async def charged(harness: Harness, rail: NotingRail, value: int = 1050) -> tuple[str, str]:
    """An account and the txid of a charge for it."""
    account = await harness.account()
    await deposit(harness, account["id"], value)
    await harness.run_events()
    return account["id"], rail.asked[-1][0]


async def posted(harness: Harness, account_id: str) -> int:
    """What is on the account once everything has run."""
    await harness.run_events(times=2, shuffled=True)
    return (await harness.balance(account_id))[0]


async def test_a_report_sent_twice_counts_once(harness: Harness, rail: NotingRail) -> None:
    """It is known by its end-to-end id, in the same call or in another."""
    account_id, txid = await charged(harness, rail)
    for reports in ([report(txid)], [report(txid), report(txid)]):
        assert (await callback(harness, *reports)).status == 200
    assert len(harness.events_of(ChargePaid)) == 1
    assert await posted(harness, account_id) == 1050


async def test_the_same_report_many_times_at_once_counts_once(crowded: Harness) -> None:
    """Callbacks that race each other have one effect, and each is answered 200."""
    rail = await with_rail(crowded)
    account_id, txid = await charged(crowded, rail)
    answers = await asyncio.gather(*(callback(crowded, report(txid)) for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert len(crowded.events_of(ChargePaid)) == 1
    assert await posted(crowded, account_id) == 1050


async def test_one_call_may_report_for_several_tenants(harness: Harness, rail: NotingRail) -> None:
    """Each payment goes to its own charge's tenant."""
    account_id, txid = await charged(harness, rail)
    await harness.tenant("other")
    theirs = await harness.account(tenant="other")
    body = {"account_id": theirs["id"], "amount": {"value": 70, "currency": "BRL"}, "method": "pix"}
    assert (await harness.call("POST", "/v1/deposits", body, tenant="other")).status == 201
    await harness.run_events()
    other_txid = rail.asked[-1][0]
    answer = await callback(harness, report(txid), report(other_txid, 70, OTHER_END_TO_END))
    assert answer.json == {"received": 2}
    assert await posted(harness, account_id) == 1050
    assert (await harness.balance(theirs["id"], tenant="other"))[0] == 70


async def test_a_wrong_amount_is_kept_for_review_and_not_posted(harness: Harness, rail: NotingRail) -> None:
    """It is answered 200; the deposit waits on, and the right amount settles it after all."""
    account_id, txid = await charged(harness, rail)
    assert (await callback(harness, report(txid, 1051))).status == 200
    assert await posted(harness, account_id) == 0
    receipt = await harness.documents.get(RECEIPTS, "acme", f"pix:{END_TO_END}")
    assert receipt is not None
    assert (receipt["status"], receipt["reason"], receipt["amount"]) == ("unmatched", "wrong_amount", 1051)
    assert (await callback(harness, report(txid, 1050, OTHER_END_TO_END))).status == 200
    assert await posted(harness, account_id) == 1050


async def test_a_second_payment_of_a_paid_charge_is_kept_for_review(harness: Harness, rail: NotingRail) -> None:
    """Somebody paid twice: the account gets what was asked for, and the rest is not lost."""
    account_id, txid = await charged(harness, rail)
    await callback(harness, report(txid))
    await callback(harness, report(txid, 1050, OTHER_END_TO_END))
    assert await posted(harness, account_id) == 1050
    receipt = await harness.documents.get(RECEIPTS, "acme", f"pix:{OTHER_END_TO_END}")
    assert receipt is not None
    assert (receipt["status"], receipt["reason"]) == ("unmatched", "paid_twice")


@pytest.mark.parametrize("txid", ["0" * 32, None])
async def test_money_for_an_unknown_charge_is_kept_under_the_platform(
    harness: Harness, rail: NotingRail, txid: str | None
) -> None:
    """It is answered 200 and stored with all that the bank said."""
    del rail
    for _ in range(2):
        answer = await callback(harness, report(txid, infoPagador="for you"))
        assert (answer.status, answer.json) == (200, {"received": 1})
    receipt = await harness.documents.get(RECEIPTS, PLATFORM, f"pix:{END_TO_END}")
    assert receipt is not None
    assert (receipt["status"], receipt["reason"]) == ("unmatched", "unknown_charge")
    assert receipt["report"]["infoPagador"] == "for you"
    assert harness.events_of(ChargePaid) == []


async def test_a_forged_callback_is_refused_and_leaves_nothing(harness: Harness, rail: NotingRail) -> None:
    """Another secret, a changed body, no signature, another form: 401, and no money moves."""
    account_id, txid = await charged(harness, rail)
    body = orjson.dumps({"pix": [report(txid)]})
    good = provider_signature.sign(SECRET, body, harness.clock.now())[provider_signature.SIGNATURE_HEADER]
    attempts = [
        (await callback(harness, report(txid), secret=b"guessed"), "invalid_signature"),
        (await callback(harness, body=body + b" ", headers={"x-provider-signature": good}), "invalid_signature"),
        (await callback(harness, body=body, headers={"x-provider-signature": ""}), "missing_signature"),
        (await callback(harness, body=body, headers={"x-provider-timestamp": ""}), "missing_signature"),
        (await callback(harness, body=body, headers={"x-provider-signature": good[3:]}), "invalid_signature"),
    ]
    for answer, code in attempts:
        assert (answer.status, answer.code) == (401, code)
    assert await posted(harness, account_id) == 0


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_a_callback_signed_at_another_time_is_refused(harness: Harness, rail: NotingRail, minutes: int) -> None:
    """A report that was overheard is of no use later, nor is one from the future."""
    _, txid = await charged(harness, rail)
    body = orjson.dumps({"pix": [report(txid)]})
    signed = provider_signature.sign(SECRET, body, harness.clock.now() + timedelta(minutes=minutes))
    answer = await callback(harness, body=body, headers=signed)
    assert (answer.status, answer.code) == (401, "timestamp_out_of_window")


async def test_the_signature_covers_the_timestamp(harness: Harness, rail: NotingRail) -> None:
    """An old callback does not become young by another timestamp."""
    _, txid = await charged(harness, rail)
    body = orjson.dumps({"pix": [report(txid)]})
    old = provider_signature.sign(SECRET, body, harness.clock.now() - timedelta(hours=1))
    now = format_time(harness.clock.now())
    answer = await callback(harness, body=body, headers={**old, "x-provider-timestamp": now})
    assert (answer.status, answer.code) == (401, "invalid_signature")


async def test_a_callback_without_the_secret_is_to_be_sent_again(harness: Harness) -> None:
    """While the provider's secret is missing a callback is answered 503, and the provider repeats it later."""
    answer = await callback(harness, report("0" * 32))
    assert (answer.status, answer.code) == (503, "dependency_unavailable")
    await harness.runtime.secrets.put(callback_secret_name("pix"), SECRET)
    assert (await callback(harness, report("0" * 32))).status == 200


async def test_an_unknown_provider_is_not_found(harness: Harness, rail: NotingRail) -> None:
    """There is no such path."""
    del rail
    answer = await callback(harness, report("0" * 32), path="/v1/providers/nobody/callbacks")
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"not json", 400, "malformed_request"),
        (b'{"pix": [], "pix": []}', 400, "malformed_request"),
        (b"[]", 422, "validation_failed"),
        (b"{}", 422, "validation_failed"),
        (orjson.dumps({"pix": [{"txid": "0" * 32}]}), 422, "validation_failed"),
        (orjson.dumps({"pix": [report("0" * 32, end_to_end_id="short")]}), 422, "validation_failed"),
        (orjson.dumps({"pix": [report("0" * 32, valor="0.00")]}), 422, "validation_failed"),
        (orjson.dumps({"pix": [report("0" * 32, valor="1,00")]}), 422, "validation_failed"),
        (orjson.dumps({"pix": [report("0" * 32, valor=1.0)]}), 422, "validation_failed"),
    ],
)
async def test_a_signed_report_that_makes_no_sense_is_refused_whole(
    harness: Harness, rail: NotingRail, body: bytes, status: int, code: str
) -> None:
    """The provider hears of it, and nothing of the call is taken."""
    del rail
    answer = await callback(harness, body=body)
    assert (answer.status, answer.code) == (status, code)


async def test_a_callback_needs_no_token_and_no_idempotency_key(harness: Harness, rail: NotingRail) -> None:
    """The provider's own signature and ids stand in their place; a call without reports is taken too."""
    del rail
    answer = await callback(harness)
    assert (answer.status, answer.json) == (200, {"received": 0})
