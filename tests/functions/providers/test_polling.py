"""Payments that a provider did not report are found at the provider, and count once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.charges import ChargeExpired, ChargePaid, PaymentUnmatched
from events.sweeps import Tick
from functions.providers import expire_pix_charges
from functions.providers.poll_payments import MAX_WINDOWS, OVERLAP_SECONDS, REPORT_SECONDS, WINDOW_SECONDS
from shared.core.clock import format_time, parse_time
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.rail import RailRefused
from shared.records.charges import RECEIPTS
from shared.records.provider_cursors import PROVIDER_CURSORS
from tests.functions.providers.charges import TXID, asked, charge, shown, suspended, sweep
from tests.functions.providers.rail import (
    END_TO_END,
    OTHER_END_TO_END,
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


async def poll(harness: Harness, *, seconds: float = 0) -> None:
    """Move the clock, deliver the tick that reads payments, and then all events."""
    harness.clock.advance(timedelta(seconds=seconds))
    tick = harness.envelope(Tick(schedule="poll_payments"), tenant=PLATFORM)
    assert (await harness.deliver("providers/poll_payments", tick)).status == 204
    await harness.run_events(times=2)


async def read_until(harness: Harness) -> str | None:
    cursor = await harness.documents.get(PROVIDER_CURSORS, PLATFORM, "pix")
    return None if cursor is None else cursor["read_until"]


def now(harness: Harness, seconds: float = 0) -> str:
    return format_time(harness.clock.now() + timedelta(seconds=seconds))


async def test_a_payment_that_was_never_reported_is_found(harness: Harness, rail: RecordingRail) -> None:
    """A minute after a payment that was not reported, its charge is paid and its deposit credited, once; a report that
    arrives afterwards changes nothing."""
    account = await harness.account()
    made = await charge(harness, account["id"])
    await deposit(harness, account["id"], 70)
    await harness.run_events()
    rail.unreported = [
        report(rail.orders[0].reference, horario=now(harness)),
        report(rail.requested[0][0], 70, OTHER_END_TO_END, horario=now(harness)),
    ]
    await poll(harness, seconds=REPORT_SECONDS - 1)
    assert (await shown(harness, made["txid"]))["status"] == "active"
    for _ in range(3):
        await poll(harness, seconds=1)
    await callback(harness, *rail.unreported)
    await harness.run_events()
    assert (await shown(harness, made["txid"]))["end_to_end_id"] == END_TO_END
    assert await harness.balance(account["id"]) == (1120, 0, 1120)
    assert len(harness.events_of(ChargePaid)) == 2


async def test_each_tick_continues_where_the_last_one_ended(harness: Harness, rail: RecordingRail) -> None:
    """A tick reads what has passed since the previous one, with an overlap; after an outage it reads all of it, window
    by window."""
    rail.unreported = [report(None, horario="2020-01-01T00:00:00Z")]
    await poll(harness)
    assert await read_until(harness) == now(harness, -REPORT_SECONDS)
    rail.periods.clear()
    await poll(harness, seconds=60)
    ((since, until),) = rail.periods
    assert (until - since).total_seconds() == 60 + OVERLAP_SECONDS
    rail.outcome = Unavailable("down")
    await poll(harness, seconds=3600)
    rail.outcome = None
    rail.periods.clear()
    await poll(harness)
    assert [second[0] for second in rail.periods[1:]] == [first[1] for first in rail.periods[:-1]]
    assert sum((until - since).total_seconds() for since, until in rail.periods) == 3600 + OVERLAP_SECONDS
    assert await read_until(harness) == now(harness, -REPORT_SECONDS)


async def test_a_tick_reads_a_bounded_number_of_windows(harness: Harness, rail: RecordingRail) -> None:
    """After a long outage a tick reads a bounded number of windows, and the next one continues."""
    rail.unreported = [report(None, horario="2020-01-01T00:00:00Z")]
    await poll(harness)
    rail.periods.clear()
    await poll(harness, seconds=2 * MAX_WINDOWS * WINDOW_SECONDS)
    assert len(rail.periods) == MAX_WINDOWS
    await poll(harness)
    await poll(harness)
    assert await read_until(harness) == now(harness, -REPORT_SECONDS)


@pytest.mark.parametrize("outcome", [Unavailable("down"), RailRefused("ConsultaInvalida", "no")])
async def test_a_provider_that_does_not_answer_is_asked_again(
    harness: Harness, rail: RecordingRail, outcome: Unavailable | RailRefused
) -> None:
    """While the provider does not answer, nothing counts as read."""
    rail.outcome = outcome
    await poll(harness)
    assert await read_until(harness) is None


async def test_without_a_provider_nothing_is_read(harness: Harness, rail: RecordingRail) -> None:
    """Without a configured provider, the tick does nothing."""
    await poll(harness)
    assert (rail.periods, await read_until(harness)) == ([], None)


async def test_a_payment_of_a_charge_in_creation_is_read_again(harness: Harness, rail: RecordingRail) -> None:
    """A payment whose charge is not stored yet is read until the charge is stored, and then pays it."""
    account = await harness.account()
    rail.outcome = Unavailable("the answer is lost")
    await asked(harness, account["id"], txid=TXID)
    rail.outcome = None
    paid_at = now(harness)
    rail.unreported = [report(rail.orders[0].reference, horario=paid_at)]
    await poll(harness, seconds=REPORT_SECONDS)
    await poll(harness, seconds=REPORT_SECONDS)
    assert await read_until(harness) == paid_at
    await charge(harness, account["id"], txid=TXID)
    await poll(harness, seconds=REPORT_SECONDS)
    assert (await shown(harness, TXID))["status"] == "paid"
    assert parse_time(str(await read_until(harness))) > parse_time(paid_at)


async def test_an_unknown_payment_is_stored_once(harness: Harness, rail: RecordingRail) -> None:
    """A payment that belongs to no charge, such as one of a static code, is stored for the platform."""
    rail.unreported = [report(None, horario=now(harness))]
    for _ in range(2):
        await poll(harness, seconds=REPORT_SECONDS)
    receipt = await harness.documents.get(RECEIPTS, PLATFORM, f"pix:{END_TO_END}")
    assert receipt is not None
    assert receipt["reason"] == "unknown_charge"


async def test_an_overdue_charge_that_was_paid_is_credited(harness: Harness, rail: RecordingRail) -> None:
    """Before a charge expires, the provider is asked for it: a payment that was made in time pays it, and a wrong one
    is suspended while the charge expires."""
    account = await harness.account()
    first, second = [await charge(harness, account["id"], expires_in=60) for _ in range(2)]
    rail.unreported = [
        report(rail.orders[0].reference, horario=now(harness)),
        report(rail.orders[1].reference, 7, OTHER_END_TO_END, horario=now(harness)),
    ]
    harness.clock.advance(timedelta(seconds=61))
    await sweep(harness)
    statuses = [(await shown(harness, made["txid"]))["status"] for made in (first, second)]
    assert statuses == ["paid", "expired"]
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (7, 1050)
    assert [fact.charge_id for fact in harness.events_of(ChargeExpired)] == [second["txid"]]


async def test_charges_whose_payment_is_being_recorded_delay_no_other(
    harness: Harness, rail: RecordingRail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many overdue charges wait for the ledger, the sweep expires those that were not paid."""
    monkeypatch.setattr(expire_pix_charges, "MAX_OVERDUE", 1)
    account = await harness.account()
    paid, unpaid = [await charge(harness, account["id"], expires_in=seconds) for seconds in (60, 61)]
    assert (await callback(harness, report(rail.orders[0].reference))).status == 200
    harness.clock.advance(timedelta(seconds=62))
    await sweep(harness)
    assert (await shown(harness, paid["txid"]))["status"] == "paid"
    assert [fact.charge_id for fact in harness.events_of(ChargeExpired)] == [unpaid["txid"]]


async def test_a_charge_that_the_provider_removed(harness: Harness, rail: RecordingRail) -> None:
    """An overdue charge that the provider has removed becomes removed, without a fact of its expiry; a payment of it is
    suspended."""
    account = await harness.account()
    made = await charge(harness, account["id"], expires_in=60)
    rail.removed = {rail.orders[0].reference}
    harness.clock.advance(timedelta(seconds=61))
    await sweep(harness)
    assert (await shown(harness, made["txid"]))["status"] == "removed"
    assert harness.events_of(ChargeExpired) == []
    await callback(harness, report(rail.orders[0].reference))
    await harness.run_events()
    assert [fact.reason for fact in harness.events_of(PaymentUnmatched)] == ["charge_over"]


async def test_a_charge_expires_without_the_providers_answer(harness: Harness, rail: RecordingRail) -> None:
    """Charges expire while the provider does not answer; it is asked once in a sweep."""
    account = await harness.account()
    charges = [await charge(harness, account["id"], expires_in=60) for _ in range(3)]
    rail.outcome = Unavailable("down")
    harness.clock.advance(timedelta(seconds=61))
    await sweep(harness)
    assert {(await shown(harness, made["txid"]))["status"] for made in charges} == {"expired"}
