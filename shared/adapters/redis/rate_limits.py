"""The rate limits port on Redis: one script, and one round trip for a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.redis.cache import Answers
from shared.core.sliding_window import GROUPS, SECOND, Count

if TYPE_CHECKING:
    from redis.commands.core import AsyncScript

SCRIPT: Final = """
local limit, window, step, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local stored = redis.call('GET', KEYS[1])
local groups, total = {}, 0
for _, group in ipairs(stored and cmsgpack.unpack(stored) or {}) do
  local age = now - group[2]
  if age < window and age > -window then
    groups[#groups + 1] = group
    total = total + group[3]
  end
end
if total >= limit then
  local left = total
  for _, group in ipairs(groups) do
    left = left - group[3]
    if left < limit then return {0, 0, string.format('%.0f', group[2] + window - now)} end
  end
end
local newest = groups[#groups]
if newest and now - newest[1] < step then
  newest[2] = math.max(newest[2], now)
  newest[3] = newest[3] + 1
else
  groups[#groups + 1] = {now, now, 1}
end
redis.call('SET', KEYS[1], cmsgpack.pack(groups), 'PX', math.ceil(window / 1000))
return {1, limit - total - 1, '0'}
"""
"""Counts one request as shared.core.sliding_window does. A group is {first, last, count}, with times in microseconds.

The time is the server's, the same for all processes. It may go back when another server becomes the primary: groups
that lie a window or more in the future are dropped then."""


class RedisRateLimits:
    """The rate limits port. A request whose response was lost may be counted twice, because the driver repeats it."""

    def __init__(
        self, server: Answers, namespace: str, *, window: int = SECOND, now: Callable[[], int] | None = None
    ) -> None:
        """`window` is the window's length, and `now` returns the time, in microseconds; None is the server's time."""
        self._server = server
        self._prefix = f"{namespace}:rate:"
        self._window = window
        self._now = now
        self._script: AsyncScript | None = None

    async def take(self, key: str, limit: int) -> Count:
        client = self._server.client
        if self._script is None:
            self._script = client.register_script(SCRIPT)
        now = "" if self._now is None else self._now()
        arguments: list[Any] = [limit, self._window, self._window // GROUPS, now]
        answer = await self._server.result(self._script(keys=[self._prefix + key], args=arguments))
        admitted, remaining, wait = answer
        return Count(bool(admitted), int(remaining), int(wait) / SECOND)
