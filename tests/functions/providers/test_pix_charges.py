"""PIX charges: a payment of exactly the charge is credited once; every other one goes to the suspense account."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.charges import ChargeCreated, ChargeExpired, ChargePaid, PaymentUnmatched
from events.failure import Failure
from events.ledger import TransferRefused
from events.sweeps import Tick
from functions.providers._pix_charge import PIX_CHARGE_CHANGES
from shared.adapters.pix.br_code import parse_br_code
from shared.core.clock import format_time
from shared.core.ids import derived_id
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.rail import RailRefused
from shared.records.accounts import ACCOUNTS
from shared.records.charges import CHARGES, RECEIPTS
from shared.records.deposits import DEPOSITS
from shared.records.pix_charges import PIX_CHARGES
from tests.functions.providers.charges import (
    CHARGES_PATH,
    SUSPENSE,
    TXID,
    asked,
    charge,
    reported,
    shown,
    suspended,
    sweep,
)
from tests.functions.providers.rail import (
    END_TO_END,
    OTHER_END_TO_END,
    RecordingRail,
    callback,
    report,
    with_rail,
)
from tests.harness import Answer, Harness

ZBARIMG = shutil.which("zbarimg") or ""


@pytest.fixture
async def rail(harness: Harness) -> RecordingRail:
    """The rail of the harness."""
    return await with_rail(harness)


async def test_a_charge_is_created_at_the_provider_and_paid_once(harness: Harness, rail: RecordingRail) -> None:
    """The answer has the provider's code; after the report of its payment the charge is paid, and the account credited
    over the clearing account, once, however often the payment is reported."""
    account = await harness.account()
    made = await charge(harness, account["id"], description="Order 1001")
    assert (made["status"], made["end_to_end_id"], made["expires_in"]) == ("active", None, None)
    assert (made["amount"], made["description"]) == ({"value": 1050, "currency": "BRL"}, "Order 1001")
    assert parse_br_code(made["br_code"]).location == made["location"]
    assert made["expires_at"] == format_time(harness.clock.now() + timedelta(days=1))
    (order,) = rail.orders
    assert (order.amount, order.expires_in, order.description) == (1050, 86_400, "Order 1001")
    assert order.callback_url == "http://127.0.0.1:8080/v1/providers/pix/callbacks"
    assert await shown(harness, made["txid"]) == made
    for _ in range(2):
        await reported(harness, report(order.reference), report(order.reference))
    paid = await shown(harness, made["txid"])
    assert paid == made | {"status": "paid", "end_to_end_id": END_TO_END}
    assert await harness.balance(account["id"]) == (1050, 0, 1050)
    assert await harness.runtime.ledger.balance("acme", "sys_clearing_pix_brl") == -1050
    (created,), (fact,) = harness.events_of(ChargeCreated), harness.events_of(ChargePaid)
    assert (created.charge_id, created.expires_at) == (made["txid"], made["expires_at"])
    assert (fact.charge_id, fact.end_to_end_id, fact.amount.value) == (made["txid"], END_TO_END, 1050)
    deposit = (await harness.call("GET", f"/v1/deposits/{fact.deposit_id}")).json
    assert (deposit["status"], deposit["account_id"]) == ("settled", account["id"])
    assert not harness.undelivered


async def test_a_repeated_request_makes_one_charge(harness: Harness, rail: RecordingRail) -> None:
    """A repeated request has the first answer, and the provider is asked once."""
    account = await harness.account()
    answers = [await asked(harness, account["id"], key="once") for _ in range(2)]
    assert answers[0].body == answers[1].body
    assert answers[0].headers["location"] == f"{CHARGES_PATH}/{answers[0].json['txid']}"
    assert len(rail.orders) == 1


async def test_a_tenant_chooses_the_txid(harness: Harness, rail: RecordingRail) -> None:
    """A charge has the txid of the request, which is refused with 409 a second time; the provider has another id."""
    account = await harness.account()
    made = await charge(harness, account["id"], txid=TXID, expires_in=60)
    assert (made["txid"], made["expires_in"]) == (TXID, 60)
    answer = await asked(harness, account["id"], txid=TXID)
    assert (answer.status, answer.code) == (409, "already_exists")
    assert answer.json["errors"][0]["pointer"] == "/txid"
    assert rail.orders[0].reference != TXID
    await reported(harness, report(rail.orders[0].reference))
    assert (await shown(harness, TXID))["status"] == "paid"


async def test_two_tenants_may_use_the_same_txid(harness: Harness, rail: RecordingRail) -> None:
    """Two tenants use one txid, each payment is credited to its own, and neither sees the other's charge."""
    mine = await harness.account()
    await harness.tenant("other")
    theirs = await harness.account(tenant="other")
    await charge(harness, mine["id"], txid=TXID)
    assert (await harness.call("GET", f"{CHARGES_PATH}/{TXID}", tenant="other")).code == "not_found"
    assert (await asked(harness, theirs["id"], 70, txid=TXID, tenant="other")).status == 201
    first, second = (order.reference for order in rail.orders)
    assert first != second
    await reported(harness, report(second, 70))
    assert (await shown(harness, TXID))["status"] == "active"
    assert (await shown(harness, TXID, tenant="other"))["status"] == "paid"
    assert (await harness.balance(theirs["id"], tenant="other"))[0] == 70
    assert (await harness.balance(mine["id"]))[0] == 0


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"account_id": "acc_unknown"}, "unknown_reference", "/account_id"),
        ({"amount": {"value": 100, "currency": "USD"}}, "currency_mismatch", "/amount/currency"),
        ({"amount": {"value": 10**12, "currency": "BRL"}}, "validation_failed", "/amount/value"),
        ({"amount": {"value": 0, "currency": "BRL"}}, "validation_failed", "/amount/value"),
        ({"txid": "a" * 25}, "validation_failed", "/txid"),
        ({"txid": "a" * 36}, "validation_failed", "/txid"),
        ({"txid": "a" * 26 + "-"}, "validation_failed", "/txid"),
        ({"txid": "a" * 26 + "\n"}, "validation_failed", "/txid"),
        ({"expires_in": 0}, "validation_failed", "/expires_in"),
        ({"expires_in": 10**9}, "validation_failed", "/expires_in"),
        ({"description": "d" * 501}, "validation_failed", "/description"),
        ({"note": "x"}, "validation_failed", "/note"),
    ],
)
async def test_an_invalid_charge_is_refused(
    harness: Harness, rail: RecordingRail, change: dict[str, Any], code: str, pointer: str
) -> None:
    """An invalid charge is answered with 422, its code and a pointer to the field, and the provider is not asked."""
    account = await harness.account()
    body = {"account_id": account["id"], "amount": {"value": 1, "currency": "BRL"}, **change}
    answer = await harness.call("POST", CHARGES_PATH, body)
    assert (answer.status, answer.code) == (422, code)
    assert answer.json["errors"][0]["pointer"] == pointer
    assert rail.orders == []


async def test_accounts_that_cannot_receive_are_refused(harness: Harness, rail: RecordingRail) -> None:
    """A charge for another tenant's account, a closed one, or one in another currency is refused."""
    del rail
    account, dollars = await harness.account(), await harness.account(currency="USD")
    assert (await asked(harness, dollars["id"])).code == "currency_mismatch"
    await harness.alter(ACCOUNTS, account["id"], status="closed")
    assert (await asked(harness, account["id"])).code == "account_closed"
    await harness.tenant("other")
    theirs = await harness.account(tenant="other")
    assert (await asked(harness, theirs["id"])).code == "unknown_reference"


async def test_a_provider_that_does_not_answer_makes_no_charge(harness: Harness, rail: RecordingRail) -> None:
    """Without the provider's answer the request is answered with 503, and its repetition asks for the same charge."""
    account = await harness.account()
    rail.outcome = Unavailable("timeout")
    answer = await asked(harness, account["id"], txid=TXID, key="again")
    assert (answer.status, answer.code) == (503, "dependency_unavailable")
    assert (await harness.call("GET", f"{CHARGES_PATH}/{TXID}")).status == 404
    rail.outcome = None
    assert (await asked(harness, account["id"], txid=TXID, key="again")).status == 201
    assert len({order.reference for order in rail.orders}) == 1


@pytest.mark.parametrize(("code", "status"), [("txid", 409), ("CobOperacaoInvalida", 422)])
async def test_a_charge_that_the_provider_refuses(
    harness: Harness, rail: RecordingRail, code: str, status: int
) -> None:
    """A charge that the provider refuses is refused, with 409 when it has another charge of the txid."""
    account = await harness.account()
    rail.outcome = RailRefused(code, "no")
    assert (await asked(harness, account["id"])).status == status


async def test_a_payment_before_the_charge_is_stored_is_reported_again(harness: Harness, rail: RecordingRail) -> None:
    """A callback that arrives before the charge is committed is answered with 503, so that the provider repeats it; ten
    minutes later the charge will never be stored, and the money is suspended."""
    account = await harness.account()
    rail.outcome = Unavailable("the answer is lost")
    await asked(harness, account["id"], txid=TXID)
    paid = report(rail.orders[0].reference)
    assert (await callback(harness, paid)).status == 503
    rail.outcome = None
    await charge(harness, account["id"], txid=TXID)
    await reported(harness, paid)
    assert (await shown(harness, TXID))["status"] == "paid"
    rail.outcome = Unavailable("the answer is lost")
    await asked(harness, account["id"], txid=TXID[::-1])
    harness.clock.advance(timedelta(minutes=10))
    await reported(harness, report(rail.orders[-1].reference, 1050, OTHER_END_TO_END))
    assert await suspended(harness) == 1050


@pytest.mark.parametrize("value", [1049, 1051])
async def test_a_wrong_amount_goes_to_the_suspense_account(harness: Harness, rail: RecordingRail, value: int) -> None:
    """A payment of a wrong amount leaves the charge active and is in the suspense account once; then the right amount
    pays the charge."""
    account = await harness.account()
    made = await charge(harness, account["id"])
    reference = rail.orders[0].reference
    for _ in range(2):
        await reported(harness, report(reference, value))
    assert (await shown(harness, made["txid"])) == made
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (value, 0)
    (fact,) = harness.events_of(PaymentUnmatched)
    assert (fact.charge_id, fact.reason, fact.amount.value) == (made["txid"], "wrong_amount", value)
    assert harness.events_of(ChargePaid) == []
    held = (await harness.call("GET", f"/v1/deposits/{fact.deposit_id}")).json
    assert (held["status"], held["account_id"]) == ("settled", SUSPENSE)
    await reported(harness, report(reference, 1050, OTHER_END_TO_END))
    assert (await shown(harness, made["txid"]))["status"] == "paid"
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (value, 1050)


async def test_a_second_payment_goes_to_the_suspense_account(harness: Harness, rail: RecordingRail) -> None:
    """A charge that two payers pay is credited once; the second payment is in the suspense account."""
    account = await harness.account()
    await charge(harness, account["id"])
    reference = rail.orders[0].reference
    await reported(harness, report(reference), report(reference, 1050, OTHER_END_TO_END))
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (1050, 1050)
    receipt = await harness.documents.get(RECEIPTS, "acme", f"pix:{OTHER_END_TO_END}")
    assert receipt is not None
    assert (receipt["status"], receipt["reason"]) == ("unmatched", "paid_twice")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"status": "closed"}, "account_closed"), ({"block_mode": "all", "status": "blocked"}, "account_blocked")],
)
async def test_an_account_that_cannot_receive_any_more(
    harness: Harness, rail: RecordingRail, fields: dict[str, Any], reason: str
) -> None:
    """A payment for an account that was closed, or blocked for all movements, is in the suspense account."""
    account = await harness.account()
    await charge(harness, account["id"])
    await harness.alter(ACCOUNTS, account["id"], **fields)
    await reported(harness, report(rail.orders[0].reference))
    assert await suspended(harness) == 1050
    assert [fact.reason for fact in harness.events_of(PaymentUnmatched)] == [reason]


async def test_an_unpaid_charge_expires(harness: Harness, rail: RecordingRail) -> None:
    """A charge is shown as expired from its time on, and its fact is published once by the sweep."""
    account = await harness.account()
    made = await charge(harness, account["id"], expires_in=60)
    harness.clock.advance(timedelta(seconds=59))
    await sweep(harness)
    assert (await shown(harness, made["txid"]))["status"] == "active"
    harness.clock.advance(timedelta(seconds=1))
    assert (await shown(harness, made["txid"]))["status"] == "expired"
    harness.clock.advance(timedelta(seconds=1))
    await sweep(harness)
    (fact,) = harness.events_of(ChargeExpired)
    assert (fact.charge_id, fact.expires_at) == (made["txid"], made["expires_at"])
    assert (await shown(harness, made["txid"])) == made | {"status": "expired"}
    assert len(rail.orders) == 1


async def test_a_payment_in_time_that_is_reported_late_pays_the_charge(harness: Harness, rail: RecordingRail) -> None:
    """A payment that was made before the charge expired is credited although its report arrives afterwards; a later
    payment is suspended."""
    account = await harness.account()
    charges = [await charge(harness, account["id"], expires_in=60) for _ in range(2)]
    harness.clock.advance(timedelta(hours=1))
    await sweep(harness)
    await reported(harness, report(rail.orders[0].reference, horario="2026-01-01T00:00:59Z"))
    now = format_time(harness.clock.now())
    await reported(harness, report(rail.orders[1].reference, 1050, OTHER_END_TO_END, horario=now))
    assert [(await shown(harness, made["txid"]))["status"] for made in charges] == ["paid", "expired"]
    assert await suspended(harness) == 1050
    assert [fact.reason for fact in harness.events_of(PaymentUnmatched)] == ["charge_over"]


async def test_a_time_that_cannot_be_read_is_the_time_of_the_report(harness: Harness, rail: RecordingRail) -> None:
    """A payment whose time cannot be read counts as made when it was reported."""
    account = await harness.account()
    made = await charge(harness, account["id"])
    await reported(harness, report(rail.orders[0].reference, horario="yesterday"))
    assert (await shown(harness, made["txid"]))["status"] == "paid"


async def test_a_charge_that_is_being_credited_does_not_expire(harness: Harness, rail: RecordingRail) -> None:
    """A charge whose payment was reported, and is not in the ledger yet, becomes paid and never expired."""
    account = await harness.account()
    made = await charge(harness, account["id"], expires_in=60)
    assert (await callback(harness, report(rail.orders[0].reference))).status == 200
    harness.clock.advance(timedelta(hours=1))
    assert (await shown(harness, made["txid"]))["status"] == "active"
    await sweep(harness)
    assert (await shown(harness, made["txid"]))["status"] == "paid"
    assert harness.events_of(ChargeExpired) == []


async def test_a_lost_event_of_suspended_money_is_published_again(harness: Harness, rail: RecordingRail) -> None:
    """The transfer of a payment to the suspense account is requested again when its event was lost, with its reason."""
    account = await harness.account()
    await charge(harness, account["id"])
    await callback(harness, report(rail.orders[0].reference, 7))
    harness._routed = len(harness.events)
    harness.clock.advance(timedelta(hours=1))
    tick = harness.envelope(Tick(schedule="sweep_sagas"), tenant=PLATFORM)
    assert (await harness.deliver("operations/sweep_sagas", tick)).status == 204
    await harness.run_events()
    assert await suspended(harness) == 7
    assert {fact.reason for fact in harness.events_of(PaymentUnmatched)} == {"wrong_amount"}


async def test_a_refused_transfer_leaves_the_charge_unpaid(harness: Harness, rail: RecordingRail) -> None:
    """When the ledger refuses the transfer of a payment, its deposit fails and the charge is not paid."""
    account = await harness.account()
    made = await charge(harness, account["id"])
    await callback(harness, report(rail.orders[0].reference))
    (fact,) = harness.events_of(ChargePaid)
    failure = Failure(code="transfer_refused", detail="no")
    refused = TransferRefused(
        transfer_id=fact.transfer_id, cause_type="deposit", cause_id=fact.deposit_id, failure=failure
    )
    await harness.deliver("providers/fail_deposit", harness.envelope(refused, causetype="deposit"))
    assert (await shown(harness, made["txid"]))["status"] == "active"


async def test_the_owner_of_a_charge_is_stored_for_its_callback(harness: Harness, rail: RecordingRail) -> None:
    """The platform knows the tenant of a charge by the provider's id before the provider is asked."""
    account = await harness.account()
    rail.outcome = Unavailable("down")
    await asked(harness, account["id"], txid=TXID)
    owner = await harness.documents.get(CHARGES, PLATFORM, rail.orders[0].reference)
    assert owner is not None
    assert (owner["charged_tenant_id"], owner["provider"]) == ("acme", "pix")
    assert await harness.documents.get(PIX_CHARGES, "acme", owner["id"]) is None
    assert await harness.documents.get(DEPOSITS, "acme", owner["deposit_id"]) is None


@given(st.lists(st.tuples(st.sampled_from(["acme", "other"]), st.from_regex(r"[a-zA-Z0-9]{26,35}", fullmatch=True))))
def test_the_providers_id_is_unique_and_valid(pairs: list[tuple[str, str]]) -> None:
    """Each tenant and txid has its own id at the provider, of 32 letters and digits."""
    ids = {pair: derived_id("chg", pair[0], f"{pair[1]}/", "pix charge").partition("_")[2] for pair in pairs}
    assert len(set(ids.values())) == len(set(pairs))
    assert all(len(id) == 32 and id.isalnum() for id in ids.values())


def test_no_change_leads_out_of_an_end() -> None:
    """A paid and a removed charge never change; an expired one can only become paid."""
    assert {status: set(changes) for status, changes in PIX_CHARGE_CHANGES.items()} == {
        "active": {"paid", "removed", "expired"},
        "expired": {"paid"},
        "paid": set(),
        "removed": set(),
    }


# The picture


async def picture(harness: Harness, txid: str, accept: str | None = None, **options: Any) -> Answer:
    headers = {} if accept is None else {"accept": accept}
    return await harness.call("GET", f"{CHARGES_PATH}/{txid}/qr.png", headers=headers, **options)


@pytest.mark.parametrize(
    ("accept", "media_type", "start"),
    [
        (None, "image/png", b"\x89PNG\r\n\x1a\n"),
        ("*/*", "image/png", b"\x89PNG"),
        ("image/png, image/svg+xml", "image/png", b"\x89PNG"),
        ("image/svg+xml", "image/svg+xml", b"<?xml"),
    ],
)
async def test_the_qr_code_is_a_picture(
    harness: Harness, rail: RecordingRail, accept: str | None, media_type: str, start: bytes
) -> None:
    """The QR code is a PNG, or an SVG for a client that accepts only that."""
    del rail
    made = await charge(harness, (await harness.account())["id"])
    answer = await picture(harness, made["txid"], accept)
    assert (answer.status, answer.headers["content-type"]) == (200, media_type)
    assert answer.body.startswith(start)
    assert answer.body == (await picture(harness, made["txid"], accept)).body


@pytest.mark.skipif(not ZBARIMG, reason="zbarimg is not installed (Debian: zbar-tools)")
async def test_a_scanner_reads_the_qr_code(harness: Harness, rail: RecordingRail, tmp_path: Path) -> None:
    """A program for scanners reads the charge's BR Code from the picture."""
    del rail
    made = await charge(harness, (await harness.account())["id"])
    file = tmp_path / "qr.png"
    file.write_bytes((await picture(harness, made["txid"])).body)
    scanner = await asyncio.create_subprocess_exec(ZBARIMG, "--quiet", "--raw", file, stdout=PIPE)
    read, _ = await scanner.communicate()
    assert read.decode().strip() == made["br_code"]


async def test_the_picture_of_another_tenants_charge_is_not_found(harness: Harness, rail: RecordingRail) -> None:
    """Another tenant's charge has no picture, like a charge that does not exist."""
    del rail
    made = await charge(harness, (await harness.account())["id"])
    await harness.tenant("other")
    for answer in (await picture(harness, made["txid"], tenant="other"), await picture(harness, "0" * 32)):
        assert (answer.status, answer.code) == (404, "not_found")
