"""The gateway between the wire and the invokers of functions."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from embedded.gateway.gateway import Gateway, Upstream
from embedded.gateway.rate_limits import RateLimits
from embedded.gateway.routing import Router
from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse
from tests.harness import Harness

ROUTES = [
    (["POST"], "~/v1/things$", "make"),
    (["GET"], "~/v1/things$", "list"),
    (["GET"], "~/v1/things/(?<thing_id>[^/]+)$", "get"),
    (["POST"], "~/v1/small$", "small"),
]


class Own:
    """The platform's own paths: one."""

    async def answer(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/own":
            return HttpResponse(200, {}, b"own")
        raise Problem("not_found", "There is nothing at this path.")


class Place:
    """A gateway whose invoker notes each call."""

    def __init__(self, runtime: Any, **options: Any) -> None:
        self.seen: list[tuple[str, HttpRequest]] = []
        self.admitted: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.answer = HttpResponse(200, {"content-type": "application/json"}, b'{"a":1}')
        self.failure: Exception | None = None
        self.full = False
        self.limits = RateLimits(2, lambda: 0.0)
        upstreams = {
            name: Upstream(f"things-{name}", self.limits.take, 8 if name == "small" else 1000)
            for name in ("make", "list", "get", "small")
        }
        self.gateway = Gateway(runtime, Router.of(ROUTES), upstreams, self._serve, Own(), self._admit, **options)

    async def _serve(self, service: str, request: HttpRequest) -> HttpResponse:
        self.seen.append((service, request))
        if self.failure is not None:
            raise self.failure
        return self.answer

    async def _admit(self, tenant_id: str) -> None:
        if self.full:
            raise Problem("dependency_unavailable", "Too much is under way.")
        self.admitted.append(tenant_id)

    async def send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, messages: list[Any] | None = None
    ) -> HttpResponse | None:
        """Send a request in the given messages; None when nothing was answered."""
        queue = list(messages if messages is not None else [{"type": "http.request", "body": b""}])

        async def receive() -> Any:
            assert queue, "the gateway reads on"
            return queue.pop(0)

        async def send(message: Any) -> None:
            self.sent.append(dict(message))

        raw_path, _, query = path.encode("latin-1").partition(b"?")
        scope = {
            "type": "http",
            "method": method,
            "path": "/never/looked/at",
            "raw_path": raw_path,
            "query_string": query,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
        }
        self.sent = []
        await self.gateway(scope, receive, send)
        if not self.sent:
            return None
        found = {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}
        return HttpResponse(self.sent[0]["status"], found, self.sent[1]["body"])


@pytest.fixture
def place(harness: Harness) -> Place:
    return Place(harness.runtime)


def _code(response: HttpResponse | None) -> tuple[int, str]:
    assert response is not None
    assert response.headers["content-type"] == "application/problem+json"
    return response.status, orjson.loads(response.body)["code"]


TOKEN = {"authorization": "Bearer acme|things:write|"}


async def test_a_request_reaches_its_function_as_it_was_sent(place: Place) -> None:
    """Path and query go on raw, headers by lower-case name, and the answer comes back with its length."""
    response = await place.send("GET", "/v1/things/a%2Fb?x=%20&y", headers={"x-a": "ã"})
    assert response is not None
    service, request = place.seen[0]
    assert (service, request.path, request.query) == ("things-get", "/v1/things/a%2Fb", "x=%20&y")
    assert request.headers == {"x-a": "ã"}
    assert (response.status, response.body, response.headers["content-length"]) == (200, b'{"a":1}', "7")


async def test_a_body_may_come_in_pieces(place: Place) -> None:
    """A body is what its pieces make together."""
    pieces = [{"type": "http.request", "body": b'{"a"', "more_body": True}, {"type": "http.request", "body": b":1}"}]
    await place.send("POST", "/v1/things", messages=pieces)
    assert place.seen[0][1].body == b'{"a":1}'


async def test_what_is_not_routed_may_be_the_platform_s_own(place: Place) -> None:
    """A path without a route is offered to the platform's own paths, and is 404 when it is not theirs either."""
    own = await place.send("GET", "/own")
    assert own is not None
    assert own.body == b"own"
    assert _code(await place.send("GET", "/v1/nothing")) == (404, "not_found")


async def test_another_method_is_405_with_allow(place: Place) -> None:
    """A path that exists, but not for this method, says for which it does; OPTIONS says so as an answer."""
    refused = await place.send("DELETE", "/v1/things")
    options = await place.send("OPTIONS", "/v1/things")
    assert _code(refused) == (405, "method_not_allowed")
    assert refused is not None
    assert options is not None
    assert refused.headers["allow"] == options.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (options.status, options.body) == (204, b"")


async def test_head_is_a_get_without_its_content(place: Place) -> None:
    """HEAD is answered by the GET operation, with the length but not the body of its answer."""
    response = await place.send("HEAD", "/v1/things")
    assert response is not None
    assert place.seen[0][1].method == "GET"
    assert (response.headers["content-length"], response.body) == ("7", b"")


async def test_a_declared_length_beyond_the_cap_is_refused_unread(place: Place) -> None:
    """Content-Length above the bound is 413 before anything is read, and the connection is not used again."""
    response = await place.send("POST", "/v1/things", headers={"content-length": "999999"}, messages=[])
    assert _code(response) == (413, "payload_too_large")
    assert response is not None
    assert response.headers["connection"] == "close"
    assert place.seen == []


async def test_an_undeclared_body_is_read_up_to_the_cap(place: Place) -> None:
    """A body that grows beyond the bound is 413 at the piece that crosses it; what follows is not read."""
    piece = {"type": "http.request", "body": b"x" * 200_000, "more_body": True}
    response = await place.send("POST", "/v1/things", headers={"transfer-encoding": "chunked"}, messages=[piece, piece])
    assert _code(response) == (413, "payload_too_large")


async def test_a_route_may_have_a_smaller_cap(place: Place) -> None:
    """Kong's request-size-limiting on a route holds where it is stricter than the platform's bound."""
    messages = [{"type": "http.request", "body": b"123456789"}]
    assert _code(await place.send("POST", "/v1/small", messages=messages)) == (413, "payload_too_large")


async def test_a_client_that_leaves_is_no_error(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A client that hangs up before its body is complete gets no answer, and nothing is logged or done."""
    pieces = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    assert await place.send("POST", "/v1/things", messages=pieces) is None
    assert (place.seen, caplog.records, place.gateway.in_flight) == ([], [], 0)


async def test_new_work_waits_in_the_admission_queue(place: Place) -> None:
    """A POST waits in the admission queue for its token's tenant; reads and requests without a token do not wait."""
    await place.send("GET", "/v1/things", headers=TOKEN)
    await place.send("POST", "/v1/things", headers={"authorization": "Bearer nonsense"})
    await place.send("POST", "/v1/things", headers=TOKEN)
    assert place.admitted == ["acme"]
    place.full = True
    assert _code(await place.send("POST", "/v1/things", headers=TOKEN)) == (503, "dependency_unavailable")


async def test_a_failure_behind_the_gateway_is_a_500_problem(place: Place) -> None:
    """Whatever an invoker raises is logged and answered as a problem without its particulars."""
    place.failure = RuntimeError("secret particulars")
    response = await place.send("GET", "/v1/things")
    assert _code(response) == (500, "internal_error")
    assert response is not None
    assert b"particulars" not in response.body


async def test_requests_under_way_are_bounded(harness: Harness) -> None:
    """Beyond the bound a request is 503 with Retry-After, at once."""
    place = Place(harness.runtime, max_in_flight=0)
    response = await place.send("GET", "/v1/things")
    assert _code(response) == (503, "dependency_unavailable")
    assert response is not None
    assert int(response.headers["retry-after"]) > 0


async def test_the_rate_gate_goes_along_or_is_asked_here(harness: Harness) -> None:
    """An invoker that passes the rate gate on is given it; for one that does not, the gateway counts by itself."""
    along, here = Place(harness.runtime), Place(harness.runtime, limits_here=True)
    await along.send("GET", "/v1/things", headers=TOKEN)
    assert along.seen[0][1].rate_gate is not None
    first = await here.send("GET", "/v1/things", headers=TOKEN)
    await here.send("GET", "/v1/things", headers=TOKEN)
    assert first is not None
    assert first.headers["ratelimit-remaining"] == "1"
    assert _code(await here.send("GET", "/v1/things", headers=TOKEN)) == (429, "rate_limited")
    await here.send("GET", "/v1/things")
    assert here.seen[-1][1].rate_gate is None
    assert len(here.seen) == 3


async def test_other_protocols_are_declined(place: Place) -> None:
    """A lifespan is acknowledged and a websocket is closed."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    for kind, messages in (
        ("lifespan", ["lifespan.startup", "lifespan.shutdown"]),
        ("websocket", ["websocket.connect"]),
    ):
        queue = [{"type": name} for name in messages]

        async def receive(queue: list[Any] = queue) -> Any:
            return queue.pop(0)

        await place.gateway({"type": kind}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
