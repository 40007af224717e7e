"""A function for events, as functions-framework calls it: a request is a CloudEvent or is refused."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.operations.park_dead_letter import park_dead_letter
from shared.core.envelope import Envelope
from shared.functions.process import install
from shared.ports.documents import PLATFORM, Query
from shared.records.dead_letters import DEAD_LETTERS
from tests.harness import Harness

EVENT = {"id": "evt_1", "source": "/lastro/x/y", "type": "lastro.x.y.v1", "time": "2026-01-31T12:00:00Z"}


@pytest.fixture
def alone(harness: Harness) -> Iterator[Harness]:
    """The runtime of the function's process."""
    install(harness.runtime)
    yield harness
    install(None)


async def call(headers: list[tuple[str, str]], body: bytes) -> Response:
    """Send a request to the function."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}
    return await park_dead_letter(Request(scope, receive))


@pytest.mark.parametrize(
    ("name", "value"),
    [("time", "garbage"), ("subject", ""), ("source", "two words"), ("id", "x" * 60_000), ("note", "a\x00b")],
)
async def test_what_is_no_cloudevent_is_refused_by_a_function_alone(alone: Harness, name: str, value: str) -> None:
    """A request that is not a CloudEvent is answered with 400 and the reason, so that Knative dead-letters it without
    a retry."""
    event = Envelope.of({**EVENT, name: value}, b"{}")
    structured = [("content-type", "application/cloudevents+json")]
    for headers, body in ((list(event.to_binary()[0].items()), b"{}"), (structured, event.to_structured())):
        answer = await call(headers, body)
        assert (answer.status_code, answer.body) == (400, b"")
        assert answer.headers["kne-code"] == "malformed_request"
        assert answer.headers["kne-detail"].startswith(f"This is not a CloudEvent: attribute {name} ")
    assert await alone.documents.find(DEAD_LETTERS, PLATFORM, Query()) == []


async def test_an_event_of_the_kafka_data_plane_is_accepted(alone: Harness) -> None:
    """Knative's extensions, whose names are longer than the specification recommends, are accepted."""
    event = Envelope.of({**EVENT, "knativekafkapartition": "3", "knativekafkaoffset": "7"}, b'{"a":1}')
    assert (await call(list(event.to_binary()[0].items()), event.data)).status_code == 204
    (letter,) = await alone.documents.find(DEAD_LETTERS, PLATFORM, Query())
    assert letter["event"] == Envelope.of(EVENT, b"").attributes()


async def test_numbers_of_an_event_survive_the_dead_letters(alone: Harness) -> None:
    """An integer beyond 64 bits is stored, shown and replayed with all its digits."""
    data = b'{"id": 123456789012345678901234567890, "rate": 0.10}'
    attributes = {**EVENT, "tenantid": "acme", "partitionkey": "acme/x"}
    assert (await call(list(Envelope.of(attributes, data).to_binary()[0].items()), data)).status_code == 204
    shown = await alone.call("GET", "/v1/dead-letters")
    letter = orjson.loads(shown.body)["data"][0]
    assert b'"id":123456789012345678901234567890' in shown.body
    assert (await alone.call("POST", f"/v1/dead-letters/{letter['id']}/replay")).status == 200
    again = next(event for event in alone.events if event.id == "evt_1")
    assert again.data == data


async def test_an_event_over_the_bound_is_refused_for_good(alone: Harness) -> None:
    """An event whose data, or whose whole message, is over the bound is answered with 413, so that Knative dead-letters
    it without a retry."""
    limit = alone.runtime.settings.max_event_bytes
    for size in (limit + 1, limit + 100_000, alone.runtime.settings.max_body_bytes + 1):
        event = Envelope.of(EVENT, b'"' + b"x" * (size - 2) + b'"')
        answer = await call(list(event.to_binary()[0].items()), event.data)
        assert (answer.status_code, answer.headers["kne-code"]) == (413, "payload_too_large")
    assert await alone.documents.find(DEAD_LETTERS, PLATFORM, Query()) == []


async def test_a_chunked_event_is_refused(alone: Harness) -> None:
    """A chunked body, whose trailers may come as attributes, is answered with 400, and the connection is closed."""
    event = Envelope.of(EVENT, b"{}")
    answer = await call([*event.to_binary()[0].items(), ("transfer-encoding", "chunked")], b"{}")
    assert (answer.status_code, answer.headers["kne-code"]) == (400, "malformed_request")
    assert answer.headers["connection"] == "close"
    assert await alone.documents.find(DEAD_LETTERS, PLATFORM, Query()) == []
