"""Reconciliation of a provider's reports with its clearing account."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.reconciliations import MovementsMatched, ReconciliationCompleted
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


# Matches by hand


async def two_open(harness: Harness, ledger: int = 700, provider: int = 700) -> Any:
    """Make a reconciliation with one open movement of each side, two days apart."""
    await with_rail(harness)
    account = await harness.account(ledger)
    harness.clock.advance(timedelta(days=2))
    await deposit(harness, account["id"], 9)
    await harness.run_events(times=2)
    rail: Any = harness.runtime.rails["pix"]
    await callback(harness, report(rail.requested[-1][0], provider, E2))
    answer = await reconcile(harness, to="2026-01-05T00:00:00Z")
    assert (answer.json["matched"], answer.json["unmatched"]) == (0, 2)
    return answer.json


def chosen(made: Any, **change: Any) -> dict[str, Any]:
    """Return the request that matches all open movements of a reconciliation."""
    sides = {
        side: [item[side]["id"] for item in made["items"] if item["status"] == f"unmatched_{side}"]
        for side in ("ledger", "provider")
    }
    return {**sides, "reason": "paid in cash at the branch", **change}


async def match_by_hand(harness: Harness, made: Any, body: Any, **options: Any) -> Answer:
    """Send a manual match."""
    return await harness.call("POST", f"/v1/reconciliations/{made['id']}/match", body, **options)


async def test_an_operator_matches_with_a_reason(harness: Harness) -> None:
    """A manual match pairs open movements of equal sums, stores who did it and why, and publishes it; a later
    reconciliation shows the pair as matched by hand."""
    made = await two_open(harness)
    answer = await match_by_hand(harness, made, chosen(made))
    assert answer.status == 200, answer.body
    found = answer.json
    [item] = found["items"]
    assert (item["status"], item["rule"]) == ("matched", "manual")
    assert (item["manual"]["reason"], item["manual"]["client_id"]) == ("paid in cash at the branch", "harness")
    assert (found["matched"], found["unmatched"], found["oldest_unmatched_at"]) == (1, 0, None)
    assert found["automatic_share"] == 0
    assert (await harness.call("GET", f"/v1/reconciliations/{made['id']}")).json == found
    [fact] = harness.events_of(MovementsMatched)
    assert (fact.ledger, fact.provider) == ((item["ledger"]["id"],), (item["provider"]["id"],))
    assert harness.runtime.telemetry.counters["reconciliation_items", "manual"] == 1
    again = (await reconcile(harness, to="2026-01-05T00:00:00Z")).json
    assert [each["manual"] for each in again["items"]] == [item["manual"]]
    # The period has only one side of the pair.
    first_day = (await reconcile(harness)).json
    assert [each["rule"] for each in first_day["items"]] == ["manual"]


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"reason": ""}, "validation_failed", "/reason"),
        ({"ledger": []}, "validation_failed", "/provider"),
        ({"ledger": [], "provider": []}, "validation_failed", "/provider"),
        ({"ledger": ["ltr_1.0"]}, "unknown_reference", "/ledger/0"),
        ({"provider": ["x"] * 21}, "validation_failed", "/provider"),
        ({"note": "x"}, "validation_failed", "/note"),
    ],
)
async def test_an_invalid_match_is_refused(harness: Harness, change: Any, code: str, pointer: str) -> None:
    """A match without a reason, with different sums, or of movements that the reconciliation does not have, changes
    nothing."""
    made = await two_open(harness)
    answer = await match_by_hand(harness, made, chosen(made, **change))
    assert (answer.status, answer.code) == (422, code), answer.body
    assert answer.json["errors"][0]["pointer"] == pointer
    assert (await harness.call("GET", f"/v1/reconciliations/{made['id']}")).json["unmatched"] == 2


async def test_different_sums_are_not_matched(harness: Harness) -> None:
    """The refusal of a match whose sides differ states the difference; an id that is named twice is refused."""
    made = await two_open(harness, 700, 650)
    answer = await match_by_hand(harness, made, chosen(made))
    assert "differ by 50 minor units" in answer.json["detail"] + str(answer.json["errors"])
    body = chosen(made)
    body["ledger"] *= 2
    answer = await match_by_hand(harness, made, body)
    assert (answer.code, answer.json["errors"][0]["pointer"]) == ("validation_failed", "/ledger/1")


async def test_a_movement_is_matched_once(harness: Harness) -> None:
    """A movement that is matched, here or in another reconciliation, is refused with 409; another tenant's
    reconciliation is not found."""
    made = await two_open(harness)
    other = (await reconcile(harness, to="2026-01-05T00:00:00Z")).json
    body = chosen(made)
    assert (await match_by_hand(harness, made, body)).status == 200
    for again in (made, other):
        answer = await match_by_hand(harness, again, body)
        assert (answer.status, answer.code) == (409, "illegal_state")
    await harness.tenant("other")
    assert (await match_by_hand(harness, made, body, tenant="other")).code == "not_found"


async def test_matches_at_the_same_time_are_one(harness: Harness) -> None:
    """Two operators who match the same movements at the same time in two reconciliations make one match."""
    made = await two_open(harness)
    other = (await reconcile(harness, to="2026-01-05T00:00:00Z")).json
    answers = await asyncio.gather(*(match_by_hand(harness, each, chosen(made)) for each in (made, other)))
    assert sorted(answer.status for answer in answers) == [200, 409]
    assert len(harness.events_of(MovementsMatched)) == 1


async def test_what_is_open_has_an_age(harness: Harness) -> None:
    """A reconciliation shows the number and sum of its open movements by age in days, at the time of the request."""
    made = await two_open(harness, 700, 650)

    async def counts() -> list[tuple[int, int]]:
        found = (await harness.call("GET", f"/v1/reconciliations/{made['id']}")).json
        assert [(each["from_days"], each["to_days"]) for each in found["ageing"]] == [
            (0, 1),
            (1, 3),
            (3, 7),
            (7, 30),
            (30, None),
        ]
        return [(each["count"], each["amount"]["value"]) for each in found["ageing"]]

    assert await counts() == [(1, 650), (1, 700), (0, 0), (0, 0), (0, 0)]
    harness.clock.advance(timedelta(days=2))
    assert await counts() == [(0, 0), (1, 650), (1, 700), (0, 0), (0, 0)]
    harness.clock.advance(timedelta(days=90))
    assert await counts() == [(0, 0), (0, 0), (0, 0), (0, 0), (2, 1350)]


async def test_the_share_of_automatic_matches_is_a_metric(harness: Harness) -> None:
    """The metric has the share of items that the rules matched, of the newest reconciliation of the provider."""
    await with_rail(harness)
    account = await harness.account(700)
    await paid_deposit(harness, account["id"], E1)
    found = (await reconcile(harness)).json
    assert found["automatic_share"] == 0.5
    assert harness.runtime.telemetry.gauges["reconciliation_automatic_share", "pix"] == 0.5
    assert (await reconcile(harness, provider="card")).json["automatic_share"] is None


# The rules, without a store


def movement(id: str, amount: int, hour: int = 0, reference: str | None = None) -> Movement:
    return Movement(id, amount, f"2026-01-{1 + hour // 24:02d}T{hour % 24:02d}:00:00.000000Z", reference)


def rules(found: Matched) -> list[tuple[Any, ...]]:
    return [(one.rule, *([each.id for each in side] for side in (one.ledger, one.provider))) for one in found.matches]


def test_an_amount_within_the_window_is_matched_when_it_is_the_only_one() -> None:
    """Without a reference, two movements of one amount are a pair if neither has another candidate; otherwise nothing
    is guessed."""
    one = match([movement("l", 5)], [movement("p", 5, 20)], WINDOW)
    assert rules(one) == [("amount", ["l"], ["p"])]
    late = match([movement("l", 5)], [movement("p", 5, 25)], WINDOW)
    assert rules(late) == []
    two = match([movement("l", 5), movement("m", 5)], [movement("p", 5)], WINDOW)
    assert rules(two) == []
    other = match([movement("l", 5, reference="E1")], [movement("p", 5, reference="E2")], WINDOW)
    assert rules(other) == []


def test_a_sum_of_several_movements_is_matched_when_it_is_the_only_one() -> None:
    """One movement of a side matches several of the other when exactly one group of them has its amount."""
    found = match([movement("a", 5), movement("b", 7), movement("c", 100)], [movement("p", 12)], WINDOW)
    assert rules(found) == [("sum", ["a", "b"], ["p"])]
    assert [left.id for left in found.ledger] == ["c"]
    parts = match([movement("l", -12)], [movement("p", -5), movement("q", -7), movement("r", 12)], WINDOW)
    assert rules(parts) == [("sum", ["l"], ["p", "q"])]
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
    assert sorted([*found.provider, *(each for one in found.matches for each in one.provider)]) == sorted(theirs)
    for one in found.matches:
        assert sum(each.amount for each in one.ledger) == sum(each.amount for each in one.provider)
        pairs = [(one_side, other) for one_side in one.ledger for other in one.provider]
        assert all(len({mine.reference, other.reference} - {None}) <= 1 for mine, other in pairs)
