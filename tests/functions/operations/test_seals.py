"""The seals of a ledger's days: what they cover, and what their verification finds."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.ledger import DaySealed
from events.sweeps import Tick
from shared.context.ledger_seals import FIRST_DIGEST, SealsVerified, verify_seals
from shared.context.ledger_verification import LedgerDifference
from shared.core.settings import Settings
from shared.ports.documents import PLATFORM, Commit, Query
from shared.ports.ledger import Cause, Entry, Leg, RecordedTransfer, Transfer
from shared.records.ledger_seals import SEAL_PAGES, SEALS
from tests.harness import Harness


async def tick(harness: Harness) -> None:
    """Deliver a tick of the schedule."""
    envelope = harness.envelope(Tick(schedule="seal_days"), tenant=PLATFORM)
    delivery = await harness.deliver("operations/seal_days", envelope)
    assert delivery.status == 204, delivery


async def move(harness: Harness, id: str, at: str, *accounts: str, tenant: str = "acme") -> None:
    """Record a transfer between two accounts of the ledger at a time."""
    payer, payee = accounts or ("a", "b")
    legs = (Leg(payer, "debit", 5, "BRL"), Leg(payee, "credit", 5, "BRL"))
    moved = Transfer(tenant, id, Cause("payment", f"pay_{id}"), legs, f"pay_{id}", f"about {id}")
    recorded = await harness.runtime.ledger.append(moved, at)
    assert isinstance(recorded, RecordedTransfer)


async def verified(harness: Harness, tenant: str = "acme", **known: str) -> SealsVerified:
    """Verify the seals of a tenant."""
    return await verify_seals(harness.documents, harness.runtime.ledger, tenant, known)


async def pages(harness: Harness, day: str) -> list[tuple[str, int, int]]:
    """Return the account and the first and last entry of each page of a day."""
    found = await harness.documents.find(SEAL_PAGES, "acme", Query({"day": day}, limit=1000))
    return [(page["account_id"], page["first"], page["last"]) for page in found]


def at(day: int, time: str = "12:00:00.000000") -> str:
    """Return a time in January 2026."""
    return f"2026-01-{day:02d}T{time}Z"


async def test_a_day_that_has_ended_is_sealed_once(harness: Harness) -> None:
    """The seal and its fact count accounts, entries and transfers, and a repeated tick changes nothing."""
    await move(harness, "t1", at(1))
    await move(harness, "t2", at(1), "a", "c")
    harness.clock.advance(timedelta(days=1, minutes=20))
    await tick(harness)
    await tick(harness)
    [fact] = harness.events_of(DaySealed)
    assert (fact.day, fact.accounts, fact.entries, fact.transfers) == ("2026-01-01", 3, 4, 2)
    assert fact.previous_digest == FIRST_DIGEST
    assert harness.runtime.telemetry.counters["ledger_seals", "sealed"] == 1
    assert await verified(harness) == SealsVerified(1, 4, "2026-01-01", fact.digest)
    [seal] = await harness.documents.find(SEALS, "acme", Query())
    assert (seal["status"], seal["digest"], seal["entries"]) == ("sealed", fact.digest, 4)


async def test_a_day_is_sealed_after_the_grace_time(harness: Harness) -> None:
    """Nothing is sealed until LASTRO_LEDGER_SEAL_GRACE_SECONDS have passed since the end of the day."""
    await move(harness, "t1", at(1))
    harness.clock.advance(timedelta(days=1, seconds=899))
    await tick(harness)
    assert harness.events_of(DaySealed) == []
    harness.clock.advance(timedelta(seconds=1))
    await tick(harness)
    assert [fact.day for fact in harness.events_of(DaySealed)] == ["2026-01-01"]


async def test_a_transfer_at_midnight_is_of_the_day_that_begins(harness: Harness) -> None:
    """The last microsecond of a day is in its seal, and midnight is in the next one."""
    await move(harness, "t1", at(1, "23:59:59.999999"))
    await move(harness, "t2", at(2, "00:00:00.000000"))
    harness.clock.advance(timedelta(days=2, hours=1))
    await tick(harness)
    assert await pages(harness, "2026-01-01") == [("a", 1, 1), ("b", 1, 1)]
    assert await pages(harness, "2026-01-02") == [("a", 2, 2), ("b", 2, 2)]


async def test_every_day_has_a_seal(harness: Harness) -> None:
    """After an outage one tick seals all days in order, also quiet ones, each with the digest of the one before."""
    await harness.tenant("quiet")
    await move(harness, "t1", at(1))
    await move(harness, "t2", at(4))
    harness.clock.advance(timedelta(days=5, hours=1))
    await tick(harness)
    for tenant, counts in (("acme", [2, 0, 0, 2, 0]), ("quiet", [0] * 5)):
        seals = await harness.documents.find(SEALS, tenant, Query())
        assert [seal["id"] for seal in seals] == [f"2026-01-0{day}" for day in range(1, 6)]
        assert [seal["entries"] for seal in seals] == counts
        digests = [FIRST_DIGEST, *(seal["digest"] for seal in seals)]
        assert [seal["previous_digest"] for seal in seals] == digests[:-1]
        assert len(set(digests)) == 6
        assert (await verified(harness, tenant)).days == 5


async def test_an_entry_that_comes_late_is_in_the_next_seal(harness: Harness) -> None:
    """A process whose clock is behind records a transfer with a time of a sealed day: the sealed day stays as it is,
    and the next seal has the transfer."""
    await move(harness, "t1", at(1))
    harness.clock.advance(timedelta(days=1, hours=1))
    await tick(harness)
    before = await verified(harness)
    await move(harness, "late", at(1, "23:59:58.000000"), "c", "d")
    assert await verified(harness) == before
    harness.clock.advance(timedelta(days=1))
    await tick(harness)
    assert await pages(harness, "2026-01-02") == [("c", 1, 1), ("d", 1, 1)]
    assert (await verified(harness)).entries == 4


async def test_a_large_day_takes_several_ticks() -> None:
    """One tick reads about as many entries as LASTRO_LEDGER_SEAL_ENTRIES allows and the next ones go on; the seal has
    the digest that one tick without a bound gives."""
    digests = []
    for bound in (100, 1_000_000):
        harness = Harness.make(settings=Settings(ledger_seal_entries=bound))
        await harness.tenant()
        for number in range(2_100):
            await move(harness, f"t{number}", at(1))
        harness.clock.advance(timedelta(days=1, hours=1))
        ticks = 0
        while not harness.events_of(DaySealed):
            await tick(harness)
            ticks += 1
        assert (ticks > 1) == (bound == 100)
        [fact] = harness.events_of(DaySealed)
        assert (fact.accounts, fact.entries, fact.transfers) == (2, 4_200, 2_100)
        assert (await verified(harness)).entries == 4_200
        digests.append(fact.digest)
    assert digests[0] == digests[1]


async def test_ticks_at_the_same_time_seal_once() -> None:
    """Two processes that seal the same days make one chain, with each entry once."""
    harness = Harness.make(interleaved=True)
    await harness.tenant()
    for number in range(1, 6):
        await move(harness, f"t{number}", at(number))
    harness.clock.advance(timedelta(days=6, hours=1))
    await asyncio.gather(*(tick(harness) for _ in range(3)))
    assert [fact.day for fact in harness.events_of(DaySealed)] == [f"2026-01-0{day}" for day in range(1, 7)]
    assert (await verified(harness))[:2] == (6, 10)


async def test_a_damaged_ledger_is_not_sealed(harness: Harness) -> None:
    """An entry whose transfer is missing stops the seals of its tenant, with an error in the log and a metric; other
    tenants are sealed."""
    await harness.tenant("other")
    await move(harness, "t1", at(1))
    ledger: Any = harness.runtime.ledger
    del ledger._known["acme", "t1"]
    harness.clock.advance(timedelta(days=1, hours=1))
    await tick(harness)
    assert [event.tenant_id for event in harness.events if event.type == DaySealed.type] == ["other"]
    assert harness.runtime.telemetry.counters["ledger_seals", "refused"] == 1


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(-40, 40), st.booleans()), max_size=25
    )
)
async def test_every_entry_is_sealed_once(moves: list[tuple[str, str, int, bool]]) -> None:
    """Whatever the clocks of the processes that record are (40 hours apart) and whenever a tick comes, each entry is in
    one page, pages have no gaps, and earlier seals never change."""
    harness = Harness.make()
    await harness.tenant()
    known: dict[str, str] = {}
    for number, (payer, payee, apart, ticks) in enumerate(moves):
        harness.clock.advance(timedelta(hours=7))
        recorded_at = max(harness.clock.now() + timedelta(hours=apart), harness.clock.now().replace(day=1, hour=0))
        await move(harness, f"t{number}", f"{recorded_at:%Y-%m-%dT%H:%M:%S.%fZ}", payer, payee)
        if ticks:
            await tick(harness)
            await verified(harness, **known)
        known = {seal["id"]: seal["digest"] for seal in await harness.documents.find(SEALS, "acme", Query(limit=99))}
    harness.clock.advance(timedelta(days=4))
    await tick(harness)
    assert (await verified(harness, **known)).entries == 2 * len(moves)


# What verification finds


async def sealed(harness: Harness) -> None:
    """Seal two days with two transfers each."""
    for number, day in enumerate((1, 1, 2, 2)):
        await move(harness, f"t{number}", at(day))
    harness.clock.advance(timedelta(days=2, hours=1))
    await tick(harness)


ROW_CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"transfer_id": "t1", "balance_after": -11}, {}),
    ({"amount": 6}, {}),
    ({"direction": "credit"}, {}),
    ({"recorded_at": at(1, "12:00:00.000001")}, {}),
    ({}, {"description": "About t1"}),
    ({}, {"payment_id": None}),
    ({}, {"cause": Cause("refund", "pay_t1")}),
    ({}, {"cause": Cause("payment", "pay_t0")}),
]


@pytest.mark.parametrize(("of_entry", "of_transfer"), ROW_CHANGES, ids=[str(change) for change in ROW_CHANGES])
async def test_the_first_changed_row_is_named(
    harness: Harness, of_entry: dict[str, Any], of_transfer: dict[str, Any]
) -> None:
    """Whichever field of an entry or of its transfer is changed, consistently in the whole store, the entry is named
    with its transfer and the day of its seal."""
    await sealed(harness)
    ledger: Any = harness.runtime.ledger
    entries = ledger._entries["acme", "a"]
    entries[1] = entries[1]._replace(**of_entry)
    known = ledger._known["acme", "t1"]
    # MemoryLedger checks that a transfer balances, so the legs are not changed there.
    ledger._known["acme", "t1"] = replace(known, **of_transfer)
    said = "acme, account a, entry 2: it differs from the seal of 2026-01-01 (leg 0 of transfer t1)"
    with pytest.raises(LedgerDifference, match=re.escape(said)):
        await verified(harness)


async def test_a_missing_row_is_named(harness: Harness) -> None:
    """Entries that were removed from the end of an account are named."""
    await sealed(harness)
    ledger: Any = harness.runtime.ledger
    entries: list[Entry] = ledger._entries["acme", "b"]
    entries.pop()
    with pytest.raises(LedgerDifference, match=r"^acme, account b, entry 4: it is sealed on 2026-01-02, and missing$"):
        await verified(harness)


B2 = "b.0000000000000003"


@pytest.mark.parametrize(
    ("collection", "id", "fields", "said"),
    [
        (SEAL_PAGES, B2, {"rows": "AAAA"}, "account b: the page of the seal of 2026-01-02 from entry 3 was changed"),
        (SEAL_PAGES, B2, {"rows": "é"}, "account b: the page of the seal of 2026-01-02 from entry 3 was changed"),
        (SEAL_PAGES, B2, {"last": 5}, "account b: the page of the seal of 2026-01-02 from entry 3 was changed"),
        (SEAL_PAGES, B2, {"first": 2}, "a page of the seal of 2026-01-02: the first entry is 2, and not 3"),
        (SEALS, "2026-01-02", {"digest": "00"}, "the seal of 2026-01-02: the digest is 00, and not "),
        (SEALS, "2026-01-02", {"previous_digest": "00"}, "the seal of 2026-01-02: the previous digest is 00, and not "),
    ],
)
async def test_a_changed_seal_is_named(
    harness: Harness, collection: Any, id: str, fields: dict[str, Any], said: str
) -> None:
    """A page or a seal that was changed in its store is named."""
    await sealed(harness)
    await harness.alter(collection, id, **fields)
    with pytest.raises(LedgerDifference, match=re.escape(said)):
        await verified(harness)


async def test_a_removed_page_or_seal_is_named(harness: Harness) -> None:
    """A page that is missing changes the digest of its day; a seal that is missing breaks the chain."""
    await sealed(harness)
    await harness.documents.commit(Commit("acme", deletes=[(SEAL_PAGES, B2)]))
    with pytest.raises(LedgerDifference, match=r"^acme, the seal of 2026-01-02: the digest is "):
        await verified(harness)
    await harness.documents.commit(Commit("acme", deletes=[(SEALS, "2026-01-01")]))
    with pytest.raises(LedgerDifference, match=r"^acme, the seal of 2026-01-02: the previous digest is "):
        await verified(harness)


async def test_a_digest_that_was_kept_finds_a_chain_that_was_made_anew(harness: Harness) -> None:
    """When entries, pages and seals are changed together, only a digest that was kept outside tells; a day without a
    seal is named as well."""
    await sealed(harness)
    kept = (await harness.documents.find(SEALS, "acme", Query()))[0]["digest"]
    assert (await verified(harness, **{"2026-01-01": kept})).days == 2
    with pytest.raises(
        LedgerDifference, match=f"^acme, the seal of 2026-01-01: the digest is {kept}, and not {'0' * 64}"
    ):
        await verified(harness, **{"2026-01-01": "0" * 64})
    with pytest.raises(LedgerDifference, match=r"^acme: 2026-01-03 is not sealed$"):
        await verified(harness, **{"2026-01-03": kept})
