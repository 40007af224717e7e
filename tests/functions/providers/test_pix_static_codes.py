"""Static PIX codes: each payment becomes a deposit of its own, once; what does not fit goes to the suspense account."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from events.charges import ChargePaid, PaymentUnmatched
from shared.adapters.pix.br_code import fitted_name, parse_br_code
from shared.core.clock import format_time
from shared.ports.documents import Unavailable
from shared.records.accounts import ACCOUNTS
from tests.functions.providers.charges import reported, suspended
from tests.functions.providers.rail import (
    END_TO_END,
    OTHER_END_TO_END,
    RecordingRail,
    callback,
    report,
    report_fraud,
    with_rail,
)
from tests.functions.providers.test_polling import poll
from tests.harness import Answer, Harness

CODES = "/v1/pix/static-codes"
ZBARIMG = shutil.which("zbarimg") or ""


def brl(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


@pytest.fixture
async def rail(harness: Harness) -> RecordingRail:
    """The rail of the harness."""
    return await with_rail(harness)


async def asked(harness: Harness, account_id: str, *, tenant: str | None = None, **fields: Any) -> Answer:
    return await harness.call("POST", CODES, {"account_id": account_id, **fields}, tenant=tenant)


async def code(harness: Harness, account_id: str, **fields: Any) -> Any:
    """Create a static code and return it."""
    answer = await asked(harness, account_id, **fields)
    assert answer.status == 201, answer.body
    return answer.json


async def test_a_code_is_paid_many_times(harness: Harness, rail: RecordingRail) -> None:
    """Payments of any amount are deposits of their own, each credited once, however often it is reported."""
    account = await harness.account()
    made = await code(harness, account["id"], txid="Counter1")
    (order,) = rail.static_codes
    read = parse_br_code(made["br_code"])
    assert (read.txid, read.amount, read.once) == (order.reference, None, False)
    assert (made["txid"], made["amount"], len(order.reference)) == ("Counter1", None, 25)
    first, second = report(order.reference, 1050), report(order.reference, 7, OTHER_END_TO_END)
    for _ in range(2):
        await reported(harness, first, second, first)
    assert (await harness.balance(account["id"]), await suspended(harness)) == ((1057, 0, 1057), 0)
    facts = harness.events_of(ChargePaid)
    assert sorted((fact.charge_id, fact.end_to_end_id) for fact in facts) == [
        ("Counter1", END_TO_END),
        ("Counter1", OTHER_END_TO_END),
    ]
    for fact in facts:
        deposit = (await harness.call("GET", f"/v1/deposits/{fact.deposit_id}")).json
        assert (deposit["status"], deposit["account_id"]) == ("settled", account["id"])
    assert await harness.runtime.ledger.balance("acme", "sys_clearing_pix_brl") == -1057
    assert not harness.undelivered


async def test_a_code_with_an_amount_takes_no_other(harness: Harness, rail: RecordingRail) -> None:
    """A payment of another amount than the code's goes to the suspense account; the right one is credited."""
    account = await harness.account()
    made = await code(harness, account["id"], amount=brl(500))
    reference = rail.static_codes[0].reference
    assert parse_br_code(made["br_code"]).amount == 500
    await reported(harness, report(reference, 499), report(reference, 500, OTHER_END_TO_END))
    assert ((await harness.balance(account["id"]))[0], await suspended(harness)) == (500, 499)
    assert [fact.reason for fact in harness.events_of(PaymentUnmatched)] == ["wrong_amount"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"status": "closed"}, "account_closed"), ({"block_mode": "all", "status": "blocked"}, "account_blocked")],
)
async def test_an_account_that_cannot_receive_any_more(
    harness: Harness, rail: RecordingRail, fields: dict[str, Any], reason: str
) -> None:
    """A payment for an account that is closed, or blocked for all movements, goes to the suspense account."""
    account = await harness.account()
    await code(harness, account["id"])
    await harness.alter(ACCOUNTS, account["id"], **fields)
    await reported(harness, report(rail.static_codes[0].reference))
    assert await suspended(harness) == 1050
    assert [fact.reason for fact in harness.events_of(PaymentUnmatched)] == [reason]


async def test_a_payment_that_is_not_reported_is_found(harness: Harness, rail: RecordingRail) -> None:
    """A payment of a static code that is only listed by the provider is credited, once with its late report."""
    account = await harness.account()
    await code(harness, account["id"])
    paid_at = format_time(harness.clock.now())
    paid = report(rail.static_codes[0].reference, horario=paid_at)
    rail.unreported.append(paid)
    harness.clock.advance(timedelta(minutes=2))
    await poll(harness)
    await reported(harness, paid)
    assert (await harness.balance(account["id"]))[0] == 1050


async def test_a_payment_of_a_code_is_returned_and_reported_as_a_fraud(harness: Harness, rail: RecordingRail) -> None:
    """The deposit of a static code's payment can be returned, and be reported as a fraud, as any other."""
    account = await harness.account()
    await code(harness, account["id"])
    paid = report(rail.static_codes[0].reference)
    await reported(harness, paid)
    (fact,) = harness.events_of(ChargePaid)
    answer = await harness.call("POST", f"/v1/deposits/{fact.deposit_id}/returns", {"amount": brl(50)})
    assert answer.status == 201, answer.body
    await harness.run_events()
    assert (await report_fraud(harness, paid, 1000)).status == 200
    await harness.run_events()
    (found,) = (await harness.call("GET", "/v1/pix/fraud-reports")).json["data"]
    assert (found["deposit_id"], found["amount_held"]) == (fact.deposit_id, brl(1000))


async def test_two_tenants_may_use_the_same_txid(harness: Harness, rail: RecordingRail) -> None:
    """Two tenants use one txid; each payment is credited to its own, and neither sees the other's code."""
    mine = await harness.account()
    await harness.tenant("other")
    theirs = await harness.account(tenant="other")
    await code(harness, mine["id"], txid="Counter1")
    assert (await harness.call("GET", f"{CODES}/Counter1", tenant="other")).code == "not_found"
    assert (await harness.call("GET", f"{CODES}/Counter1/qr.png", tenant="other")).code == "not_found"
    assert (await asked(harness, theirs["id"], txid="Counter1", tenant="other")).status == 201
    await reported(harness, report(rail.static_codes[1].reference, 70))
    assert (await harness.balance(theirs["id"], tenant="other"))[0] == 70
    assert (await harness.balance(mine["id"]))[0] == 0


async def test_codes_are_shown_and_listed(harness: Harness, rail: RecordingRail) -> None:
    """A code is shown as it was made; the list has the newest first, in pages, and can be of one account."""
    del rail
    accounts = [(await harness.account())["id"] for _ in range(2)]
    made = []
    for number in range(3):
        harness.clock.advance(timedelta(seconds=1))
        made.append(await code(harness, accounts[number % 2]))
    assert (await harness.call("GET", f"{CODES}/{made[0]['txid']}")).json == made[0]
    page = (await harness.call("GET", CODES, query="limit=2")).json
    rest = (await harness.call("GET", CODES, query=f"limit=2&cursor={page['next_cursor']}")).json
    assert page["data"] + rest["data"] == made[::-1]
    assert (await harness.call("GET", CODES, query=f"account={accounts[1]}")).json["data"] == [made[1]]


@pytest.mark.parametrize(
    ("fields", "code_of", "pointer"),
    [
        ({"account_id": "acc_unknown"}, "unknown_reference", "/account_id"),
        ({"amount": {"value": 1, "currency": "USD"}}, "currency_mismatch", "/amount/currency"),
        ({"amount": brl(10**12)}, "validation_failed", "/amount/value"),
        ({"txid": "a" * 26}, "validation_failed", "/txid"),
        ({"txid": "***"}, "validation_failed", "/txid"),
        ({"description": "x"}, "validation_failed", "/description"),
    ],
)
async def test_an_invalid_code_is_refused(
    harness: Harness, rail: RecordingRail, fields: dict[str, Any], code_of: str, pointer: str
) -> None:
    """An invalid code is refused with its field, and the provider is not asked."""
    answer = await harness.call("POST", CODES, {"account_id": (await harness.account())["id"], **fields})
    assert (answer.status, answer.code) == (422, code_of)
    assert answer.json["errors"][0]["pointer"] == pointer
    assert rail.static_codes == []


async def test_a_txid_is_used_once(harness: Harness, rail: RecordingRail) -> None:
    """A second code of the same txid is refused with 409; accounts that cannot receive get no code."""
    del rail
    account, dollars = await harness.account(), await harness.account(currency="USD")
    await code(harness, account["id"], txid="Counter1")
    assert (await asked(harness, account["id"], txid="Counter1")).code == "already_exists"
    assert (await asked(harness, dollars["id"])).code == "currency_mismatch"
    await harness.alter(ACCOUNTS, account["id"], status="closed")
    assert (await asked(harness, account["id"])).code == "account_closed"


async def test_a_provider_that_does_not_answer_makes_no_code(harness: Harness, rail: RecordingRail) -> None:
    """Without the provider's answer the request is answered with 503; a payment that arrives meanwhile is reported
    again, and the repeated request makes the code."""
    account = await harness.account()
    rail.outcome = Unavailable("timeout")
    assert (await asked(harness, account["id"], txid="Counter1")).status == 503
    paid = report(rail.static_codes[0].reference)
    assert (await callback(harness, paid)).status == 503
    rail.outcome = None
    await code(harness, account["id"], txid="Counter1")
    await reported(harness, paid)
    assert (await harness.balance(account["id"]))[0] == 1050


@pytest.mark.skipif(not ZBARIMG, reason="zbarimg (Debian: zbar-tools) is not installed")
async def test_a_reader_reads_the_picture(harness: Harness, rail: RecordingRail, tmp_path: Path) -> None:
    """The picture of a static code is read back as the code's own text."""
    del rail
    made = await code(harness, (await harness.account())["id"], amount=brl(1234))
    answer = await harness.call("GET", f"{CODES}/{made['txid']}/qr.png")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    picture = tmp_path / "code.png"
    picture.write_bytes(answer.body)
    reader = await asyncio.create_subprocess_exec(ZBARIMG, "--quiet", "--raw", str(picture), stdout=PIPE)
    text, _ = await reader.communicate()
    assert text.decode().strip() == made["br_code"]
    drawn = await harness.call("GET", f"{CODES}/{made['txid']}/qr.png", headers={"accept": "image/svg+xml"})
    assert drawn.headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("name", "fitted"),
    [
        ("Padaria São João", "Padaria Sao Joao"),
        ("A" * 40, "A" * 25),
        ("Loja  do\tZé", "Loja do Ze"),
        ("日本", "RECEBEDOR"),
        (f"{'B' * 24} C", "B" * 24),
    ],
)
def test_a_name_is_fitted_to_the_code(name: str, fitted: str) -> None:
    """A receiver's name loses its accents, and what does not fit into 25 characters."""
    assert fitted_name(name) == fitted
