"""Payments out whose end or return was not reported are found in the provider's list, and count once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from events.payments.returned import PaymentReturned
from events.sweeps import Tick
from functions.providers._listed_payments import WINDOW, next_round
from functions.providers.poll_payments import MAX_WINDOWS, OVERLAP_SECONDS, REPORT_SECONDS, WINDOW_SECONDS
from shared.adapters.bank_transfer.reports import reports_of
from shared.core.clock import ManualClock, format_time
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.rail_payments import RailReport
from shared.records.provider_cursors import PROVIDER_CURSORS
from shared.records.system_accounts import clearing_account
from tests.functions.providers import bank as partner
from tests.functions.providers.bank import RecordingBank, with_bank
from tests.functions.providers.rail import RecordingPayments, pay_out, payment_callback, sent_return, with_payments
from tests.harness import Harness

RETURN_DAYS = 90


@pytest.fixture
async def bank(harness: Harness) -> RecordingBank:
    """The partner bank of the harness."""
    return await with_bank(harness)


@pytest.fixture
async def pix(harness: Harness) -> RecordingPayments:
    """The PIX provider of the harness, which lists its payments."""
    provider = await with_payments(harness)
    provider.is_configured = True
    return provider


async def poll(harness: Harness, *, seconds: float = 0, ticks: int = 1) -> None:
    """Move the clock before each of the ticks that read payments, and then deliver all events."""
    for _ in range(ticks):
        harness.clock.advance(timedelta(seconds=seconds))
        tick = harness.envelope(Tick(schedule="poll_payments"), tenant=PLATFORM)
        assert (await harness.deliver("providers/poll_payments", tick)).status == 204
    await harness.run_events(times=2)


def changed(harness: Harness, reference: str, status: str) -> RailReport:
    """Return what the bank lists of a transfer that has changed now."""
    found = partner.report(reference, status, updated_at=format_time(harness.clock.now()))
    return reports_of([found])[0]


async def read_until(harness: Harness, name: str) -> str | None:
    cursor = await harness.documents.get(PROVIDER_CURSORS, PLATFORM, f"{name}:payments")
    return None if cursor is None else cursor["read_until"]


async def test_a_bank_return_that_was_never_reported_is_found(harness: Harness, bank: RecordingBank) -> None:
    """A minute after a transfer came back without a callback, the payer has the money, once; a callback and a file that
    come later change nothing."""
    payer = (await harness.account(10_000))["id"]
    payment = await partner.ordered(harness, payer)
    reference = bank.orders[0].reference
    await partner.told(harness, partner.report(reference, "settled"))
    await harness.run_events()
    bank.changes = [changed(harness, reference, "settled"), changed(harness, reference, "returned")]
    await poll(harness, seconds=REPORT_SECONDS - 1)
    assert (await harness.payment(payment["id"]))["amount_refunded"]["value"] == 0
    await poll(harness, seconds=1, ticks=3)
    await partner.told(harness, partner.report(reference, "returned"))
    await partner.file(harness, partner.line(reference, "returned"))
    await harness.run_events()
    assert (await harness.payment(payment["id"]))["amount_refunded"]["value"] == 1050
    assert await harness.balance(payer) == (10_000, 0, 10_000)
    assert await harness.runtime.ledger.balance("acme", clearing_account("bank_transfer", "BRL")) == 0
    assert len(harness.events_of(PaymentReturned)) == 1
    assert harness.undelivered == []


@pytest.mark.parametrize(("status", "end"), [("settled", "settled"), ("refused", "failed")])
async def test_an_outcome_that_was_never_reported_is_found(
    harness: Harness, bank: RecordingBank, status: str, end: str
) -> None:
    """A transfer that the bank settled or refused without a callback ends by the bank's list."""
    payment = await partner.ordered(harness, (await harness.account(10_000))["id"])
    bank.changes = [changed(harness, bank.orders[0].reference, status)]
    await poll(harness, seconds=REPORT_SECONDS)
    assert (await harness.payment(payment["id"]))["status"] == end


async def test_the_banks_changes_are_read_once_in_bounded_windows(harness: Harness, bank: RecordingBank) -> None:
    """Each tick continues where the last one ended, reads a bounded number of windows after an outage, and counts
    nothing as read while the bank does not answer; a transfer that was not ordered here is skipped."""
    bank.changes = [changed(harness, "U" * 20, "returned")]
    await poll(harness, seconds=REPORT_SECONDS)
    bank.periods.clear()
    await poll(harness, seconds=60)
    ((since, until),) = bank.periods
    assert (until - since).total_seconds() == 60 + OVERLAP_SECONDS
    before = await read_until(harness, "bank_transfer")
    bank.error = Unavailable("down")
    await poll(harness, seconds=2 * MAX_WINDOWS * WINDOW_SECONDS)
    assert await read_until(harness, "bank_transfer") == before
    bank.error = None
    bank.periods.clear()
    await poll(harness)
    assert len(bank.periods) == MAX_WINDOWS
    await poll(harness, ticks=2)
    last = harness.clock.now() - timedelta(seconds=REPORT_SECONDS)
    assert await read_until(harness, "bank_transfer") == format_time(last)


async def test_a_silent_bank_does_not_delay_the_pix_provider(
    harness: Harness, bank: RecordingBank, pix: RecordingPayments
) -> None:
    """While one provider does not answer, the lists of the others are read."""
    bank.changes = [changed(harness, "U" * 20, "returned")]
    bank.error = Unavailable("down")
    await poll(harness)
    assert (len(bank.periods), len(pix.periods)) == (1, 1)
    assert (await read_until(harness, "bank_transfer"), await read_until(harness, "pix") is None) == (None, False)


@pytest.mark.parametrize("days", [0, 45, 89])
async def test_a_pix_return_that_was_never_reported_is_found(
    harness: Harness, pix: RecordingPayments, days: int
) -> None:
    """However old the payment is, a return without a callback goes back to the payer within a round of ticks, once."""
    payer = (await harness.account(10_000))["id"]
    made = await pay_out(harness, payer)
    await harness.run_events()
    report = pix.decide("settled")._replace(at=format_time(harness.clock.now()))
    await payment_callback(harness, report)
    await harness.run_events()
    harness.clock.advance(timedelta(days=days))
    await poll(harness)
    pix.listed = [report._replace(returns=(sent_return(1, 400), sent_return(2, 50)))]
    await poll(harness, seconds=60, ticks=2 * RETURN_DAYS + 2)
    assert (await harness.payment(made["id"]))["amount_refunded"]["value"] == 450
    assert await harness.balance(payer) == (9400, 0, 9400)
    assert len(harness.events_of(PaymentReturned)) == 2
    assert harness.undelivered == []


def test_a_change_at_the_last_moment_is_read() -> None:
    """A payment that comes back when it may no longer come back a moment later is in a period that a later tick
    reads, wherever the round is at that time."""
    rail = RecordingPayments()
    times = [ManualClock().now() + timedelta(minutes=number) for number in range(3 * RETURN_DAYS)]
    periods: list[tuple[datetime, datetime]] = []
    for last in times:
        periods.append(next_round(rail, periods[-1][1] if periods else None, last))
    for number, changed_at in enumerate(times[: RETURN_DAYS + 10]):
        paid_at = changed_at - rail.changes_for
        assert any(since <= paid_at < until for since, until in periods[number + 1 :]), number


def test_rounds_leave_no_payment_out() -> None:
    """One tick reads about a day, each period begins where the one before ended, and a round covers all the time in
    which payments may come back."""
    rail = RecordingPayments()
    last = ManualClock().now()
    since, until = next_round(rail, None, last)
    rounds = [(since, until)]
    while until != last:
        last += timedelta(minutes=1)
        since, until = next_round(rail, until, last)
        rounds.append((since, until))
    assert rounds[0][0] == ManualClock().now() - rail.changes_for - WINDOW
    assert [since for since, _ in rounds[1:]] == [until for _, until in rounds[:-1]]
    assert RETURN_DAYS + 1 <= len(rounds) <= RETURN_DAYS + 2
    assert all(WINDOW / 2 <= until - since <= WINDOW * 3 / 2 for since, until in rounds)
    assert next_round(rail, until, last + timedelta(minutes=1))[0] == (
        last + timedelta(minutes=1) - rail.changes_for - WINDOW
    )
