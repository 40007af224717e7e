"""The gateway between the server and the invokers of functions."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from embedded.gateway.gateway import Gateway, Upstream
from embedded.gateway.routing import Router
from shared.context.rate_limits import TenantRateLimit
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
    """The platform's own paths, of which there is one."""

    async def answer(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/own":
            return HttpResponse(200, {}, b"own")
        raise Problem("not_found", "There is nothing at this path.")


class Setup:
    """A gateway whose invoker records each call."""

    def __init__(self, runtime: Any, **options: Any) -> None:
        self.seen: list[tuple[str, HttpRequest]] = []
        self.admitted: list[str] = []
        self.answer = HttpResponse(200, {"content-type": "application/json"}, b'{"a":1}')
        self.failure: Exception | None = None
        self.full = False
        self.limit = TenantRateLimit(runtime, "2", 2)
        upstreams = {
            name: Upstream(f"things-{name}", self.limit, 8 if name == "small" else 1000)
            for name in ("make", "list", "get", "small")
        }
        self.gateway = Gateway(runtime, Router.of(ROUTES), upstreams, self._serve, Own(), self._admit, **options)

    async def _serve(self, service: str, request: HttpRequest) -> HttpResponse:
        self.seen.append((service, request))
        if self.failure is not None:
            raise self.failure
        return HttpResponse(self.answer.status, dict(self.answer.headers), self.answer.body)

    async def _admit(self, tenant_id: str) -> None:
        if self.full:
            raise Problem("dependency_unavailable", "Too many requests are in progress.")
        self.admitted.append(tenant_id)

    async def send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> HttpResponse:
        """Send a request."""
        path, _, query = path.partition("?")
        return await self.gateway.answer(HttpRequest(method, path, query, headers or {}, body))


@pytest.fixture
def place(harness: Harness) -> Setup:
    return Setup(harness.runtime)


def _code(response: HttpResponse) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status, orjson.loads(response.body)["code"]


TOKEN = {"authorization": "Bearer acme|things:write|"}


async def test_a_request_reaches_its_function_as_it_was_sent(place: Setup) -> None:
    """Path, query, headers and body are passed on unchanged, and the function's response is returned."""
    response = await place.send("POST", "/v1/things?x=%20&y", headers={"x-a": "ã"}, body=b'{"a":1}')
    service, request = place.seen[0]
    assert (service, request.path, request.query, request.body) == ("things-make", "/v1/things", "x=%20&y", b'{"a":1}')
    assert request.headers == {"x-a": "ã"}
    assert (response.status, response.body) == (200, b'{"a":1}')
    await place.send("GET", "/v1/things/a%2Fb")
    assert (place.seen[1][0], place.seen[1][1].path) == ("things-get", "/v1/things/a%2Fb")


async def test_a_path_without_a_route_may_be_the_platforms_own(place: Setup) -> None:
    """A path without a route is answered by the platform's own paths, and with 404 when it is not one of them."""
    own = await place.send("GET", "/own")
    assert own.body == b"own"
    assert _code(await place.send("GET", "/v1/nothing")) == (404, "not_found")


async def test_another_method_is_405_with_allow(place: Setup) -> None:
    """A path without this method is answered with 405 and Allow, and OPTIONS with 204 and Allow."""
    refused = await place.send("DELETE", "/v1/things")
    options = await place.send("OPTIONS", "/v1/things")
    assert _code(refused) == (405, "method_not_allowed")
    assert refused.headers["allow"] == options.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (options.status, options.body) == (204, b"")


async def test_head_is_answered_by_the_get_operation(place: Setup) -> None:
    """HEAD is answered by the GET operation; the server leaves its content out."""
    await place.send("HEAD", "/v1/things")
    assert place.seen[0][1].method == "GET"


async def test_a_route_may_have_a_smaller_cap(place: Setup) -> None:
    """Kong's request-size-limiting of a route applies when it is stricter than the platform's bound."""
    assert _code(await place.send("POST", "/v1/small", body=b"123456789")) == (413, "payload_too_large")
    assert (await place.send("POST", "/v1/small", body=b"12345678")).status == 200


async def test_new_work_waits_in_the_admission_queue(place: Setup) -> None:
    """A POST waits in the admission queue for its token's tenant; reads and requests without a token do not wait."""
    await place.send("GET", "/v1/things", headers=TOKEN)
    await place.send("POST", "/v1/things", headers={"authorization": "Bearer nonsense"})
    await place.send("POST", "/v1/things", headers=TOKEN)
    assert place.admitted == ["acme"]
    place.full = True
    assert _code(await place.send("POST", "/v1/things", headers=TOKEN)) == (503, "dependency_unavailable")


async def test_a_failure_behind_the_gateway_is_a_500_problem(place: Setup) -> None:
    """An exception of an invoker is logged and answered as a problem without details."""
    place.failure = RuntimeError("secret particulars")
    response = await place.send("GET", "/v1/things")
    assert _code(response) == (500, "internal_error")
    assert b"particulars" not in response.body


async def test_requests_in_progress_are_bounded(harness: Harness) -> None:
    """A request beyond the bound is answered with 503 and Retry-After at once."""
    place = Setup(harness.runtime, max_in_flight=0)
    response = await place.send("GET", "/v1/things")
    assert _code(response) == (503, "dependency_unavailable")
    assert int(response.headers["retry-after"]) > 0


async def test_the_rate_limit_is_checked_once(harness: Harness) -> None:
    """An invoker that can check the rate limit gets the check; for another one the gateway checks it."""
    along, here = Setup(harness.runtime), Setup(harness.runtime, limits_here=True)
    await along.send("GET", "/v1/things", headers=TOKEN)
    assert along.seen[0][1].rate_gate is not None
    first = await here.send("GET", "/v1/things", headers=TOKEN)
    await here.send("GET", "/v1/things", headers=TOKEN)
    assert first.headers["ratelimit-remaining"] == "1"
    assert _code(await here.send("GET", "/v1/things", headers=TOKEN)) == (429, "rate_limited")
    await here.send("GET", "/v1/things")
    assert here.seen[-1][1].rate_gate is None
    assert len(here.seen) == 3
