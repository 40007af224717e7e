"""Dead letters are stored with the whole event, listed, replayed unchanged, and discarded with a reason."""

from __future__ import annotations

from asyncio import gather
from base64 import b64encode
from datetime import timedelta
from typing import Any

import orjson
import pytest

from events.dead_letters import DeadLetterDiscarded, DeadLetterParked, DeadLetterReplayed
from events.payments.created import PaymentCreated
from shared.core.envelope import Envelope
from shared.core.money import Money
from shared.messaging.http_binding import from_http
from shared.ports.documents import PLATFORM, Query
from shared.records.dead_letters import DEAD_LETTERS
from tests.functions.payments.story import story
from tests.harness import Harness

PARK = "operations/park_dead_letter"
OF_NO_TENANT = "/v1/platform/dead-letters"


def undelivered(envelope: Envelope, consumer: str = "accounts-hold-funds", **more: str) -> Envelope:
    """Return the event as the data plane sends it to the dead letter sink."""
    return envelope.with_extensions(
        {
            "knativeerrordest": f"http://{consumer}.lastro.svc.cluster.local",
            "knativeerrorcode": "503",
            "knativekafkaoffset": "7",
            **more,
        }
    )


def a_fact(harness: Harness, **more: str) -> Envelope:
    """Return a fact about a payment that does not exist."""
    created = PaymentCreated(
        payment_id="pay_1",
        amount=Money(value=1, currency="BRL"),
        payer_account_id="acc_1",
        payee_account_id="acc_2",
        method="internal",
        capture="automatic",
        expires_at="2026-01-08T00:00:00.000000Z",
    )
    return harness.envelope(created, **more)


async def park(harness: Harness, envelope: Envelope) -> None:
    """Deliver an event to the dead letter sink."""
    assert (await harness.deliver(PARK, envelope)).status == 204


async def letters(harness: Harness, query: str = "") -> list[Any]:
    """Return the tenant's dead letters."""
    answer = await harness.call("GET", "/v1/dead-letters", query=query)
    assert answer.status == 200, answer.body
    return list(answer.json["data"])


async def test_an_undelivered_event_is_stored_with_its_cause(harness: Harness) -> None:
    """The stored event is the published one, without the extensions of the data plane, which become the cause."""
    fact = a_fact(harness)
    await park(harness, undelivered(fact, knecode="dependency_unavailable", knedetail="no store", knetenant="acme"))
    (letter,) = await letters(harness)
    assert letter == {
        "id": letter["id"],
        "event": orjson.loads(fact.to_structured()),
        "consumer": "accounts-hold-funds",
        "cause": {"code": "dependency_unavailable", "status": 503, "detail": "no store"},
        "attempts": 1,
        "status": "parked",
        "parked_at": "2026-01-01T00:00:00.000000Z",
    }
    assert (await harness.call("GET", f"/v1/dead-letters/{letter['id']}")).json == letter
    (parked,) = harness.events_of(DeadLetterParked)
    assert (parked.event_id, parked.consumer, parked.code) == (fact.id, letter["consumer"], letter["cause"]["code"])


@pytest.mark.parametrize(
    ("extensions", "cause"),
    [
        (
            {"knativeerrordata": b64encode("não".encode()).decode()},
            {"code": "http_503", "status": 503, "detail": "não"},
        ),
        ({"knativeerrorcode": ""}, {"code": "no_answer", "status": None, "detail": ""}),
        ({"knativeerrorcode": "x" * 99, "knativeerrordata": "%"}, {"code": "no_answer", "status": None, "detail": "%"}),
    ],
)
async def test_the_cause_without_problem_headers(
    harness: Harness, extensions: dict[str, str], cause: dict[str, Any]
) -> None:
    """For a response without Lastro's headers, the cause is made of its status and the start of its body."""
    await park(harness, undelivered(a_fact(harness), **extensions))
    (letter,) = await letters(harness)
    assert letter["cause"] == cause


async def test_a_dead_letter_of_knatives_channel_in_memory_is_stored(harness: Harness) -> None:
    """The channel in memory sends an empty `knativeerrordata` for a response without a body, and attributes of its own,
    which the stored event does not have."""
    fact = a_fact(harness)
    added = {
        "ce-knativearrivaltime": "2026-11-26T23:44:48.934249928Z",
        "ce-knativebrokerttl": "255",
        "ce-knativeerrorcode": "400",
        "ce-knativeerrordata": "",
        "ce-knativeerrordest": "http://accounts-apply-transfer.lastro.svc.cluster.local",
    }
    own = {f"ce-{name}": value for name, value in fact.attributes().items() if name != "datacontenttype"}
    headers = {"ce-specversion": "1.0", "content-type": "application/json", **own, **added}
    await park(harness, from_http(headers.items(), fact.data))
    (letter,) = await letters(harness)
    assert letter["event"] == orjson.loads(fact.to_structured())
    assert letter["consumer"] == "accounts-apply-transfer"
    assert letter["cause"] == {"code": "http_400", "status": 400, "detail": ""}


async def test_the_same_failure_delivered_twice_is_one_dead_letter(harness: Harness) -> None:
    """A failure that is delivered to the sink twice is one dead letter."""
    envelope = undelivered(a_fact(harness))
    await park(harness, envelope)
    await park(harness, envelope)
    (letter,) = await letters(harness)
    assert letter["attempts"] == 1
    assert len(harness.events_of(DeadLetterParked)) == 1


async def test_one_event_that_two_consumers_fail_is_two_dead_letters(harness: Harness) -> None:
    """The failures of two consumers of one event are two dead letters."""
    fact = a_fact(harness)
    await park(harness, undelivered(fact, "accounts-hold-funds"))
    await park(harness, undelivered(fact, "statements-project-transfer"))
    assert {letter["consumer"] for letter in await letters(harness)} == {
        "accounts-hold-funds",
        "statements-project-transfer",
    }


async def test_a_replay_publishes_the_same_event(harness: Harness) -> None:
    """Consumers that have applied the replayed event do nothing; the one that has not applies it."""
    begun = await story(harness)
    payment = await harness.pay(begun.payer, begun.payee, 1000)
    lost = harness.events[-1]
    harness._routed = len(harness.events)
    await park(harness, undelivered(lost))
    (letter,) = await letters(harness)
    answer = await harness.call("POST", f"/v1/dead-letters/{letter['id']}/replay")
    assert (answer.status, answer.json["status"]) == (200, "replayed")
    again = next(event for event in reversed(harness.events) if event.type == lost.type)
    assert (again.id, again.source, again.subject, again.data) == (lost.id, lost.source, lost.subject, lost.data)
    assert again.repeated, "the broker may not take it for new"
    await harness.run_events(times=2)
    assert (await harness.payment(payment["id"]))["status"] == "settled"
    (replayed,) = harness.events_of(DeadLetterReplayed)
    assert replayed.event_id == lost.id
    await park(harness, undelivered(lost))
    assert [letter["status"] for letter in await letters(harness)] == ["replayed"], "an old failure, delivered late"


async def test_a_replayed_event_that_fails_again_is_parked_again(harness: Harness) -> None:
    """A replayed event that fails again is the same dead letter with one more attempt and the new cause."""
    fact = a_fact(harness)
    await park(harness, undelivered(fact))
    (letter,) = await letters(harness)
    for attempt in (2, 3):
        await harness.call("POST", f"/v1/dead-letters/{letter['id']}/replay")
        again = next(event for event in reversed(harness.events) if event.id == fact.id)
        harness.clock.advance(timedelta(seconds=1))
        await park(harness, undelivered(again, knecode="validation_failed", knativeerrorcode="422"))
        (letter,) = await letters(harness)
        assert (letter["status"], letter["attempts"]) == ("parked", attempt)
        assert letter["cause"]["code"] == "validation_failed"
    assert letter["parked_at"] == "2026-01-01T00:00:02.000000Z"


async def test_a_discarded_letter_stays_listed_with_its_reason(harness: Harness) -> None:
    """A discarded dead letter stays in the list; the required reason is stored and published, and the status is
    final."""
    await park(harness, undelivered(a_fact(harness)))
    (letter,) = await letters(harness)
    path = f"/v1/dead-letters/{letter['id']}"
    for body in ({}, {"reason": ""}, {"reason": 1}):
        assert (await harness.call("POST", f"{path}/discard", body)).code == "validation_failed"
    answer = await harness.call("POST", f"{path}/discard", {"reason": "test data"})
    assert (answer.status, answer.json["status"]) == (200, "discarded")
    (discarded,) = harness.events_of(DeadLetterDiscarded)
    assert discarded.reason == "test data"
    for action, again in (("replay", None), ("discard", {"reason": "again"})):
        answer = await harness.call("POST", f"{path}/{action}", again)
        assert (answer.status, answer.code) == (409, "illegal_state")
    assert [found["status"] for found in await letters(harness)] == ["discarded"]


async def test_a_letter_is_replayed_once_until_it_fails_again(harness: Harness) -> None:
    """A second replay of the same failure is answered with 409 and publishes nothing."""
    await park(harness, undelivered(a_fact(harness)))
    (letter,) = await letters(harness)
    path = f"/v1/dead-letters/{letter['id']}/replay"
    assert (await harness.call("POST", path)).status == 200
    events = len(harness.events)
    answer = await harness.call("POST", path)
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert len(harness.events) == events


def of_no_tenant(harness: Harness, id: str = "evt_nobody") -> Envelope:
    """Return a fact without a tenant."""
    fact = a_fact(harness)
    extensions = {name: value for name, value in fact.extensions.items() if name != "tenantid"}
    return Envelope(id=id, source="/x", type=fact.type, subject="s", time=None, extensions=extensions, data=b"{}")


async def test_an_event_of_no_known_tenant_is_stored_for_the_platform(harness: Harness) -> None:
    """A schedule's tick, and an event of an unknown tenant, are stored as dead letters of the platform, which no
    tenant sees."""
    await park(harness, undelivered(of_no_tenant(harness)))
    await park(harness, undelivered(a_fact(harness, tenantid="ghost")))
    assert await letters(harness) == []
    assert len(await harness.documents.find(DEAD_LETTERS, PLATFORM, Query())) == 2


async def test_the_operator_lists_and_shows_the_dead_letters_of_no_tenant(harness: Harness) -> None:
    """The platform's list has only dead letters without a tenant, newest first and in pages, each with its whole
    event."""
    await park(harness, undelivered(a_fact(harness)))
    for number in range(3):
        harness.clock.advance(timedelta(seconds=1))
        await park(harness, undelivered(of_no_tenant(harness, f"evt_{number}")))
    page = (await harness.call("GET", OF_NO_TENANT, query="limit=2")).json
    rest = (await harness.call("GET", OF_NO_TENANT, query=f"limit=2&cursor={page['next_cursor']}")).json
    listed = page["data"] + rest["data"]
    assert [letter["event"]["id"] for letter in listed] == ["evt_2", "evt_1", "evt_0"]
    assert (await harness.call("GET", f"{OF_NO_TENANT}/{listed[0]['id']}")).json == listed[0]
    assert (await harness.call("GET", OF_NO_TENANT, query="status=discarded")).json["data"] == []


async def test_the_operator_replays_and_discards_the_dead_letters_of_no_tenant(harness: Harness) -> None:
    """A replay publishes the event unchanged; a discarded dead letter stays listed, and its reason is published."""
    await park(harness, undelivered(of_no_tenant(harness)))
    await park(harness, undelivered(of_no_tenant(harness, "evt_other")))
    other, first = (await harness.call("GET", OF_NO_TENANT)).json["data"]
    assert (await harness.call("POST", f"{OF_NO_TENANT}/{first['id']}/replay")).json["status"] == "replayed"
    again = next(event for event in harness.events if event.id == "evt_nobody")
    assert (again.data, again.tenant_id, again.repeated) == (b"{}", None, True)
    assert (await harness.call("POST", f"{OF_NO_TENANT}/{first['id']}/replay")).code == "illegal_state"
    discarded = await harness.call("POST", f"{OF_NO_TENANT}/{other['id']}/discard", {"reason": "forged"})
    assert discarded.json["status"] == "discarded"
    assert [letter["status"] for letter in (await harness.call("GET", OF_NO_TENANT)).json["data"]] == [
        "discarded",
        "replayed",
    ]


async def test_tenants_and_the_platform_do_not_see_each_others_dead_letters(harness: Harness) -> None:
    """A tenant's dead letter is answered with 404 to the platform operator, and the platform's to a tenant."""
    await park(harness, undelivered(a_fact(harness)))
    await park(harness, undelivered(of_no_tenant(harness)))
    (tenants,) = await letters(harness)
    (platforms,) = (await harness.call("GET", OF_NO_TENANT)).json["data"]
    for path in (f"{OF_NO_TENANT}/{tenants['id']}", f"/v1/dead-letters/{platforms['id']}"):
        for method, rest, body in (("GET", "", None), ("POST", "/replay", None), ("POST", "/discard", {"reason": "x"})):
            answer = await harness.call(method, path + rest, body)
            assert (answer.status, answer.code) == (404, "not_found")


async def test_a_fact_about_a_dead_letter_never_becomes_one(harness: Harness) -> None:
    """Facts about a dead letter have its id, and when their delivery fails they are neither stored nor published."""
    await park(harness, undelivered(a_fact(harness)))
    (letter,) = await letters(harness)
    await harness.call("POST", f"/v1/dead-letters/{letter['id']}/replay")
    facts = [event for event in harness.events if event.type.startswith("lastro.dead_letter.")]
    assert [event.extensions["deadletterid"] for event in facts] == [letter["id"]] * 2
    events = len(harness.events)
    for fact in facts:
        await park(harness, undelivered(fact))
        # An event that was published before facts had the mark.
        unmarked = {name: value for name, value in fact.attributes().items() if name != "deadletterid"}
        await park(harness, undelivered(Envelope.of(unmarked, fact.data)))
    assert len(harness.events) == events
    assert len(await letters(harness)) == 1
    assert await harness.documents.find(DEAD_LETTERS, PLATFORM, Query()) == []


async def test_an_event_caused_by_such_a_fact_is_marked(harness: Harness) -> None:
    """A function that processes a fact about a dead letter marks its own events with the dead letter's id."""
    begun = await story(harness)
    await harness.pay(begun.payer, begun.payee, 1000)
    (created,) = [event for event in harness.events if event.type == "lastro.payment.created.v1"]
    marked = created.with_extensions({"deadletterid": "dlt_1"})
    assert (await harness.deliver("accounts/hold_funds", marked)).status == 204
    held = next(event for event in harness.events if event.type == "lastro.account.funds_held.v1")
    assert held.extensions["deadletterid"] == "dlt_1"
    await park(harness, undelivered(held))
    assert await letters(harness) == []


async def test_a_tenant_has_access_to_its_own_dead_letters_only(harness: Harness) -> None:
    """Dead letters of another tenant are answered as unknown ones."""
    await harness.tenant("other")
    await park(harness, undelivered(a_fact(harness)))
    (letter,) = await letters(harness)
    assert (await harness.call("GET", "/v1/dead-letters", tenant="other")).json["data"] == []
    path = f"/v1/dead-letters/{letter['id']}"
    for method, rest, body in (
        ("GET", "", None),
        ("POST", "/replay", None),
        ("POST", "/discard", {"reason": "not mine"}),
    ):
        answer = await harness.call(method, path + rest, body, tenant="other")
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await letters(harness))[0]["status"] == "parked"


async def test_dead_letters_are_listed_by_status_and_page_by_page(harness: Harness) -> None:
    """The pages contain every dead letter once; `status` filters the list."""
    for _ in range(5):
        harness.clock.advance(timedelta(seconds=1))
        await park(harness, undelivered(a_fact(harness)))
    every = await letters(harness)
    assert [letter["parked_at"] for letter in every] == sorted((letter["parked_at"] for letter in every), reverse=True)
    page = (await harness.call("GET", "/v1/dead-letters", query="limit=3&status=parked")).json
    rest = (await harness.call("GET", "/v1/dead-letters", query=f"limit=3&cursor={page['next_cursor']}")).json
    assert page["data"] + rest["data"] == every
    assert rest["next_cursor"] is None
    assert await letters(harness, "status=discarded") == []
    assert (await harness.call("GET", "/v1/dead-letters", query="status=lost")).code == "malformed_request"


async def test_the_same_failure_at_two_sinks_at_once_is_one_dead_letter(crowded: Harness) -> None:
    """Two concurrent deliveries of one failure park one dead letter, and both are acknowledged."""
    envelope = undelivered(a_fact(crowded))
    statuses = {delivery.status for delivery in await gather(*(crowded.deliver(PARK, envelope) for _ in range(4)))}
    assert statuses <= {204, 409}
    await park(crowded, envelope)
    assert len(await letters(crowded)) == 1
