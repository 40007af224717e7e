"""The timeline of a payment."""

from __future__ import annotations

import orjson

from tests.functions.payments.story import money, story
from tests.harness import Harness


async def test_the_timeline_tells_every_fact_of_a_payment_and_its_refunds_in_order(harness: Harness) -> None:
    """Oldest first, each with the id of its event, the full type and the event's data."""
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
    """Pages join without a gap, and the last has no cursor."""
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


async def test_a_cursor_of_one_payments_timeline_does_not_open_anothers(harness: Harness) -> None:
    """A cursor is bound to what it was made for."""
    begun = await story(harness)
    first, second = await begun.paid(100), await begun.paid(200)
    page = (await harness.call("GET", f"/v1/payments/{first}/events", query="limit=1")).json
    answer = await harness.call("GET", f"/v1/payments/{second}/events", query=f"cursor={page['next_cursor']}")
    assert (answer.status, answer.code) == (400, "malformed_request")


async def test_a_cancellation_tells_its_reason_in_the_timeline(harness: Harness) -> None:
    """The reason that was given stands in the fact."""
    begun = await story(harness)
    payment_id = await begun.authorized()
    await begun.act(payment_id, "cancel", {"reason": "out of stock"})
    entries = (await harness.call("GET", f"/v1/payments/{payment_id}/events")).json["data"]
    assert entries[-1]["type"] == "lastro.payment.canceled.v1"
    assert entries[-1]["data"]["reason"] == "out of stock"
