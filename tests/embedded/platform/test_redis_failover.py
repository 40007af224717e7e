"""A platform whose Redis fails over while requests arrive."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.contract.calling import Pair, new_pair, running
from tests.contract.wire import Answer
from tests.servers.processes import Processes
from tests.servers.redis_sentinel_server import RedisSentinelServer
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.real


async def sent_twice(pair: Pair, key: str) -> list[Answer]:
    """Send one payment twice at the same time, with one Idempotency-Key."""
    return await asyncio.gather(*(pair.client.post("/v1/payments", pair.payment(), key=key) for _ in range(2)))


async def test_a_failover_of_redis_fails_no_request_and_doubles_none(processes: Processes, tmp_path: Path) -> None:
    """While the primary is killed and another one is chosen, each payment that is sent twice at once with one key is
    made once: its answers are equal, or one is 409. Afterwards the platform uses the other primary."""
    server = RedisSentinelServer()
    server.install()
    url = server.start(processes)
    async with running(tmp_path / "data", cache=url) as deployment:
        pair = await new_pair(await deployment.tenant())
        redis = deployment.platform.process._adapters[deployment.platform.process._choices["cache"]]
        answers: dict[str, list[Answer]] = {}
        for number in range(10):
            answers[f"before-{number}"] = await sent_twice(pair, f"before-{number}")
        processes.kill("redis1")
        deadline = time.monotonic() + PATIENCE_SECONDS
        was_away = False
        while not was_away or redis.impairment() is not None:
            assert time.monotonic() < deadline, redis.impairment()
            key = f"after-{len(answers)}"
            answers[key] = await sent_twice(pair, key)
            was_away = was_away or redis.impairment() is not None
        for both in answers.values():
            statuses = sorted(answer.status for answer in both)
            assert statuses in ([201, 201], [201, 409])
            assert len({answer.body for answer in both if answer.status == 201}) == 1
        made = {answer.document["id"] for both in answers.values() for answer in both if answer.status == 201}
        listed: set[str] = set()
        cursor: str | None = ""
        while cursor is not None:
            page = await pair.client.read(f"/v1/payments?limit=100{cursor and f'&cursor={cursor}'}")
            listed |= {payment["id"] for payment in page["data"]}
            cursor = page["next_cursor"]
        assert listed == made
        assert len(made) == len(answers)
