"""The limit of a tenant's requests, counted by all processes together or by each."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from shared.adapters.memory.stores import MemoryFlags, MemoryRateLimits
from shared.context.rate_limits import TenantRateLimit
from shared.core.flags import SHARED_RATE_LIMITS
from shared.core.problems import Problem
from shared.core.sliding_window import Count
from shared.ports.documents import Unavailable
from tests.harness import Harness


class Server(MemoryRateLimits):
    """Shared counts that can be unreachable."""

    is_away = False
    asked = 0

    async def take(self, key: str, limit: int) -> Count:
        self.asked += 1
        if self.is_away:
            raise Unavailable("the server of the counts does not answer")
        return await super().take(key, limit)


@pytest.fixture
def server(harness: Harness) -> Server:
    """The shared counts of the harness."""
    harness.runtime.rate_limits = server = Server(harness.clock)
    return server


async def admitted(gate: TenantRateLimit, tenant: str = "acme", own: int | None = None) -> bool:
    try:
        await gate(tenant, own)
    except Problem as problem:
        return problem.code != "rate_limited"
    return True


async def test_a_refusal_has_the_headers_and_the_time_to_wait(harness: Harness) -> None:
    """A tenant may send one second's requests at once; more are refused with Retry-After and the limit's headers."""
    gate = TenantRateLimit(harness.runtime, "3", 3)
    left = [(await gate("t", None))["ratelimit-remaining"] for _ in range(3)]
    with pytest.raises(Problem) as refused:
        await gate("t", None)
    headers = {name.lower(): value for name, value in refused.value.headers.items()}
    assert left == ["2", "1", "0"]
    assert refused.value.status == 429
    assert headers["retry-after"] == "1"
    assert headers["x-ratelimit-limit-second"] == headers["ratelimit-limit"] == "3"
    assert headers["x-ratelimit-remaining-second"] == "0"
    harness.clock.advance(timedelta(seconds=1))
    assert (await gate("t", None))["ratelimit-remaining"] == "2"


async def test_a_tenants_own_limit_overrides_the_default(harness: Harness) -> None:
    """A tenant with its own limit has that limit, and each other tenant the default; without a default it has none."""
    gate = TenantRateLimit(harness.runtime, "1", 1)
    assert (await gate("big", 10))["ratelimit-limit"] == "10"
    assert await admitted(gate, "small")
    assert not await admitted(gate, "small")
    own_only = TenantRateLimit(harness.runtime, "own", None)
    assert await own_only("small", None) == {}
    assert await admitted(own_only, "big", 1)
    assert not await admitted(own_only, "big", 1)


async def test_gates_of_two_processes_share_one_limit(harness: Harness, server: Server) -> None:
    """With shared counts, two processes admit together what one would; gates of another name count separately."""
    first, second = (TenantRateLimit(harness.runtime, "4", 4) for _ in range(2))
    assert [await admitted(gate) for _ in range(3) for gate in (first, second)] == [True] * 4 + [False] * 2
    assert await admitted(TenantRateLimit(harness.runtime, "5", 4))


async def test_each_request_asks_once(harness: Harness, server: Server) -> None:
    """A request causes one call for the shared counts, admitted or not, and none without a limit."""
    gate = TenantRateLimit(harness.runtime, "own", None)
    for own in (1, 1, None):
        await admitted(gate, own=own)
    assert server.asked == 2


async def test_tenants_without_the_flag_are_counted_by_each_process(harness: Harness, server: Server) -> None:
    """The shared counts are rolled out by tenant: for a tenant without the flag, each process holds the limit."""
    harness.runtime.flags = MemoryFlags({SHARED_RATE_LIMITS: ["new"]})
    first, second = (TenantRateLimit(harness.runtime, "1", 1) for _ in range(2))
    assert [await admitted(gate, "new") for gate in (first, second)] == [True, False]
    assert server.asked == 2
    assert [await admitted(gate, "old") for gate in (first, second, first)] == [True, True, False]
    assert server.asked == 2


async def test_each_process_holds_the_limit_while_the_server_is_away(
    harness: Harness, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """While the shared counts do not answer, each process holds the limit by itself and no request fails for it; a
    metric counts these requests, and the log says once that it began and once that it ended."""
    caplog.set_level(logging.INFO, "shared.context.rate_limits")
    first, second = (TenantRateLimit(harness.runtime, "2", 2) for _ in range(2))
    server.is_away = True
    assert [await admitted(first) for _ in range(3)] == [True, True, False]
    assert [await admitted(second) for _ in range(3)] == [True, True, False]
    assert harness.runtime.telemetry.counters["rate_limits_held_locally", ""] == 6
    server.is_away = False
    assert [await admitted(gate) for gate in (first, second, first)] == [True, True, False]
    said = [record.getMessage() for record in caplog.records]
    away = "each process holds the rate limits by itself: the server of the counts does not answer"
    again = "all processes share the rate limits again"
    assert sorted(said) == sorted([away, again] * 2)


async def test_a_function_that_runs_alone_holds_a_tenants_own_limit(harness: Harness, server: Server) -> None:
    """A function without a gateway in its process answers 429 beyond the tenant's own limit, before it checks the
    signature, and shows the limit in its responses; a tenant without a limit of its own is not limited."""
    harness.runtime.rate_gate = TenantRateLimit(harness.runtime, "own", None)
    await harness.tenant("small", limits={"requests_per_second": 2})
    answers = [await harness.call("GET", "/v1/payments", tenant="small") for _ in range(2)]
    answers.append(await harness.call("POST", "/v1/payments", {}, tenant="small", sign=False))
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    answer = await harness.call("GET", "/v1/payments")
    assert answer.status == 200
    assert "ratelimit-limit" not in answer.headers
