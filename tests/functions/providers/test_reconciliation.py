"""Reconciliation of a provider's reports with its clearing account."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.reconciliations import ReconciliationCompleted
from functions.providers._pairing import Matched, Movement, match
from shared.core.settings import Settings
from tests.functions.providers.rail import callback, deposit, report, with_rail
from tests.harness import Answer, Harness

DAY = {"provider": "pix", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
E1 = "E99999004202601010000aaaaaaaaaa1"
E2 = "E99999004202601010000aaaaaaaaaa2"
WINDOW = timedelta(hours=24)


async def reconcile(harness: Harness, **change: Any) -> Answer:
    """Reconcile a day of PIX."""
    return await harness.call("POST", "/v1/reconciliations", DAY | change)


async def paid_deposit(harness: Harness, account_id: str, end_to_end_id: str, value: int = 1050) -> Any:
    """Make a deposit that the provider reports as paid, and settle it."""
    made = await deposit(harness, account_id, value)
    await harness.run_events(times=2)
    rail: Any = harness.runtime.rails["pix"]
    txid = rail.requested[-1][0]
    assert (await callback(harness, report(txid, value, end_to_end_id))).status == 200
    await harness.run_events()
    return made


async def test_a_deposit_is_matched_by_its_end_to_end_id(harness: Harness) -> None:
    """A settled deposit is one matched item: the ledger entry and the provider's report of the same reference and
    amount."""
    await with_rail(harness)
    account = await harness.account()
    await paid_deposit(harness, account["id"], E1)
    answer = await reconcile(harness)
    assert answer.status == 201, answer.body
    made = answer.json
    assert answer.headers["location"] == f"/v1/reconciliations/{made['id']}"
    assert {name: made[name] for name in ("provider", "from", "to", "status", "matched", "unmatched")} == {
        "provider": "pix",
        "from": "2026-01-01T00:00:00.000000Z",
        "to": "2026-01-02T00:00:00.000000Z",
        "status": "completed",
        "matched": 1,
        "unmatched": 0,
    }
    (item,) = made["items"]
    assert (item["status"], item["rule"], item["candidates"]) == ("matched", "reference", [])
    assert item["ledger"]["reference"] == item["provider"]["reference"] == E1
    assert item["ledger"]["amount"] == item["provider"]["amount"] == {"value": 1050, "currency": "BRL"}
    assert (await harness.call("GET", f"/v1/reconciliations/{made['id']}")).json == made
    (fact,) = harness.events_of(ReconciliationCompleted)
    assert (fact.reconciliation_id, fact.matched, fact.unmatched) == (made["id"], 1, 0)
    assert harness.runtime.telemetry.counters["reconciliation_items", "matched"] == 1


async def test_what_one_side_lacks_is_listed(harness: Harness) -> None:
    """A report that paid nothing and an entry without a report are unmatched, and the oldest of them is named."""
    await with_rail(harness)
    account = await harness.account(700)
    await paid_deposit(harness, account["id"], E1)
    harness.clock.advance(timedelta(hours=1))
    made = await deposit(harness, account["id"], 900)
    await harness.run_events(times=2)
    rail: Any = harness.runtime.rails["pix"]
    await callback(harness, report(rail.requested[-1][0], 901, E2))
    found = (await reconcile(harness)).json
    assert (found["matched"], found["unmatched"]) == (1, 2)
    assert [item["status"] for item in found["items"]] == ["unmatched_ledger", "unmatched_provider", "matched"]
    assert found["items"][0]["ledger"]["amount"]["value"] == 700
    assert found["items"][1]["provider"]["reference"] == E2
    assert found["oldest_unmatched_at"] == "2026-01-01T00:00:00.000000Z"
    assert made["status"] == "created"


async def test_a_period_has_only_its_movements(harness: Harness) -> None:
    """`from` is inclusive and `to` exclusive; a rail without movements has an empty reconciliation."""
    await harness.account(700)
    start = "2026-01-01T00:00:00Z"
    assert len((await reconcile(harness, to="2026-01-01T00:00:00.000001Z")).json["items"]) == 1
    assert (await reconcile(harness, **{"from": "2026-01-01T00:00:00.000001Z"})).json["items"] == []
    assert (await reconcile(harness, to=start)).json["items"] == []
    assert (await reconcile(harness, provider="card")).json["items"] == []
    edges = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}
    assert len((await reconcile(harness, **edges)).json["items"]) == 1


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"provider": "boleto"}, "/provider"),
        ({"from": "yesterday"}, "/from"),
        ({"to": "2025-01-01T00:00:00Z"}, "/to"),
        ({"note": "x"}, "/note"),
        ({"since": "2026-01-01T00:00:00Z"}, "/since"),
    ],
)
async def test_an_invalid_reconciliation_is_refused(harness: Harness, change: dict[str, Any], pointer: str) -> None:
    """An unknown provider or field, a text that is no time, and `to` before `from` are refused with 422."""
    answer = await reconcile(harness, **change)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert answer.json["errors"][0]["pointer"] == pointer


async def test_too_many_movements_are_refused() -> None:
    """A period with more movements than the bound is refused with the bound."""
    harness = Harness.make(settings=Settings(reconciliation_movements=2))
    await harness.tenant()
    account = await harness.account(100)
    await harness.fund(account["id"], 100)
    assert (await reconcile(harness)).status == 201
    await harness.fund(account["id"], 100)
    answer = await reconcile(harness)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert "more than 2 movements" in answer.json["detail"]


async def test_a_repeated_request_makes_one_reconciliation(harness: Harness) -> None:
    """The same request with the same key returns the same reconciliation; another tenant cannot read it, and its own
    has none of the movements."""
    await harness.account(700)
    answers = [await harness.call("POST", "/v1/reconciliations", DAY, key="again") for _ in range(2)]
    assert answers[0].body == answers[1].body
    await harness.tenant("other")
    theirs = await harness.call("GET", f"/v1/reconciliations/{answers[0].json['id']}", tenant="other")
    assert theirs.code == "not_found"
    assert (await harness.call("POST", "/v1/reconciliations", DAY, tenant="other")).json["items"] == []


async def test_the_first_entry_of_a_period_is_found_among_many(harness: Harness) -> None:
    """Whatever the number of older entries, exactly the entries of the period are compared."""
    account = await harness.account()
    for _ in range(13):
        await harness.fund(account["id"], 100)
        harness.clock.advance(timedelta(days=2))
    for day in range(0, 26, 2):
        start = f"2026-01-{day + 1:02d}T00:00:00Z"
        found = (await reconcile(harness, **{"from": start, "to": f"2026-01-{day + 2:02d}T00:00:00Z"})).json
        assert [item["ledger"]["at"][:10] for item in found["items"]] == [start[:10]]


# The rules, without a store


def movement(id: str, amount: int, hour: int = 0, reference: str | None = None) -> Movement:
    return Movement(id, amount, f"2026-01-{1 + hour // 24:02d}T{hour % 24:02d}:00:00.000000Z", reference)


def rules(found: Matched) -> list[tuple[str, list[str], str]]:
    return [(one.rule, [each.id for each in one.ledger], one.provider.id) for one in found.matches]


def test_an_amount_within_the_window_is_matched_when_it_is_the_only_one() -> None:
    """Without a reference, two movements of one amount are a pair if neither has another candidate; otherwise nothing
    is guessed."""
    one = match([movement("l", 5)], [movement("p", 5, 20)], WINDOW)
    assert rules(one) == [("amount", ["l"], "p")]
    late = match([movement("l", 5)], [movement("p", 5, 25)], WINDOW)
    assert rules(late) == []
    two = match([movement("l", 5), movement("m", 5)], [movement("p", 5)], WINDOW)
    assert rules(two) == []
    other = match([movement("l", 5, reference="E1")], [movement("p", 5, reference="E2")], WINDOW)
    assert rules(other) == []


def test_a_sum_of_several_movements_is_matched_when_it_is_the_only_one() -> None:
    """One movement of the provider pays several of the ledger when exactly one group of them has its amount."""
    found = match([movement("a", 5), movement("b", 7), movement("c", 100)], [movement("p", 12)], WINDOW)
    assert rules(found) == [("sum", ["a", "b"], "p")]
    assert [left.id for left in found.ledger] == ["c"]
    ambiguous = match([movement("a", 5), movement("b", 7), movement("c", 5)], [movement("p", 12)], WINDOW)
    assert rules(ambiguous) == []


references = st.sampled_from([None, "E1", "E2", "E3"])
movements = st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.integers(0, 60), references), max_size=12)


@given(movements, movements)
def test_every_movement_is_in_one_place(ledger: list[Any], provider: list[Any]) -> None:
    """Whatever the movements are, each is in one match or left over, amounts of a match are equal, and references never
    contradict."""
    ours = [movement(f"l{number}", *fields) for number, fields in enumerate(ledger)]
    theirs = [movement(f"p{number}", *fields) for number, fields in enumerate(provider)]
    found = match(ours, theirs, WINDOW)
    assert sorted([*found.ledger, *(each for one in found.matches for each in one.ledger)]) == sorted(ours)
    assert sorted([*found.provider, *(one.provider for one in found.matches)]) == sorted(theirs)
    for one in found.matches:
        assert sum(each.amount for each in one.ledger) == one.provider.amount
        assert all(len({each.reference, one.provider.reference} - {None}) <= 1 for each in one.ledger)
