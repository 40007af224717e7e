"""The ledger port over the tables in memory: its behaviour, its processes and their ends, and what an append costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.cassandra.protocol import ATTEMPTS, BATCH_LINES
from shared.adapters.cassandra.tables import Head, Line, OutcomeUnknown, Place
from shared.ports.documents import Unavailable
from shared.ports.ledger import LedgerStore, RecordedTransfer
from tests.ports.ledger_suite import LedgerSuite, legs, recorded, transfer
from tests.shared.adapters.cassandra.failing_processes import (
    ACCOUNTS,
    check_journals,
    ledger_on,
    request_all,
    run_process,
    some_transfers,
)
from tests.shared.adapters.cassandra.memory_tables import MemoryTables, ProcessTables


class TestLedger(LedgerSuite):
    """The ledger port."""

    @pytest.fixture
    def ledger(self) -> LedgerStore:
        return ledger_on(MemoryTables())


class TestLedgerInSmallBuckets(LedgerSuite):
    """The ledger port, where a bucket of a journal has three lines, the first one two."""

    @pytest.fixture
    def ledger(self) -> LedgerStore:
        return ledger_on(MemoryTables(), bucket_lines=3)


@given(st.integers(0, 2**32))
async def test_processes_that_fail_and_end_record_each_leg_once(seed: int) -> None:
    """Whatever calls fail and whichever processes end, a last request of each transfer completes it, once."""
    random = Random(seed)
    tables = MemoryTables()
    transfers = some_transfers(random)
    await asyncio.gather(*(run_process(tables, transfers, random) for _ in range(3)))
    last = ledger_on(ProcessTables(tables, random), bucket_lines=5)
    first = await asyncio.gather(*(recorded(last, each) for each in transfers))
    await check_journals(last, transfers)
    again = ledger_on(tables, bucket_lines=5)
    assert [await again.transfer("ten_1", each.id) for each in transfers] == first


class RoundTrips(ProcessTables):
    """Tables whose calls are answered in rounds: those that are made at the same time share a round trip."""

    def __init__(self, tables: MemoryTables) -> None:
        super().__init__(tables, Random(0))
        self._waiting: list[asyncio.Future[None]] = []

    async def _turn(self, *, counts: bool = True) -> None:
        if counts:
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]

    async def count(self, task: asyncio.Task[object]) -> int:
        """Answer rounds until the task is done, and return their number."""
        rounds = 0
        while not task.done():
            for _ in range(20):  # more than any step needs to get from one call to the next
                await asyncio.sleep(0)
            waiting, self._waiting = self._waiting, []
            rounds += bool(waiting)
            for each in waiting:
                each.set_result(None)
        return rounds


async def test_an_append_takes_five_round_trips() -> None:
    """An append of two legs to known accounts that no other process writes to takes five round trips, of 12 calls.

    The heads with the note of the day; the claim; the second look with the positions of pending lines; a batch for each
    account; their positions.
    """
    tables = MemoryTables()
    trips = RoundTrips(tables)
    ledger = ledger_on(trips)
    first = asyncio.create_task(ledger.append(transfer("t1", *legs("a", "b", 5)), "2026-01-01"))
    assert await trips.count(first) == 8  # two hints, and the accounts are noted and opened
    tables.calls.clear()
    second = asyncio.create_task(ledger.append(transfer("t2", *legs("a", "b", 5)), "2026-01-01"))
    assert await trips.count(second) == 5
    assert tables.calls == {
        "head": 2,
        "put_day": 1,
        "claim": 1,
        "positions": 2,
        "append_lines": 2,
        "put_position": 4,
    }


async def test_callers_of_one_account_share_batches() -> None:
    """A hundred transfers to one merchant at the same time need a batch for each fifty lines of it, and a few more."""
    tables = MemoryTables()
    ledger = ledger_on(tables)
    await recorded(ledger, transfer("t0", *legs("p0", "merchant", 5)))
    tables.calls.clear()
    await asyncio.gather(*(recorded(ledger, transfer(f"t{n}", *legs(f"p{n}", "merchant", 5))) for n in range(1, 101)))
    assert tables.calls["append_lines"] - 100 <= 100 // BATCH_LINES + 2
    assert await ledger.balance("ten_1", "merchant") == 505


async def test_a_callers_cancellation_does_not_stop_the_others() -> None:
    """A caller that stops waiting leaves its leg to the writer of the account, which records it with the others."""
    tables = MemoryTables()
    ledger = ledger_on(ProcessTables(tables, Random(1)))
    tasks = [asyncio.create_task(recorded(ledger, transfer(f"t{n}", *legs("a", "b", 5)))) for n in range(4)]
    for _ in range(4):  # the appends have begun
        await asyncio.sleep(0)
    tasks[3].cancel()
    await asyncio.gather(*tasks[:3])
    await ledger.drained(60)
    await recorded(ledger, transfer("t3", *legs("a", "b", 5)))
    assert await ledger.balance("ten_1", "b") == 20


async def test_a_ledger_that_is_closed_leaves_no_caller_waiting() -> None:
    """Closing fails the callers whose lines are not written in time; a later request completes the transfer."""
    tables = MemoryTables()
    view = ProcessTables(tables, Random(1), ends_after=8)
    ledger = ledger_on(view)
    task = asyncio.create_task(recorded(ledger, transfer("t1", *legs("a", "b", 5))))
    await view.ended.wait()
    await ledger.drained(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await recorded(ledger_on(tables), transfer("t1", *legs("a", "b", 5)))
    await check_journals(ledger_on(tables), [transfer("t1", *legs("a", "b", 5))])


class Contended(MemoryTables):
    """Tables on which another writer is always faster."""

    async def append_lines(self, before: Head, after: Head, lines: Sequence[Line]) -> bool:
        self.calls["append_lines"] += 1
        return False


class Undecided(MemoryTables):
    """Tables on which no claim is ever decided."""

    async def claim(self, claim: object) -> None:
        self.calls["claim"] += 1
        raise OutcomeUnknown("no answer")


@pytest.mark.parametrize(("tables", "call"), [(Contended(), "append_lines"), (Undecided(), "claim")])
async def test_attempts_are_bounded(tables: MemoryTables, call: str) -> None:
    """After so many attempts on one partition the caller gets Unavailable, and the event is delivered again later."""
    with pytest.raises(Unavailable, match=f"{ATTEMPTS} "):
        await ledger_on(tables).append(transfer("t1", *legs("a", "b", 5)), "2026-01-01")
    assert tables.calls[call] in {ATTEMPTS, 2 * ATTEMPTS}


async def test_a_claimed_leg_that_no_longer_fits_names_its_account() -> None:
    """Of transfers recorded at the same time that are too large together, one fails and names the account."""
    tables = MemoryTables()
    ledger = ledger_on(tables)
    half = 2**62
    outcomes = await asyncio.gather(
        *(ledger.append(transfer(f"t{n}", *legs(f"p{n}", "b", half)), "2026-01-01") for n in range(3)),
        return_exceptions=True,
    )
    failed = [outcome for outcome in outcomes if not isinstance(outcome, RecordedTransfer)]
    assert len(failed) == 2
    assert all(
        isinstance(error, Unavailable) and "too large for the ledger account b" in str(error) for error in failed
    )


async def test_a_split_transfer_is_left_out_of_the_trial_balance() -> None:
    """A trial balance completes a transfer whose recording was interrupted, and its sums are equal."""
    tables = MemoryTables()
    ledger = ledger_on(tables)
    await recorded(ledger, transfer("t1", *legs("a", "b", 5)))
    await ledger.append(transfer("t2", *legs("a", "b", 7)), "2026-01-01")
    undo(tables, Place("ten_1", "b"))
    lines = await ledger.turnover("ten_1")
    assert [(line.account_id, line.debits, line.credits) for line in lines] == [("a", 5, 0), ("b", 0, 5)]
    lines = await ledger.turnover("ten_1")
    assert [(line.account_id, line.debits, line.credits) for line in lines] == [("a", 12, 0), ("b", 0, 12)]


def undo(tables: MemoryTables, place: Place) -> None:
    """Take the last line of an account away, as if it had not been written yet."""
    line = tables.journal[place].pop()
    head = tables.heads[place, 0]
    tables.heads[place, 0] = head._replace(sequence=head.sequence - 1, credits=head.credits - line.amount, pending=())
    del tables.known[place.tenant_id, line.transfer_id, line.leg]


async def test_a_trial_balance_during_transfers_is_balanced() -> None:
    """However often the trial balance is made while transfers are recorded, debits equal credits."""
    random = Random(7)
    tables = MemoryTables()
    ledger, reader = ledger_on(ProcessTables(tables, random)), ledger_on(ProcessTables(tables, random))
    transfers = []
    for number in range(1, 201):
        debit, credit = random.sample(ACCOUNTS, 2)
        transfers.append(transfer(f"t{number:03}", *legs(debit, credit, number)))
    work = asyncio.create_task(request_all(ledger, transfers, random))
    made = 0
    while not work.done():
        lines = await reader.turnover("ten_1")
        assert sum(line.debits for line in lines) == sum(line.credits for line in lines)
        made += 1
    await work
    assert made > 3
    await check_journals(ledger, transfers)


async def test_a_ledger_out_of_balance_shows_it() -> None:
    """When the sums differ for another reason than transfers in progress, the trial balance has the difference."""
    tables = MemoryTables()
    ledger = ledger_on(tables)
    await recorded(ledger, transfer("t1", *legs("a", "b", 5)))
    place = Place("ten_1", "b")
    tables.heads[place, 0] = tables.heads[place, 0]._replace(credits=6)
    assert [(line.debits, line.credits) for line in await ledger.turnover("ten_1")] == [(5, 0), (0, 6)]
