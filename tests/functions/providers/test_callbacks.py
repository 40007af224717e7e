"""Provider callbacks are authenticated and processed once, and no money is lost or credited to the wrong account."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import orjson
import pytest

from events.charges import ChargePaid
from shared.adapters.providers import callback_signature as provider_signature
from shared.core.clock import format_time
from shared.ports.documents import PLATFORM, Query
from shared.ports.rail import callback_secret_name
from shared.records.charges import RECEIPTS
from shared.records.deposits import DEPOSITS
from tests.functions.providers.rail import (
    END_TO_END,
    OTHER_END_TO_END,
    PATH,
    SECRET,
    RecordingRail,
    callback,
    deposit,
    report,
    with_rail,
)
from tests.harness import Harness


@pytest.fixture
async def rail(harness: Harness) -> RecordingRail:
    """The rail of the harness."""
    return await with_rail(harness)


async def charged(harness: Harness, rail: RecordingRail, value: int = 1050) -> tuple[str, str]:
    """Create a deposit and return its account and the txid of its charge."""
    account = await harness.account()
    await deposit(harness, account["id"], value)
    await harness.run_events()
    return account["id"], rail.requested[-1][0]


async def posted(harness: Harness, account_id: str) -> int:
    """Deliver all events and return the posted balance of the account."""
    await harness.run_events(times=2, shuffled=True)
    return (await harness.balance(account_id))[0]


async def test_a_repeated_report_counts_once(harness: Harness, rail: RecordingRail) -> None:
    """A payment that is reported twice, in one callback or in two, is credited once by its end-to-end id."""
    account_id, txid = await charged(harness, rail)
    for reports in ([report(txid)], [report(txid), report(txid)]):
        assert (await callback(harness, *reports)).status == 200
    assert len(harness.events_of(ChargePaid)) == 1
    assert await posted(harness, account_id) == 1050


async def test_the_same_report_many_times_at_once_counts_once(crowded: Harness) -> None:
    """Concurrent callbacks with one report credit it once, and each is answered with 200."""
    rail = await with_rail(crowded)
    account_id, txid = await charged(crowded, rail)
    answers = await asyncio.gather(*(callback(crowded, report(txid)) for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert len(crowded.events_of(ChargePaid)) == 1
    assert await posted(crowded, account_id) == 1050


async def test_one_call_may_report_for_several_tenants(harness: Harness, rail: RecordingRail) -> None:
    """Each payment of a callback is credited to the tenant of its charge."""
    account_id, txid = await charged(harness, rail)
    await harness.tenant("other")
    theirs = await harness.account(tenant="other")
    body = {"account_id": theirs["id"], "amount": {"value": 70, "currency": "BRL"}, "method": "pix"}
    assert (await harness.call("POST", "/v1/deposits", body, tenant="other")).status == 201
    await harness.run_events()
    other_txid = rail.requested[-1][0]
    answer = await callback(harness, report(txid), report(other_txid, 70, OTHER_END_TO_END))
    assert answer.json == {"received": 2}
    assert await posted(harness, account_id) == 1050
    assert (await harness.balance(theirs["id"], tenant="other"))[0] == 70


async def test_a_wrong_amount_is_stored_and_not_posted(harness: Harness, rail: RecordingRail) -> None:
    """A payment of a wrong amount is answered with 200 and stored as unmatched; a later payment of the right amount
    settles the deposit."""
    account_id, txid = await charged(harness, rail)
    assert (await callback(harness, report(txid, 1051))).status == 200
    assert await posted(harness, account_id) == 0
    receipt = await harness.documents.get(RECEIPTS, "acme", f"pix:{END_TO_END}")
    assert receipt is not None
    assert (receipt["status"], receipt["reason"], receipt["amount"]) == ("unmatched", "wrong_amount", 1051)
    assert (await callback(harness, report(txid, 1050, OTHER_END_TO_END))).status == 200
    assert await posted(harness, account_id) == 1050


async def test_a_second_payment_of_a_charge_is_stored(harness: Harness, rail: RecordingRail) -> None:
    """A second payment of a charge is stored as unmatched, and the account is credited once."""
    account_id, txid = await charged(harness, rail)
    await callback(harness, report(txid))
    await callback(harness, report(txid, 1050, OTHER_END_TO_END))
    assert await posted(harness, account_id) == 1050
    receipt = await harness.documents.get(RECEIPTS, "acme", f"pix:{OTHER_END_TO_END}")
    assert receipt is not None
    assert (receipt["status"], receipt["reason"]) == ("unmatched", "paid_twice")


async def test_a_payment_of_a_failed_deposit_is_stored(harness: Harness, rail: RecordingRail) -> None:
    """A payment of a deposit that has failed is stored as unmatched, and nothing is credited."""
    account_id, txid = await charged(harness, rail)
    [made] = await harness.documents.find(DEPOSITS, "acme", Query())
    await harness.alter(DEPOSITS, made["id"], status="failed", due_at=None)
    assert (await callback(harness, report(txid))).status == 200
    assert await posted(harness, account_id) == 0
    receipt = await harness.documents.get(RECEIPTS, "acme", f"pix:{END_TO_END}")
    assert receipt is not None
    assert (receipt["status"], receipt["reason"]) == ("unmatched", "deposit_over")


@pytest.mark.parametrize("txid", ["0" * 32, None])
async def test_a_payment_of_an_unknown_charge_is_stored_for_the_platform(
    harness: Harness, rail: RecordingRail, txid: str | None
) -> None:
    """A payment of an unknown charge is answered with 200 and stored with the provider's whole report."""
    del rail
    for _ in range(2):
        answer = await callback(harness, report(txid, infoPagador="for you"))
        assert (answer.status, answer.json) == (200, {"received": 1})
    receipt = await harness.documents.get(RECEIPTS, PLATFORM, f"pix:{END_TO_END}")
    assert receipt is not None
    assert (receipt["status"], receipt["reason"]) == ("unmatched", "unknown_charge")
    assert receipt["report"]["infoPagador"] == "for you"
    assert harness.events_of(ChargePaid) == []


async def test_a_forged_callback_is_refused(harness: Harness, rail: RecordingRail) -> None:
    """A callback with another secret, a changed body or no valid signature is answered with 401 and changes nothing."""
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
async def test_a_callback_signed_at_another_time_is_refused(
    harness: Harness, rail: RecordingRail, minutes: int
) -> None:
    """A callback whose timestamp is too old or in the future is refused."""
    _, txid = await charged(harness, rail)
    body = orjson.dumps({"pix": [report(txid)]})
    signed = provider_signature.sign(SECRET, body, harness.clock.now() + timedelta(minutes=minutes))
    answer = await callback(harness, body=body, headers=signed)
    assert (answer.status, answer.code) == (401, "timestamp_out_of_window")


async def test_the_signature_covers_the_timestamp(harness: Harness, rail: RecordingRail) -> None:
    """An old callback with a new timestamp is refused, because the signature covers the timestamp."""
    _, txid = await charged(harness, rail)
    body = orjson.dumps({"pix": [report(txid)]})
    old = provider_signature.sign(SECRET, body, harness.clock.now() - timedelta(hours=1))
    now = format_time(harness.clock.now())
    answer = await callback(harness, body=body, headers={**old, "x-provider-timestamp": now})
    assert (answer.status, answer.code) == (401, "invalid_signature")


async def test_a_callback_without_a_configured_secret_is_503(harness: Harness) -> None:
    """While the provider's secret is missing, a callback is answered with 503, so that the provider repeats it."""
    answer = await callback(harness, report("0" * 32))
    assert (answer.status, answer.code) == (503, "dependency_unavailable")
    await harness.runtime.secrets.put(callback_secret_name("pix"), SECRET)
    assert (await callback(harness, report("0" * 32))).status == 200


async def test_a_pix_provider_adds_pix_to_the_path(harness: Harness, rail: RecordingRail) -> None:
    """A callback at the path that the API Pix prescribes is authenticated and processed like one at the webhook's own;
    a payment that is reported at both counts once."""
    account_id, txid = await charged(harness, rail)
    forged = await callback(harness, report(txid), secret=b"guessed", path=f"{PATH}/pix")
    assert (forged.status, forged.code) == (401, "invalid_signature")
    for path in (f"{PATH}/pix", PATH):
        assert (await callback(harness, report(txid), path=path)).json == {"received": 1}
    assert await posted(harness, account_id) == 1050


async def test_an_unknown_provider_is_not_found(harness: Harness, rail: RecordingRail) -> None:
    """A callback of an unknown provider is answered with 404."""
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
async def test_an_invalid_report_is_refused_as_a_whole(
    harness: Harness, rail: RecordingRail, body: bytes, status: int, code: str
) -> None:
    """A signed callback with an invalid report is refused, and none of its reports is processed."""
    del rail
    answer = await callback(harness, body=body)
    assert (answer.status, answer.code) == (status, code)


async def test_a_callback_needs_no_token_and_no_idempotency_key(harness: Harness, rail: RecordingRail) -> None:
    """A callback needs only the provider's signature; one without reports is accepted."""
    del rail
    answer = await callback(harness)
    assert (answer.status, answer.json) == (200, {"received": 0})
