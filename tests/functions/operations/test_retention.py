"""Old documents are removed after a documented time, and nothing that is still needed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.sweeps import Tick
from shared.core.settings import Settings
from shared.ports.documents import PLATFORM, Collection, Commit, Query
from shared.records.dead_letters import DEAD_LETTERS, DeadLetterDocument
from shared.records.notifications import NOTIFICATIONS, NotificationDocument
from shared.records.webhooks import WEBHOOK_DELIVERIES, WebhookDeliveryDocument
from tests.harness import Harness

AT = "2026-01-01T00:00:00.000000Z"


def event(id: str, type: str) -> dict[str, str]:
    """Return the attributes of an event."""
    return {"id": id, "source": "/lastro/tests", "type": type, "subject": "pay_1", "time": AT}


def letter(id: str, status: Any, tenant: str = "acme") -> DeadLetterDocument:
    """Return a dead letter of the first day."""
    return {
        "id": id,
        "tenant_id": tenant,
        "version": 1,
        "letter_key": id,
        "event": event(id, "lastro.payment.created.v1"),
        "data": "{}",
        "consumer": "accounts-hold-funds",
        "cause": {"code": "no_answer", "status": None, "detail": ""},
        "attempts": 1,
        "status": status,
        "reason": None,
        "parked_at": AT,
        "updated_at": AT,
    }


def delivery(id: str, status: Any, tenant: str = "acme") -> WebhookDeliveryDocument:
    """Return a delivery of the first day."""
    return {
        "id": id,
        "tenant_id": tenant,
        "version": 1,
        "endpoint_id": "whe_1",
        "event_id": "evt_1",
        "event_type": "lastro.payment.created.v1",
        "status": status,
        "body": "{}",
        "correlation_id": "r",
        "attempts": [],
        "retries": 0,
        "resend_from": None,
        "lease": None,
        "due_at": None,
        "next_attempt_at": None,
        "created_at": AT,
        "updated_at": AT,
    }


def message(id: str, status: Any, tenant: str = "acme") -> NotificationDocument:
    """Return a message of the first day."""
    return {
        "id": id,
        "tenant_id": tenant,
        "version": 1,
        "user_id": "usr_1",
        "channel": "email",
        "locale": "en",
        "event_id": "evt_1",
        "event_type": "lastro.payment.settled.v1",
        "facts": {},
        "status": status,
        "failure": None,
        "due_at": None,
        "created_at": AT,
        "updated_at": AT,
    }


KINDS: list[tuple[str, Collection[Any, ...], Any, tuple[str, ...], str, int]] = [
    ("operations/remove_dead_letters", DEAD_LETTERS, letter, ("replayed", "discarded"), "parked", 90),
    ("webhooks/remove_deliveries", WEBHOOK_DELIVERIES, delivery, ("delivered", "exhausted"), "pending", 30),
    ("notifications/remove_notifications", NOTIFICATIONS, message, ("sent", "failed"), "pending", 90),
]


async def insert(harness: Harness, collection: Collection[Any, ...], *documents: Any) -> None:
    """Store documents."""
    for document in documents:
        await harness.documents.commit(Commit(document["tenant_id"], inserts=[(collection, document)]))


async def left(harness: Harness, collection: Collection[Any, ...], tenant: str = "acme") -> list[str]:
    """Return the ids of the stored documents."""
    return [document["id"] for document in await harness.documents.find(collection, tenant, Query(limit=1000))]


async def tick(harness: Harness, operation: str) -> None:
    """Deliver a tick of the schedule."""
    delivery = await harness.deliver(operation, harness.envelope(Tick(schedule="x"), tenant=PLATFORM))
    assert delivery.status == 204, delivery


@pytest.mark.parametrize(
    ("operation", "collection", "make", "ended", "waiting", "days"), KINDS, ids=[k[0] for k in KINDS]
)
async def test_what_has_ended_is_removed_after_its_time(
    harness: Harness,
    operation: str,
    collection: Collection[Any, ...],
    make: Any,
    ended: tuple[str, ...],
    waiting: str,
    days: int,
) -> None:
    """Documents that have ended are kept for the documented days and then removed, of every tenant and of the platform;
    what waits is never removed."""
    await harness.tenant("other")
    await insert(harness, collection, *(make(status, status) for status in ended), make("waits", waiting))
    await insert(harness, collection, make("theirs", ended[0], "other"), make("own", ended[0], PLATFORM))
    harness.clock.advance(timedelta(days=days))
    await tick(harness, operation)
    assert len(await left(harness, collection)) == 3
    harness.clock.advance(timedelta(seconds=1))
    await tick(harness, operation)
    assert [await left(harness, collection, owner) for owner in ("acme", "other", PLATFORM)] == [["waits"], [], []]
    assert harness.runtime.telemetry.counters["retention_removed", collection.name] == 4
    await tick(harness, operation)
    assert await left(harness, collection) == ["waits"]


async def test_a_run_removes_a_bounded_number() -> None:
    """One run removes at most LASTRO_RETENTION_DOCUMENTS documents of a tenant and status, the oldest first; the next
    one goes on."""
    harness = Harness.make(settings=Settings(retention_documents=25, sweep_batch=10))
    await harness.tenant()
    for number in range(60):
        old = {
            **delivery(f"whd_{number:02d}", "delivered"),
            "updated_at": f"2026-01-01T00:00:{59 - number:02d}.000000Z",
        }
        await insert(harness, WEBHOOK_DELIVERIES, old)
    harness.clock.advance(timedelta(days=40))
    await tick(harness, "webhooks/remove_deliveries")
    assert await left(harness, WEBHOOK_DELIVERIES) == [f"whd_{number:02d}" for number in range(35)]
    for _ in range(2):
        await tick(harness, "webhooks/remove_deliveries")
    assert await left(harness, WEBHOOK_DELIVERIES) == []


async def test_the_age_of_the_oldest_dead_letter_is_a_metric(harness: Harness) -> None:
    """The metric has the age in seconds of the oldest parked dead letter, of tenants and of the platform; 0 when
    none is parked."""
    gauges = harness.runtime.telemetry.gauges

    async def measured() -> tuple[float, float]:
        await tick(harness, "operations/measure_dead_letters")
        return gauges["dead_letter_oldest_seconds", "tenants"], gauges["dead_letter_oldest_seconds", "platform"]

    assert await measured() == (0, 0)
    await insert(harness, DEAD_LETTERS, letter("parked", "parked"), letter("done", "replayed", PLATFORM))
    harness.clock.advance(timedelta(hours=2))
    assert await measured() == (7200, 0)
    await harness.alter(DEAD_LETTERS, "parked", status="discarded")
    await insert(harness, DEAD_LETTERS, letter("own", "parked", PLATFORM))
    assert await measured() == (0, 7200)


# Replay by filter


async def replay(harness: Harness, body: Any, path: str = "/v1/dead-letters/replay", **options: Any) -> Any:
    """Replay by a filter."""
    answer = await harness.call("POST", path, body, **options)
    assert answer.status == 200, answer.body
    return answer.json


def several(count: int) -> list[Any]:
    """Return parked dead letters of different ages, oldest first."""
    letters = [letter(f"dlt_{number:03d}", "parked") for number in range(count)]
    for number, each in enumerate(letters):
        each["parked_at"] = f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}.000000Z"
    return letters


async def test_dead_letters_are_replayed_by_filter(harness: Harness) -> None:
    """Only the parked dead letters of the type, consumer and time are replayed, oldest first; without a filter all."""
    letters = several(6)
    letters[1]["consumer"] = "ledger-post-transfer"
    letters[2]["event"] = event("e", "lastro.refund.created.v1")
    letters[3]["status"] = "discarded"
    await insert(harness, DEAD_LETTERS, *letters)
    harness.clock.advance(timedelta(hours=1))
    wanted = {"type": "lastro.payment.created.v1", "consumer": "accounts-hold-funds", "before": "2026-01-01T00:00:05Z"}
    found = await replay(harness, wanted)
    assert (found["examined"], found["replayed"], found["next_cursor"]) == (4, ["dlt_000", "dlt_004"], None)
    assert (await replay(harness, {}))["replayed"] == ["dlt_001", "dlt_002", "dlt_005"]
    assert (await replay(harness, None))["examined"] == 0


async def test_many_dead_letters_are_replayed_page_by_page(harness: Harness) -> None:
    """One request looks at 100; with the cursor the next one goes on, and what has failed again since the first is not
    replayed again."""
    await insert(harness, DEAD_LETTERS, *several(230))
    harness.clock.advance(timedelta(hours=1))
    first = await replay(harness, {"consumer": "accounts-hold-funds"})
    assert (first["examined"], len(first["replayed"])) == (100, 100)
    harness.clock.advance(timedelta(seconds=1))
    await harness.alter(DEAD_LETTERS, "dlt_005", status="parked", parked_at="2026-01-01T01:00:00.500000Z")
    second = await replay(harness, {"cursor": first["next_cursor"]})
    third = await replay(harness, {"cursor": second["next_cursor"]})
    assert [len(page["replayed"]) for page in (second, third)] == [100, 30]
    assert third["next_cursor"] is None
    assert len({*first["replayed"], *second["replayed"], *third["replayed"]}) == 230


async def test_a_replay_is_of_one_tenant(harness: Harness) -> None:
    """Another tenant's dead letters are not replayed, its cursor is refused, and the platform replays its own."""
    await harness.tenant("other")
    await insert(harness, DEAD_LETTERS, *several(120), letter("own", "parked", PLATFORM))
    harness.clock.advance(timedelta(hours=1))
    assert (await replay(harness, {}, tenant="other"))["examined"] == 0
    assert (await replay(harness, {}, "/v1/platform/dead-letters/replay"))["replayed"] == ["own"]
    cursor = (await replay(harness, {}))["next_cursor"]
    for body in ({"cursor": cursor}, {"cursor": "x"}):
        answer = await harness.call("POST", "/v1/dead-letters/replay", body, tenant="other")
        assert (answer.status, answer.code) == (400, "malformed_request")
    refused = await harness.call("POST", "/v1/dead-letters/replay", {"before": "today"})
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/before")
