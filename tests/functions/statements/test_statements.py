"""Statement and balance, which are made only from the facts of the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.ledger import PostedLeg, TransferPosted
from events.statements import LineRecorded
from tests.harness import Harness

START = "2026-01-01T00:00:00.000000Z"


async def story(harness: Harness) -> tuple[str, str]:
    """A payer with a deposit of 1000 and payments of 100, 200 and 300 to a payee, one each hour."""
    payer = (await harness.account(1000))["id"]
    payee = (await harness.account())["id"]
    for value in (100, 200, 300):
        harness.clock.advance(timedelta(hours=1))
        await harness.pay(payer, payee, value, description=f"for {value}")
        await harness.run_events()
    return payer, payee


async def statement(harness: Harness, account_id: str, query: str = "") -> Any:
    """Return a page of an account's statement."""
    answer = await harness.call("GET", f"/v1/accounts/{account_id}/statement", query=query)
    assert answer.status == 200, answer.body
    return answer.json


async def posted_at(harness: Harness, account_id: str, at: str) -> int:
    """Return an account's balance at a time."""
    answer = (await harness.call("GET", f"/v1/accounts/{account_id}/balance", query=f"at={at}")).json
    assert (answer["held"], answer["available"]) == (None, None)
    posted: int = answer["posted"]
    return posted


async def test_a_line_describes_the_whole_movement(harness: Harness) -> None:
    """A line of payer or payee has the direction, amount, running balance, transfer, payment, counterparty and
    description."""
    payer, payee = await story(harness)
    line = (await statement(harness, payer))["data"][1]
    payment = await harness.payment(line["payment_id"])
    assert {key: line[key] for key in line if key not in ("id", "transfer_id", "payment_id")} == {
        "account_id": payer,
        "recorded_at": "2026-01-01T01:00:00.000000Z",
        "direction": "debit",
        "amount": {"value": 100, "currency": "BRL"},
        "balance_after": {"value": 900, "currency": "BRL"},
        "counterparty_account_id": payee,
        "description": "for 100",
    }
    assert payment["payee_account_id"] == payee
    mirrored = (await statement(harness, payee))["data"][0]
    assert (mirrored["direction"], mirrored["counterparty_account_id"]) == ("credit", payer)
    assert mirrored["transfer_id"] == line["transfer_id"]
    assert mirrored["id"] != line["id"]


async def test_the_counterparty_of_a_deposit_is_the_clearing_account(harness: Harness) -> None:
    """The line of a deposit has the clearing account as counterparty and no payment; clearing accounts have no
    statement."""
    account = await harness.account(1000)
    [line] = (await statement(harness, account["id"]))["data"]
    assert (line["payment_id"], line["counterparty_account_id"]) == (None, "sys_clearing_pix_brl")
    assert (await harness.call("GET", "/v1/accounts/sys_clearing_pix_brl/statement")).code == "not_found"
    assert [fact.account_id for fact in harness.events_of(LineRecorded)] == [account["id"]]


async def test_lines_are_ordered_by_the_times_of_their_entries(harness: Harness) -> None:
    """When a transfer is younger than the account's next entry, because its other account has a younger one, the
    statement still has the order of the ledger, and the balance is that of the last entry."""
    account_id = (await harness.account())["id"]
    times = [("T02:00:00.000000Z", "T01:00:00.000000Z"), ("T01:30:00.000000Z", None)]
    for number, (of_transfer, of_entry) in enumerate(times, start=1):
        leg = PostedLeg(
            leg=0,
            account_id=account_id,
            direction="credit",
            amount=100,
            currency="BRL",
            sequence=number,
            balance_after=100 * number,
            recorded_at=None if of_entry is None else f"2026-01-01{of_entry}",
        )
        posted = TransferPosted(
            transfer_id=f"ltr_{number}",
            cause_type="deposit",
            cause_id=f"dep_{number}",
            legs=(leg,),
            recorded_at=f"2026-01-01{of_transfer}",
            payment_id=None,
            description=None,
        )
        await harness.deliver("statements/project_transfer", harness.envelope(posted))
    lines = (await statement(harness, account_id))["data"]
    assert [line["balance_after"]["value"] for line in lines] == [100, 200]
    assert await posted_at(harness, account_id, "2026-01-01T03:00:00Z") == 200


async def test_lines_come_oldest_first_in_pages(harness: Harness) -> None:
    """Lines are listed oldest first with running balances, and the cursor contains the period."""
    payer, _ = await story(harness)
    period = "from=2026-01-01T00:00:00Z&to=2026-01-01T03:00:00Z"
    first = await statement(harness, payer, f"{period}&limit=2")
    rest = await statement(harness, payer, f"cursor={first['next_cursor']}")
    assert [line["balance_after"]["value"] for line in first["data"] + rest["data"]] == [1000, 900, 700]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("period", "amounts"),
    [
        ("", [1000, 100, 200, 300]),
        ("from=2026-01-01T01:00:00Z", [100, 200, 300]),
        ("from=2026-01-01T01:00:00.000001Z", [200, 300]),
        ("to=2026-01-01T02:00:00Z", [1000, 100]),
        ("to=2026-01-01T02:00:00.000001Z", [1000, 100, 200]),
        ("from=2026-01-01T01:00:00Z&to=2026-01-01T03:00:00Z", [100, 200]),
        ("from=2025-12-31T22%3A00%3A00-03%3A00&to=2025-12-31T23%3A00%3A00-03%3A00", [100]),
        ("from=2026-01-01T02:00:00Z&to=2026-01-01T02:00:00Z", []),
        ("from=2027-01-01T00:00:00Z", []),
    ],
)
async def test_a_period_includes_its_beginning_and_excludes_its_end(
    harness: Harness, period: str, amounts: list[int]
) -> None:
    """`from` is inclusive, `to` exclusive, to the microsecond and in any offset from UTC."""
    payer, _ = await story(harness)
    assert [line["amount"]["value"] for line in (await statement(harness, payer, period))["data"]] == amounts


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "from=2026-01-01", "to=2026-01-01T00:00:00", "colour=red", "since=2026-01-01T00:00:00Z"],
)
async def test_an_invalid_period_is_refused(harness: Harness, query: str) -> None:
    """A time without an offset, a text that is not a time, an unknown parameter, and `from` after `to` are answered
    with 400."""
    account = await harness.account()
    path = f"/v1/accounts/{account['id']}/statement"
    assert (await harness.call("GET", path, query=query)).code == "malformed_request"
    backwards = "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"
    assert (await harness.call("GET", path, query=backwards)).code == "malformed_request"


@pytest.mark.parametrize(
    ("at", "posted"),
    [
        ("2025-12-31T23:59:59Z", 0),
        ("2026-01-01T00:00:00Z", 1000),
        ("2026-01-01T00:59:59.999999Z", 1000),
        ("2026-01-01T01:00:00Z", 900),
        ("2026-01-01T02:30:00Z", 700),
        ("2030-01-01T00:00:00Z", 400),
    ],
)
async def test_the_balance_at_a_time_includes_everything_up_to_it(harness: Harness, at: str, posted: int) -> None:
    """`at` is inclusive; the balance is 0 before the account was opened, and the present one for a future time."""
    payer, _ = await story(harness)
    assert await posted_at(harness, payer, at) == posted


async def test_the_present_balance_has_the_held_amount(harness: Harness) -> None:
    """The present balance has the posted, held and available amounts and its time."""
    payer = (await harness.account(1000, overdraft_limit=50))["id"]
    payee = (await harness.account())["id"]
    await harness.pay(payer, payee, 300, capture="manual")
    await harness.run_events()
    answer = (await harness.call("GET", f"/v1/accounts/{payer}/balance")).json
    assert answer == {
        "account_id": payer,
        "currency": "BRL",
        "posted": 1000,
        "held": 300,
        "available": 750,
        "as_of": START,
    }


@pytest.mark.parametrize("at", ["now", "2026-01-01", "2026-01-01T00:00:00", ""])
async def test_an_invalid_time_is_refused(harness: Harness, at: str) -> None:
    """A text that is not a time is answered with 400 `malformed_request`."""
    account = await harness.account()
    answer = await harness.call("GET", f"/v1/accounts/{account['id']}/balance", query=f"at={at}")
    assert answer.code == "malformed_request"


async def test_order_and_repetition_of_the_facts_do_not_matter() -> None:
    """The facts of the ledger give the same statement in order, and in any other order with each delivered twice."""
    statements: list[Any] = []
    for shuffled in (False, True):
        harness = Harness.make()
        await harness.tenant()
        payer = (await harness.account(1000))["id"]
        payee = (await harness.account())["id"]
        for value in range(1, 21):
            await harness.pay(payer, payee, value)
        await harness.run_events(times=1 + shuffled, shuffled=shuffled)
        lines = (await statement(harness, payer, "limit=100"))["data"]
        balance = 0
        for line in lines:
            balance += line["amount"]["value"] * (1 if line["direction"] == "credit" else -1)
            assert line["balance_after"]["value"] == balance
        statements.append(sorted((line["transfer_id"], line["amount"]["value"]) for line in lines))
    assert statements[0] == statements[1]


async def test_lines_of_one_instant_keep_the_ledgers_order(harness: Harness) -> None:
    """Movements of the same microsecond are listed in the ledger's order, also when their facts arrive in reverse."""
    payer = (await harness.account(1000))["id"]
    payee = (await harness.account())["id"]
    for value in (1, 2, 3):
        await harness.pay(payer, payee, value)
    position = 0
    for operation in ("accounts/hold_funds", "payments/authorize", "ledger/post_transfer"):
        position = await harness.step(operation, position)
    posted = [event for event in harness.events if event.type == TransferPosted.type]
    for envelope in reversed(posted):
        assert (await harness.deliver("statements/project_transfer", envelope)).status == 204
    lines = (await statement(harness, payer))["data"]
    assert [line["balance_after"]["value"] for line in lines] == [1000, 999, 997, 994]


async def test_another_tenants_statement_is_not_found(harness: Harness) -> None:
    """The statement and balance of another tenant's account are answered with 404."""
    payer, _ = await story(harness)
    await harness.tenant("rival")
    for query in ("", "at=2026-01-01T00:00:00Z"):
        answer = await harness.call("GET", f"/v1/accounts/{payer}/balance", tenant="rival", query=query)
        assert answer.code == "not_found"
    answer = await harness.call("GET", f"/v1/accounts/{payer}/statement", tenant="rival")
    assert answer.code == "not_found"
    for path in ("balance", "statement"):
        answer = await harness.call("GET", f"/v1/accounts/{payer}/{path}", scopes=["accounts:read"])
        assert answer.code == "insufficient_scope"
