"""The ledger's append and the documents' commit are two idempotent steps, on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.ledger import TransferPosted, TransferRefused
from events.payments.capture_requested import PaymentCaptureRequested
from shared.core.clock import format_time
from shared.core.money import money
from shared.ports.documents import Commit, CommitOutcomeUnknown, Unavailable
from tests.harness import Harness

POST = "ledger/post_transfer"


@pytest.fixture(params=["memory", "disk"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """All functions on each of the stores, with one tenant."""
    made = Harness.make() if request.param == "memory" else await Harness.on_disk(tmp_path)
    await made.tenant()
    yield made
    await made.close()


def capture_requested(harness: Harness, *, attempt: int = 1) -> PaymentCaptureRequested:
    """Return the fact that requests a transfer of 3.00."""
    return PaymentCaptureRequested(
        payment_id="pay_1",
        amount=money(300, "BRL"),
        payer_account_id="acc_a",
        payee_account_id="acc_b",
        transfer_id="ltr_1",
        capture_amount=money(300, "BRL"),
        description=None,
        deadline=format_time(harness.clock.now()),
        attempt=attempt,
    )


def drop_next_commit(harness: Harness, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the ledger record the transfer of the next delivery, and lose the commit of the documents."""
    commit, dropped = harness.documents.commit, 0

    async def once(pending: Commit) -> None:
        nonlocal dropped
        dropped += 1
        if dropped == 1:
            raise error
        await commit(pending)

    monkeypatch.setattr(harness.documents, "commit", once)


async def entries(harness: Harness) -> list[tuple[int, int]]:
    """Return the sequence and balance of the payer's entries."""
    found = await harness.runtime.ledger.entries("acme", "acc_a", 0, 10)
    return [(entry.sequence, entry.balance_after) for entry in found]


@pytest.mark.parametrize("error", [Unavailable("no documents"), CommitOutcomeUnknown("no answer")])
async def test_a_transfer_whose_commit_was_lost_is_published_by_the_next_delivery(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The repeated event finds the recorded transfer, records nothing, and publishes it once."""
    drop_next_commit(harness, monkeypatch, error)
    request = harness.envelope(capture_requested(harness))
    first = await harness.deliver(POST, request)
    assert await entries(harness) == [(1, -300)]
    assert len(harness.events_of(TransferPosted)) == (0 if first.status == 503 else 1)
    for _ in range(2):
        assert (await harness.deliver(POST, request)).status == 204
    assert await entries(harness) == [(1, -300)]
    [posted] = harness.events_of(TransferPosted)
    assert (posted.transfer_id, posted.cause_id) == ("ltr_1", "pay_1")


async def test_a_transfer_recorded_in_time_is_published_after_the_deadline(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorded transfer whose commit was lost is not refused when the event is delivered again after the deadline."""
    drop_next_commit(harness, monkeypatch, Unavailable("no documents"))
    request = harness.envelope(capture_requested(harness))
    assert (await harness.deliver(POST, request)).status == 503
    harness.clock.advance(harness.clock.now() - harness.clock.now().replace(year=2025))
    assert (await harness.deliver(POST, request)).status == 204
    assert harness.events_of(TransferRefused) == []
    assert len(harness.events_of(TransferPosted)) == 1
    assert await entries(harness) == [(1, -300)]


async def test_a_refusal_whose_commit_was_lost_is_published_by_the_next_delivery(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused id stays refused: the repeated event publishes the refusal and records nothing."""
    request = harness.envelope(capture_requested(harness))
    harness.clock.advance(harness.clock.now() - harness.clock.now().replace(year=2025))
    drop_next_commit(harness, monkeypatch, Unavailable("no documents"))
    assert (await harness.deliver(POST, request)).status == 503
    assert (await harness.deliver(POST, request)).status == 204
    assert len(harness.events_of(TransferRefused)) == 1
    assert await entries(harness) == []


async def test_another_attempt_of_the_saga_finds_the_transfer(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request of a later attempt, a different event, publishes the recorded transfer under the same event id."""
    drop_next_commit(harness, monkeypatch, Unavailable("no documents"))
    first, second = (harness.envelope(capture_requested(harness, attempt=attempt)) for attempt in (1, 2))
    assert (await harness.deliver(POST, first)).status == 503
    assert (await harness.deliver(POST, second)).status == 204
    assert (await harness.deliver(POST, first)).status == 204
    posted = [event for event in harness.events if event.type == TransferPosted.type]
    assert len({event.id for event in posted}) == 1
    assert await entries(harness) == [(1, -300)]
