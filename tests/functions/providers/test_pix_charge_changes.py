"""PIX charges that are changed, withdrawn and listed; what was asked for and not answered pays on either terms."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.charges import ChargeRemoved, ChargeRevised
from shared.core.clock import format_time
from shared.ports.documents import Query, Unavailable
from shared.ports.rail import CHARGE_OVER, RailRefused
from shared.records.pix_charges import PIX_CHARGES
from tests.functions.providers.charges import CHARGES_PATH, TXID, asked, charge, reported, shown, suspended
from tests.functions.providers.rail import OTHER_END_TO_END, RecordingRail, callback, report, with_rail
from tests.harness import Answer, Harness

LOST = Unavailable("the answer is lost")


def brl(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


@pytest.fixture
async def rail(harness: Harness) -> RecordingRail:
    """The rail of the harness."""
    return await with_rail(harness)


async def revised(harness: Harness, txid: str, *, tenant: str | None = None, **fields: Any) -> Answer:
    return await harness.call("PATCH", f"{CHARGES_PATH}/{txid}", fields, tenant=tenant)


async def removed(harness: Harness, txid: str, *, tenant: str | None = None, key: str | None = None) -> Answer:
    return await harness.call("POST", f"{CHARGES_PATH}/{txid}/remove", {}, tenant=tenant, key=key)


async def test_a_changed_charge_is_paid_on_its_new_terms(harness: Harness, rail: RecordingRail) -> None:
    """A change is made at the provider, keeps the code, and counts as a revision; afterwards only the new amount pays
    the charge."""
    account = await harness.account()
    made = await charge(harness, account["id"])
    answer = await revised(harness, made["txid"], amount=brl(2000), expires_in=7200, description="Hurry")
    ends = format_time(harness.clock.now() + timedelta(seconds=7200))
    changes = {"amount": brl(2000), "expires_in": 7200, "expires_at": ends, "description": "Hurry"}
    assert (answer.status, answer.json) == (200, made | changes)
    assert await shown(harness, made["txid"]) == answer.json
    (order,) = rail.revisions
    assert (order.reference, order.amount, order.expires_in, order.description) == (
        rail.orders[0].reference,
        2000,
        7200,
        "Hurry",
    )
    (fact,) = harness.events_of(ChargeRevised)
    assert (fact.charge_id, fact.amount.value, fact.revision) == (made["txid"], 2000, 1)
    await reported(harness, report(order.reference, 1050))
    await reported(harness, report(order.reference, 2000, OTHER_END_TO_END))
    assert (await shown(harness, made["txid"]))["status"] == "paid"
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (1050, 2000)


async def test_a_change_of_nothing_asks_for_nothing(harness: Harness, rail: RecordingRail) -> None:
    """A change to what the charge has already does not reach the provider and publishes nothing."""
    made = await charge(harness, (await harness.account())["id"], description="Book")
    for fields in ({}, {"amount": brl(1050)}, {"description": "Book", "expires_in": None}):
        answer = await revised(harness, made["txid"], **fields)
        assert (answer.status, answer.json) == (200, made)
    assert (rail.revisions, harness.events_of(ChargeRevised)) == ([], [])


@pytest.mark.parametrize("value", [1050, 2000])
async def test_either_amount_pays_while_the_outcome_of_a_change_is_unknown(
    harness: Harness, rail: RecordingRail, value: int
) -> None:
    """When the answer to a change is lost, the old and the new amount both pay the charge, and the charge shows the
    amount that was paid."""
    account = await harness.account()
    made = await charge(harness, account["id"])
    rail.outcome = LOST
    assert (await revised(harness, made["txid"], amount=brl(2000))).status == 503
    assert await shown(harness, made["txid"]) == made
    rail.outcome = None
    await reported(harness, report(rail.orders[0].reference, value))
    paid = await shown(harness, made["txid"])
    assert (paid["status"], paid["amount"]) == ("paid", brl(value))
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (0, value)


async def test_a_change_whose_answer_was_lost_is_repeated(harness: Harness, rail: RecordingRail) -> None:
    """The repeated request makes the same change; another change is refused with 409 for a minute, and made then."""
    made = await charge(harness, (await harness.account())["id"])
    rail.outcome = LOST
    await revised(harness, made["txid"], amount=brl(2000))
    rail.outcome = None
    assert (await revised(harness, made["txid"], amount=brl(3000))).code == "illegal_state"
    assert (await revised(harness, made["txid"], amount=brl(2000))).json["amount"] == brl(2000)
    rail.outcome = LOST
    await revised(harness, made["txid"], amount=brl(3000))
    rail.outcome = None
    harness.clock.advance(timedelta(seconds=61))
    assert (await revised(harness, made["txid"], amount=brl(2000))).json["amount"] == brl(2000)
    assert [order.amount for order in rail.revisions] == [2000, 2000, 3000, 2000]
    stored = (await harness.documents.find(PIX_CHARGES, "acme", Query()))[0]
    assert (stored["revising"], stored["revision"]) == (None, 2)


async def test_a_longer_expiry_whose_answer_was_lost_counts(harness: Harness, rail: RecordingRail) -> None:
    """A payment within the longer time that was asked for pays the charge, although the answer to that was lost."""
    account = await harness.account()
    made = await charge(harness, account["id"], expires_in=60)
    rail.outcome = LOST
    await revised(harness, made["txid"], expires_in=7200)
    rail.outcome = None
    harness.clock.advance(timedelta(hours=1))
    paid_at = format_time(harness.clock.now())
    await reported(harness, report(rail.orders[0].reference, horario=paid_at))
    assert (await shown(harness, made["txid"]))["status"] == "paid"


async def test_the_provider_refuses_a_change(harness: Harness, rail: RecordingRail) -> None:
    """A refused change leaves the charge as it was, on its old terms only: 409 for one that is over, else 422."""
    made = await charge(harness, (await harness.account())["id"])
    for code, status in ((CHARGE_OVER, 409), ("CobOperacaoInvalida", 422)):
        rail.outcome = RailRefused(code, "no")
        assert (await revised(harness, made["txid"], amount=brl(2000))).status == status
        assert (await removed(harness, made["txid"])).status == status
    rail.outcome = None
    rail.removed.clear()
    assert await shown(harness, made["txid"]) == made
    await reported(harness, report(rail.orders[0].reference, 2000))
    assert (await shown(harness, made["txid"]))["status"] == "active"


@pytest.mark.parametrize(
    ("fields", "status", "pointer"),
    [
        ({"amount": {"value": 1, "currency": "USD"}}, 422, "/amount/currency"),
        ({"amount": brl(10**12)}, 422, "/amount/value"),
        ({"amount": brl(0)}, 422, "/amount/value"),
        ({"expires_in": 0}, 422, "/expires_in"),
        ({"expires_in": 59}, 422, "/expires_in"),
        ({"account_id": "acc_1"}, 422, "/account_id"),
        ({"description": "d" * 501}, 422, "/description"),
    ],
)
async def test_an_invalid_change_is_refused(
    harness: Harness, rail: RecordingRail, fields: dict[str, Any], status: int, pointer: str
) -> None:
    """An invalid change, as an expiry that has passed already, is refused with a pointer and is not asked for."""
    made = await charge(harness, (await harness.account())["id"])
    harness.clock.advance(timedelta(seconds=59))
    answer = await revised(harness, made["txid"], **fields)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (status, pointer)
    assert rail.revisions == []


async def test_a_withdrawn_charge_cannot_be_paid(harness: Harness, rail: RecordingRail) -> None:
    """A withdrawn charge is `removed` with one fact, also when it is withdrawn again; a payment of it is suspended."""
    account = await harness.account()
    made = await charge(harness, account["id"])
    for _ in range(2):
        answer = await removed(harness, made["txid"])
        assert (answer.status, answer.json) == (200, made | {"status": "removed"})
    assert rail.removed == {rail.orders[0].reference}
    (fact,) = harness.events_of(ChargeRemoved)
    assert (fact.charge_id, fact.amount.value) == (made["txid"], 1050)
    await reported(harness, report(rail.orders[0].reference))
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (1050, 0)


async def test_a_withdrawal_whose_answer_was_lost_is_repeated(harness: Harness, rail: RecordingRail) -> None:
    """Without the provider's answer a charge stays active, and the repeated request withdraws it."""
    made = await charge(harness, (await harness.account())["id"])
    rail.outcome = LOST
    assert (await removed(harness, made["txid"], key="again")).status == 503
    assert (await shown(harness, made["txid"]))["status"] == "active"
    rail.outcome = None
    assert (await removed(harness, made["txid"], key="again")).json["status"] == "removed"


@pytest.mark.parametrize("state", ["reported", "paid", "expired"])
async def test_a_charge_that_is_over_is_neither_changed_nor_withdrawn(
    harness: Harness, rail: RecordingRail, state: str
) -> None:
    """A charge whose payment was reported, or that is paid or expired, is refused with 409 and stays as it is."""
    made = await charge(harness, (await harness.account())["id"])
    if state == "expired":
        harness.clock.advance(timedelta(days=1))
    else:
        assert (await callback(harness, report(rail.orders[0].reference))).status == 200
    if state == "paid":
        await harness.run_events()
    before = await shown(harness, made["txid"])
    for answer in (await revised(harness, made["txid"], amount=brl(1)), await removed(harness, made["txid"])):
        assert (answer.status, answer.code) == (409, "illegal_state")
    assert await shown(harness, made["txid"]) == before
    assert (rail.revisions, rail.removed) == ([], set())


async def test_another_tenants_charge_is_not_found(harness: Harness, rail: RecordingRail) -> None:
    """Another tenant's txid is answered as one that does not exist, and its charge is not touched."""
    made = await charge(harness, (await harness.account())["id"], txid=TXID)
    await harness.tenant("other")
    for answer in (
        await revised(harness, TXID, tenant="other", amount=brl(1)),
        await removed(harness, TXID, tenant="other"),
    ):
        assert (answer.status, answer.code) == (404, "not_found")
    assert (rail.revisions, rail.removed) == ([], set())
    assert await shown(harness, TXID) == made


async def test_charges_are_listed(harness: Harness, rail: RecordingRail) -> None:
    """The list has the newest charge first, whatever its txid, in pages, and filters by status, account and time."""
    del rail
    accounts = [(await harness.account())["id"] for _ in range(2)]
    made = []
    for number in range(5):
        harness.clock.advance(timedelta(seconds=1))
        txid = f"{9 - number}" * 26
        made.append(await charge(harness, accounts[number % 2], txid=txid))
    await removed(harness, made[1]["txid"])
    newest = [one["txid"] for one in reversed(made)]

    async def listed(query: str) -> list[str]:
        found: list[str] = []
        page = (await harness.call("GET", CHARGES_PATH, query=query)).json
        while True:
            found += [one["txid"] for one in page["data"]]
            if page["next_cursor"] is None:
                return found
            page = (await harness.call("GET", CHARGES_PATH, query=f"limit=2&cursor={page['next_cursor']}")).json

    assert await listed("limit=2") == newest
    assert await listed("status=removed") == [made[1]["txid"]]
    assert await listed(f"status=active&account={accounts[1]}") == [made[3]["txid"]]
    assert await listed(f"from={made[1]['created_at']}&to={made[3]['created_at']}") == newest[2:4]
    assert await listed("account=acc_unknown") == []
    await harness.tenant("other")
    assert (await harness.call("GET", CHARGES_PATH, tenant="other")).json["data"] == []
    assert (await harness.call("GET", CHARGES_PATH, query="status=late")).status == 400


async def test_a_removed_txid_is_never_used_again(harness: Harness, rail: RecordingRail) -> None:
    """The txid of a withdrawn charge is refused for a new one."""
    del rail
    account = await harness.account()
    await charge(harness, account["id"], txid=TXID)
    await removed(harness, TXID)
    assert (await asked(harness, account["id"], txid=TXID)).code == "already_exists"
