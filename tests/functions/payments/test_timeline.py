"""The timeline of a payment."""

from __future__ import annotations

import orjson

from tests.functions.payments.story import money, story
from tests.harness import Harness


async def test_the_timeline_lists_the_events_of_a_payment_and_its_refunds(harness: Harness) -> None:
    """The timeline lists the events oldest first, each with the event's id, type and data."""
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    await begun.act(payment_id, "capture", money(900))
    await harness.run_events()
    await begun.refund(payment_id, 100)
    await harness.run_events()
    entries = (await harness.call("GET", f"/v1/payments/{payment_id}/events")).json["data"]
    assert [entry["type"] for entry in entries] == [
        "lastro.payment.created.v1",
        "lastro.payment.authorized.v1",
        "lastro.payment.capture_requested.v1",
        "lastro.payment.settled.v1",
        "lastro.refund.created.v1",
        "lastro.refund.settled.v1",
    ]
    published = {envelope.id: envelope for envelope in harness.events}
    for entry in entries:
        envelope = published[entry["id"]]
        assert (entry["type"], entry["time"]) == (envelope.type, envelope.time)
        assert entry["data"] == orjson.loads(envelope.data)


async def test_the_timeline_is_read_page_by_page_and_shows_no_other_payments_facts(harness: Harness) -> None:
    """The pages contain every event once, and the last page has no cursor."""
    begun = await story(harness)
    first, second = await begun.paid(100), await begun.paid(200)
    for payment_id in (first, second):
        types, query = [], "limit=3"
        while query:
            page = (await harness.call("GET", f"/v1/payments/{payment_id}/events", query=query)).json
            types += [(entry["type"], entry["data"]["payment_id"]) for entry in page["data"]]
            query = f"limit=3&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        facts = ("created", "authorized", "capture_requested", "settled")
        assert types == [(f"lastro.payment.{fact}.v1", payment_id) for fact in facts]


async def test_a_cursor_is_valid_for_its_payment_only(harness: Harness) -> None:
    """A cursor of one payment's timeline is refused for another payment."""
    begun = await story(harness)
    first, second = await begun.paid(100), await begun.paid(200)
    page = (await harness.call("GET", f"/v1/payments/{first}/events", query="limit=1")).json
    answer = await harness.call("GET", f"/v1/payments/{second}/events", query=f"cursor={page['next_cursor']}")
    assert (answer.status, answer.code) == (400, "malformed_request")


async def test_the_timeline_shows_the_reason_of_a_cancellation(harness: Harness) -> None:
    """The event of a cancellation has the reason of the request."""
    begun = await story(harness)
    payment_id = await begun.authorized()
    await begun.act(payment_id, "cancel", {"reason": "out of stock"})
    entries = (await harness.call("GET", f"/v1/payments/{payment_id}/events")).json["data"]
    assert entries[-1]["type"] == "lastro.payment.canceled.v1"
    assert entries[-1]["data"]["reason"] == "out of stock"
