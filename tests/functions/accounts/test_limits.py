"""Limits of the payments from an account: per payment, per day and per night in São Paulo."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.holds import FundsRefused
from functions.accounts._limits import changed_limit, in_force, pending_raises
from functions.accounts._usage import Periods, periods_of
from shared.core.clock import format_time
from shared.ports.documents import Query
from shared.records.accounts import ACCOUNTS, HOLDS, USAGES, LimitDocument
from tests.harness import Answer, Harness

DAY = timedelta(days=1)
AT_NOON = timedelta(hours=15)
"""From the harness's begin, midnight UTC, to noon in São Paulo."""
NONE: dict[str, Any] = {"per_payment": None, "per_day": None, "per_night": None, "pending": []}


async def patch(harness: Harness, account_id: str, body: Any, **options: Any) -> Answer:
    """Request a change of an account."""
    return await harness.call("PATCH", f"/v1/accounts/{account_id}", body, **options)


async def limited(harness: Harness, funds: int = 10_000, **limits: int | None) -> tuple[str, str]:
    """Open a payer with these limits and a balance, and a payee."""
    payer = (await harness.account(funds, limits=limits))["id"]
    return payer, (await harness.account())["id"]


async def paid(harness: Harness, payer: str, payee: str, value: int, **fields: Any) -> tuple[str, str | None]:
    """Pay and return the payment's status and failure code."""
    payment_id = (await harness.pay(payer, payee, value, **fields))["id"]
    await harness.run_events()
    payment = await harness.payment(payment_id)
    return payment["status"], None if payment["failure"] is None else payment["failure"]["code"]


SETTLED, EXCEEDED = ("settled", None), ("declined", "limit_exceeded")


async def test_limits_of_a_new_account_are_in_force_at_once(harness: Harness) -> None:
    """The account shows its limits, with null for those that were not given; an account without limits shows null."""
    account = await harness.account(limits={"per_payment": 500, "per_night": 0})
    assert account["limits"] == {"per_payment": 500, "per_day": None, "per_night": 0, "pending": []}
    assert (await harness.call("GET", f"/v1/accounts/{account['id']}")).json == account
    for limits in (None, {}, {"per_day": None}):
        assert (await harness.account(limits=limits))["limits"] is None


async def test_a_payment_above_its_limit_is_declined(harness: Harness) -> None:
    """The limit itself can be paid, one minor unit more is declined as `limit_exceeded`, and nothing stays held."""
    payer, payee = await limited(harness, per_payment=500)
    assert await paid(harness, payer, payee, 500) == SETTLED
    assert await paid(harness, payer, payee, 501) == EXCEEDED
    assert await paid(harness, payer, payee, 500) == SETTLED
    assert await harness.balance(payer) == (9_000, 0, 9_000)


async def test_payments_of_a_day_are_counted(harness: Harness) -> None:
    """The payments of one day in São Paulo count together, from midnight to midnight, holds included."""
    payer, payee = await limited(harness, per_day=1_000)
    harness.clock.advance(AT_NOON)
    assert await paid(harness, payer, payee, 600) == SETTLED
    assert await paid(harness, payer, payee, 400, capture="manual") == ("authorized", None)
    assert await paid(harness, payer, payee, 1) == EXCEEDED
    harness.clock.advance(timedelta(hours=11, minutes=59))
    assert await paid(harness, payer, payee, 1) == EXCEEDED
    harness.clock.advance(timedelta(minutes=1))
    assert await paid(harness, payer, payee, 1_000) == SETTLED


async def test_payments_of_a_night_are_counted(harness: Harness) -> None:
    """The payments from 20:00 to 06:00 count together over midnight; those by day do not count, and night's count in
    the day too."""
    payer, payee = await limited(harness, per_night=1_000, per_day=5_000)
    harness.clock.advance(AT_NOON)
    assert await paid(harness, payer, payee, 4_000) == SETTLED
    harness.clock.advance(timedelta(hours=8))
    assert await paid(harness, payer, payee, 600) == SETTLED
    assert await paid(harness, payer, payee, 401) == EXCEEDED
    harness.clock.advance(timedelta(hours=9, minutes=59))
    assert await paid(harness, payer, payee, 401) == EXCEEDED
    assert await paid(harness, payer, payee, 400) == SETTLED
    harness.clock.advance(timedelta(minutes=1))
    assert await paid(harness, payer, payee, 4_600) == SETTLED


@pytest.mark.parametrize(
    ("time", "day", "night"),
    [
        ("2026-03-01T08:59:59+00:00", "2026-03-01", "2026-02-28"),
        ("2026-03-01T09:00:00+00:00", "2026-03-01", ""),
        ("2026-03-01T22:59:59+00:00", "2026-03-01", ""),
        ("2026-03-01T23:00:00+00:00", "2026-03-01", "2026-03-01"),
        ("2026-03-02T02:59:59+00:00", "2026-03-01", "2026-03-01"),
        ("2026-03-02T03:00:00+00:00", "2026-03-02", "2026-03-01"),
        # Summer time, which Brazil had until 2019: the clock was two hours behind UTC.
        ("2019-01-15T22:00:00+00:00", "2019-01-15", "2019-01-15"),
    ],
)
def test_days_and_nights_are_those_of_sao_paulo(time: str, day: str, night: str) -> None:
    """A day ends at midnight in São Paulo, and a night, from 20:00 to 06:00, has the date on which it began."""
    assert periods_of(datetime.fromisoformat(time)) == Periods(day, night)


async def test_what_is_released_counts_no_more(harness: Harness) -> None:
    """A canceled payment, and the part that was not captured, can be paid again on the same day; a refund is not
    given back."""
    payer, payee = await limited(harness, per_day=1_000, per_night=1_000)
    canceled = (await harness.pay(payer, payee, 1_000, capture="manual"))["id"]
    await harness.run_events()
    assert await paid(harness, payer, payee, 1) == EXCEEDED
    await harness.call("POST", f"/v1/payments/{canceled}/cancel")
    await harness.run_events()
    captured = (await harness.pay(payer, payee, 1_000, capture="manual"))["id"]
    await harness.run_events()
    await harness.call("POST", f"/v1/payments/{captured}/capture", {"amount": {"value": 300, "currency": "BRL"}})
    await harness.run_events()
    assert await paid(harness, payer, payee, 701) == EXCEEDED
    assert await paid(harness, payer, payee, 700) == SETTLED
    await harness.call("POST", f"/v1/payments/{captured}/refunds")
    await harness.run_events()
    assert await paid(harness, payer, payee, 1) == EXCEEDED


async def test_a_release_on_another_day_changes_no_count(harness: Harness) -> None:
    """A hold of yesterday that is released today does not lower what is counted today."""
    payer, payee = await limited(harness, per_day=1_000)
    harness.clock.advance(AT_NOON)
    held = (await harness.pay(payer, payee, 1_000, capture="manual"))["id"]
    await harness.run_events()
    harness.clock.advance(DAY)
    assert await paid(harness, payer, payee, 1_000) == SETTLED
    await harness.call("POST", f"/v1/payments/{held}/cancel")
    await harness.run_events()
    assert await paid(harness, payer, payee, 1) == EXCEEDED


async def test_refunds_and_deposits_are_not_limited(harness: Harness) -> None:
    """An account with limits of 0 does not pay, and it refunds and receives."""
    payer, payee = (await harness.account(1_000))["id"], (await harness.account())["id"]
    payment_id = (await harness.pay(payer, payee, 500))["id"]
    await harness.run_events()
    await patch(harness, payee, {"limits": {"per_payment": 0, "per_day": 0, "per_night": 0}})
    assert await paid(harness, payee, payer, 1) == EXCEEDED
    refund = (await harness.call("POST", f"/v1/payments/{payment_id}/refunds")).json["id"]
    await harness.run_events()
    assert (await harness.call("GET", f"/v1/refunds/{refund}")).json["status"] == "settled"
    assert await paid(harness, payer, payee, 100) == SETTLED


async def test_a_reduction_is_in_force_at_once_and_a_raise_after_a_day(harness: Harness) -> None:
    """The raise is shown as pending with its time, and payments follow the limit in force."""
    payer, payee = await limited(harness, per_payment=500)
    answer = await patch(harness, payer, {"limits": {"per_payment": 800}})
    assert answer.status == 200
    pending = {"limit": "per_payment", "value": 800, "effective_at": "2026-01-02T00:00:00.000000Z"}
    assert answer.json["limits"] == {**NONE, "per_payment": 500, "pending": [pending]}
    assert await paid(harness, payer, payee, 501) == EXCEEDED
    harness.clock.advance(DAY - timedelta(microseconds=1))
    assert await paid(harness, payer, payee, 501) == EXCEEDED
    harness.clock.advance(timedelta(microseconds=1))
    assert await paid(harness, payer, payee, 800) == SETTLED
    shown = (await harness.call("GET", f"/v1/accounts/{payer}")).json["limits"]
    assert shown == {**NONE, "per_payment": 800}
    assert (await patch(harness, payer, {"limits": {"per_payment": 100}})).json["limits"]["per_payment"] == 100
    assert await paid(harness, payer, payee, 101) == EXCEEDED


async def test_a_new_limit_is_a_reduction_and_its_removal_a_raise(harness: Harness) -> None:
    """A limit where there was none is in force at once; null removes a limit after a day; others stay."""
    payer, payee = await limited(harness)
    answer = await patch(harness, payer, {"limits": {"per_day": 300, "per_payment": 200}})
    assert answer.json["limits"] == {**NONE, "per_day": 300, "per_payment": 200}
    assert await paid(harness, payer, payee, 201) == EXCEEDED
    removed = (await patch(harness, payer, {"limits": {"per_payment": None}})).json["limits"]
    assert (removed["per_payment"], removed["per_day"]) == (200, 300)
    assert removed["pending"][0]["value"] is None
    harness.clock.advance(DAY)
    assert await paid(harness, payer, payee, 300) == SETTLED
    assert await paid(harness, payer, payee, 1) == EXCEEDED


LIMITS = st.none() | st.integers(0, 5)
REQUESTS = st.lists(st.tuples(st.integers(0, 30 * 60), LIMITS), max_size=9)


@given(first=LIMITS, requests=REQUESTS, wait=st.integers(0, 50 * 60))
def test_a_limit_is_the_least_of_what_was_requested_in_a_day(
    first: int | None, requests: list[tuple[int, int | None]], wait: int
) -> None:
    """At any time, the limit in force is the least that was requested at any moment of the last 24 hours."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    limit: LimitDocument = {"value": first, "raises": []}
    targets = [(now - 2 * DAY, first)]
    for minutes, value in requests:
        now += timedelta(minutes=minutes)
        limit = changed_limit(limit, value, now)
        targets.append((now, value))
    now += timedelta(minutes=wait)
    latest_before = max(number for number, (since, _) in enumerate(targets) if since <= now - DAY)
    sizes = [float("inf") if value is None else value for _, value in targets[latest_before:]]
    found = in_force(limit, format_time(now))
    assert (float("inf") if found is None else found) == min(sizes)


def test_the_raises_that_wait_are_bounded() -> None:
    """Many growing requests leave ten raises at most, the last of them with the last request."""
    now, limit = datetime(2026, 1, 1, tzinfo=UTC), LimitDocument(value=0, raises=[])
    for value in range(1, 40):
        now += timedelta(minutes=1)
        limit = changed_limit(limit, value, now)
    waiting = pending_raises(limit, format_time(now))
    assert len(waiting) == 10
    assert waiting[-1] == {"value": 39, "effective_at": format_time(now + DAY)}


async def test_payments_at_once_do_not_pass_a_limit_together(crowded: Harness) -> None:
    """Of ten concurrent payments of 300 with a limit of 1,000 a day three are paid."""
    payer, payee = await limited(crowded, per_day=1_000)
    for _ in range(10):
        await crowded.pay(payer, payee, 300)
    await crowded.run_events(together=True, times=2)
    assert crowded.undelivered == []
    assert await crowded.balance(payer) == (9_100, 0, 9_100)
    assert [fact.failure.code for fact in crowded.events_of(FundsRefused)].count("limit_exceeded") >= 7
    usage = await crowded.documents.get(USAGES, "acme", payer)
    assert usage is not None
    assert usage["day_used"] == 900


BETWEEN_CLOCKS = timedelta(milliseconds=200)


async def test_a_day_that_another_clock_has_begun_is_not_begun_again(harness: Harness) -> None:
    """At midnight, a payment through a process whose clock is behind counts in the day that another process has begun,
    and the limit of that day holds for all of them."""
    payer, payee = await limited(harness, per_day=1_000)
    harness.clock.advance(timedelta(hours=3) + BETWEEN_CLOCKS / 2)
    assert await paid(harness, payer, payee, 900) == SETTLED
    harness.clock.jump(-BETWEEN_CLOCKS)
    assert await paid(harness, payer, payee, 101) == EXCEEDED
    assert await paid(harness, payer, payee, 60) == SETTLED
    harness.clock.jump(BETWEEN_CLOCKS)
    assert await paid(harness, payer, payee, 41) == EXCEEDED
    assert await paid(harness, payer, payee, 40) == SETTLED


@pytest.mark.parametrize(("hours", "first"), [(23, BETWEEN_CLOCKS / 2), (33, -BETWEEN_CLOCKS / 2)])
async def test_a_night_that_another_clock_is_in_is_not_begun_again(
    harness: Harness, hours: int, first: timedelta
) -> None:
    """When a night begins and when it ends, a payment through a process for which it is day does not let the night
    begin again for a process whose clock is still, or already, in it."""
    payer, payee = await limited(harness, per_night=1_000)
    harness.clock.advance(timedelta(hours=hours) + first)
    assert await paid(harness, payer, payee, 900) == SETTLED
    harness.clock.jump(-2 * first)
    assert await paid(harness, payer, payee, 50) == SETTLED
    harness.clock.jump(2 * first)
    assert await paid(harness, payer, payee, 101) == EXCEEDED


async def test_a_clock_that_is_far_ahead_does_not_stop_an_account(harness: Harness) -> None:
    """A day that a process has begun whose clock was hours fast is left, as its clock is right again."""
    payer, payee = await limited(harness, per_day=1_000)
    harness.clock.jump(timedelta(days=400))
    assert await paid(harness, payer, payee, 1_000) == SETTLED
    harness.clock.jump(-timedelta(days=400))
    assert await paid(harness, payer, payee, 1_000) == SETTLED


async def test_a_reduction_holds_for_a_payment_that_is_being_decided(harness: Harness) -> None:
    """When the limit is reduced between the reads and the commit of a hold, the hold is decided again."""
    payer, payee = await limited(harness, per_payment=500)
    payment_id = (await harness.pay(payer, payee, 400))["id"]
    documents = harness.runtime.documents

    class ReducedBefore:
        def __getattr__(self, name: str) -> Any:
            return getattr(documents, name)

        async def commit(self, commit: Any) -> None:
            harness.runtime.documents = documents
            assert (await patch(harness, payer, {"limits": {"per_payment": 100}})).status == 200
            await documents.commit(commit)

    harness.runtime.documents = ReducedBefore()
    await harness.step("accounts/hold_funds")
    await harness.run_events()
    assert (await harness.payment(payment_id))["failure"]["code"] == "limit_exceeded"


async def test_a_payment_that_is_short_of_funds_is_not_counted(harness: Harness) -> None:
    """A payment that is declined for another reason uses nothing of a limit."""
    payer, payee = await limited(harness, 500, per_day=500)
    assert await paid(harness, payer, payee, 501) == ("declined", "insufficient_funds")
    assert await paid(harness, payer, payee, 500) == SETTLED


async def test_the_overdraft_limit_and_metadata_are_changed(harness: Harness) -> None:
    """The overdraft is available at once; it is not lowered below what is used; null metadata is removed."""
    account = await harness.account(metadata={"a": "b"})
    payee = (await harness.account())["id"]
    answer = await patch(harness, account["id"], {"overdraft_limit": 700, "metadata": {"c": "d"}})
    assert (answer.json["overdraft_limit"], answer.json["metadata"]) == (700, {"c": "d"})
    assert await harness.balance(account["id"]) == (0, 0, 700)
    assert await paid(harness, account["id"], payee, 300) == SETTLED
    assert (await paid(harness, account["id"], payee, 200, capture="manual"))[0] == "authorized"
    refused = await patch(harness, account["id"], {"overdraft_limit": 499})
    assert (refused.status, refused.code) == (409, "illegal_state")
    lowered = await patch(harness, account["id"], {"overdraft_limit": 500, "metadata": None})
    assert (lowered.status, lowered.json["metadata"]) == (200, None)
    assert await harness.balance(account["id"]) == (-300, 200, 0)


@pytest.mark.parametrize(
    "body", [{}, {"limits": None}, {"limits": {}}, {"overdraft_limit": None}, {"overdraft_limit": 0}]
)
async def test_a_change_to_the_same_values_is_none(harness: Harness, body: Any) -> None:
    """When nothing differs, the account is returned as it is."""
    account = await harness.account()
    harness.clock.advance(DAY)
    answer = await patch(harness, account["id"], body)
    assert (answer.status, answer.json) == (200, account)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"limits": {"per_day": -1}}, "/limits/per_day"),
        ({"limits": {"per_day": 2**63}}, "/limits/per_day"),
        ({"limits": {"per_day": 1.5}}, "/limits/per_day"),
        ({"limits": {"per_day": "5"}}, "/limits/per_day"),
        ({"limits": {"per_week": 5}}, "/limits/per_week"),
        ({"limits": 5}, "/limits"),
        ({"overdraft_limit": -1}, "/overdraft_limit"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"currency": "USD"}, "/currency"),
        ({"status": "closed"}, "/status"),
    ],
)
async def test_an_invalid_field_is_refused(harness: Harness, body: Any, pointer: str) -> None:
    """An invalid field, and one that cannot be changed, is answered with 422 and a pointer, and nothing changes."""
    account = await harness.account()
    answer = await patch(harness, account["id"], body)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert (await harness.call("GET", f"/v1/accounts/{account['id']}")).json == account


async def test_a_closed_account_is_not_changed(harness: Harness) -> None:
    """A closed account is answered with 409, and a blocked one is changed."""
    account = (await harness.account())["id"]
    await harness.call("POST", f"/v1/accounts/{account}/block")
    assert (await patch(harness, account, {"limits": {"per_day": 5}})).status == 200
    await harness.call("POST", f"/v1/accounts/{account}/close")
    assert (await patch(harness, account, {"limits": {"per_day": 1}})).code == "illegal_state"


async def test_changes_at_once_are_all_made(crowded: Harness) -> None:
    """Concurrent changes of several limits lose none of them."""
    account = (await crowded.account())["id"]
    names = ("per_payment", "per_day", "per_night")
    answers = await asyncio.gather(*(patch(crowded, account, {"limits": {name: 5}}) for name in names))
    assert {answer.status for answer in answers} == {200}
    limits = (await crowded.call("GET", f"/v1/accounts/{account}")).json["limits"]
    assert limits == {**dict.fromkeys(names, 5), "pending": []}


async def test_another_tenants_account_is_not_found(harness: Harness) -> None:
    """Another tenant's account is answered as an unknown one, and stays as it is; the scope is `accounts:write`."""
    account = await harness.account()
    await harness.tenant("rival")
    for id in (account["id"], "acc_0"):
        answer = await patch(harness, id, {"limits": {"per_day": 1}}, tenant="rival")
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await patch(harness, account["id"], {}, scopes=["accounts:read"])).code == "insufficient_scope"
    assert (await harness.call("GET", f"/v1/accounts/{account['id']}")).json == account


async def test_an_account_and_a_hold_of_an_earlier_version(harness: Harness) -> None:
    """A stored account and hold without the fields of this version are shown, paid from, released and limited."""
    payer, payee = (await harness.account(1_000))["id"], (await harness.account())["id"]
    payment_id = (await harness.pay(payer, payee, 400, capture="manual"))["id"]
    await harness.run_events()
    await harness.forget(ACCOUNTS, payer, "limits")
    for hold in await harness.documents.find(HOLDS, "acme", Query()):
        await harness.forget(HOLDS, hold["id"], "limited")
    assert (await harness.call("GET", f"/v1/accounts/{payer}")).json["limits"] is None
    assert (await patch(harness, payer, {"limits": {"per_day": 100}})).status == 200
    await harness.call("POST", f"/v1/payments/{payment_id}/cancel")
    await harness.run_events()
    assert await paid(harness, payer, payee, 101) == EXCEEDED
    assert await paid(harness, payer, payee, 100) == SETTLED
