"""A process that counts requests on a Redis: URL, namespace, limit and number of requests are its arguments.

It prints `ready`, waits for a line, sends the requests at once in a window of an hour, and prints how many were
admitted.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from shared.adapters.redis.address import read_address
from shared.adapters.redis.rate_limits import RedisRateLimits
from shared.adapters.redis.server import RedisServer
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.core.sliding_window import SECOND


async def main(url: str, namespace: str, limit: int, requests: int) -> None:
    """Count the requests."""
    settings = Settings(cache_seconds=60.0)
    async with RedisServer(read_address(f"{url}?namespace={namespace}"), settings, SystemClock()) as server:
        rate_limits = RedisRateLimits(server, namespace, window=3600 * SECOND)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        counts = await asyncio.gather(*(rate_limits.take("k", limit) for _ in range(requests)))
        print(sum(count.admitted for count in counts))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
