"""Statement lines are rebuilt from the ledger, to the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.statements import LineRecorded
from functions.statements._lines import in_period
from functions.statements._rebuild import Rebuilt, rebuild_statement
from shared.ports.documents import Commit
from shared.records.statement_lines import LINES, LineDocument
from tests.functions.statements.test_statement_files import fetch, line_of, story
from tests.harness import Harness

BEHIND = "2027-01-01T00:00:00.000000Z"


async def lines(harness: Harness, account_id: str) -> Sequence[LineDocument]:
    """Return the stored lines of an account."""
    return await harness.documents.find(LINES, "acme", in_period(account_id, None, None)._replace(limit=1000))


async def rebuild(harness: Harness, account_id: str, **options: Any) -> Rebuilt:
    """Rebuild the statement of an account."""
    return await rebuild_statement(harness.documents, harness.runtime.ledger, "acme", account_id, **options)


async def damage(
    harness: Harness, *, remove: Sequence[Any] = (), alter: Sequence[Any] = (), add: Sequence[Any] = ()
) -> None:
    """Change stored lines."""
    commit = Commit(
        "acme",
        deletes=[(LINES, line["id"]) for line in remove],
        replaces=[(LINES, {**line, "amount": line["amount"] + 1, "description": "forged"}) for line in alter],
        inserts=[(LINES, dict(line)) for line in add],
    )
    await harness.documents.commit(commit)


async def test_what_the_projection_stored_is_what_the_ledger_says(harness: Harness) -> None:
    """A statement without damage is not changed, and neither is that of an account without movements."""
    payer = await story(harness)
    before = await lines(harness, payer)
    assert await rebuild(harness, payer) == Rebuilt(4, 0, 0, 0)
    assert await lines(harness, payer) == before
    assert await rebuild(harness, (await harness.account())["id"]) == Rebuilt()


@pytest.mark.parametrize("accept", ["application/json", "text/csv", "application/x-ofx", "application/pdf"])
async def test_a_damaged_statement_is_rebuilt_to_the_same_bytes(harness: Harness, accept: str) -> None:
    """Lines that were removed, changed and added come back, are put right and are removed; each format has the bytes
    that it had."""
    payer = await story(harness)
    intact = (await fetch(harness, payer, accept)).body
    stored = await lines(harness, payer)
    await damage(harness, remove=stored[1:2], alter=stored[2:3], add=[line_of(9, payer, 400, BEHIND)])
    assert await rebuild(harness, payer, dry_run=True) == Rebuilt(4, 1, 1, 1)
    assert await rebuild(harness, payer) == Rebuilt(4, 1, 1, 1)
    assert (await fetch(harness, payer, accept)).body == intact
    assert await rebuild(harness, payer) == Rebuilt(4, 0, 0, 0)


async def test_lines_before_their_facts_are_no_conflict(harness: Harness) -> None:
    """A line that was rebuilt before the fact of its transfer arrived is not stored twice: the fact is applied, and
    publishes its line once."""
    payer = (await harness.account(1000))["id"]
    payee = (await harness.account())["id"]
    await harness.pay(payer, payee, 100)
    for operation in ("accounts/hold_funds", "payments/authorize", "ledger/post_transfer"):
        await harness.step(operation)
    assert await lines(harness, payee) == []
    assert await rebuild(harness, payee) == Rebuilt(1, 1, 0, 0)
    before = await lines(harness, payee)
    await harness.run_events(times=2)
    assert harness.undelivered == []
    assert await lines(harness, payee) == before
    assert len([fact for fact in harness.events_of(LineRecorded) if fact.account_id == payee]) == 1


async def test_a_statement_is_rebuilt_while_payments_run(crowded: Harness) -> None:
    """Rebuilding the lines of an account while payments credit it neither loses a line nor stores one twice."""
    payer = (await crowded.account(100_000))["id"]
    payee = (await crowded.account())["id"]
    for value in range(1, 13):
        await crowded.pay(payer, payee, value)
    working = asyncio.ensure_future(crowded.run_events(together=True))
    while not working.done():
        await rebuild(crowded, payee)
        await asyncio.sleep(0)
    await working
    await crowded.run_events()
    assert crowded.undelivered == []
    stored = await lines(crowded, payee)
    assert [line["sequence"] for line in stored] == list(range(1, 13))
    assert await rebuild(crowded, payee) == Rebuilt(12, 0, 0, 0)


@given(st.data())
def test_any_damage_is_repaired(data: st.DataObject) -> None:
    """Whatever lines are lost, changed or forged, also more than a page of them, the rebuilt lines are the former
    ones."""
    asyncio.run(_any_damage(data))


async def _any_damage(data: st.DataObject) -> None:
    harness = Harness.make()
    await harness.tenant()
    account_id = (await harness.account())["id"]
    for _ in range(data.draw(st.integers(0, 6), "entries")):
        await harness.fund(account_id, 100)
    stored = await lines(harness, account_id)
    kinds = [data.draw(st.sampled_from(["keep", "remove", "alter"])) for _ in stored]
    early, late = (data.draw(st.sampled_from([0, 1, 99, 100, 101, 205])) for _ in range(2))
    forged = [
        line_of(number, account_id, 1, at)
        for at, count in (("2020-01-01T00:00:00.000000Z", early), (BEHIND, late))
        for number in range(1, count + 1)
    ]
    await damage(
        harness,
        remove=[line for line, kind in zip(stored, kinds, strict=True) if kind == "remove"],
        alter=[line for line, kind in zip(stored, kinds, strict=True) if kind == "alter"],
        add=forged,
    )
    expected = Rebuilt(len(stored), kinds.count("remove"), kinds.count("alter"), len(forged))
    assert await rebuild(harness, account_id, dry_run=True) == expected
    assert await rebuild(harness, account_id) == expected
    rebuilt = await lines(harness, account_id)
    assert [{**line, "version": 1} for line in rebuilt] == stored
