"""The cache port on Redis: short-lived values, locks with fencing tokens, and deadlines in a sorted set."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")
_CLEAR_BATCH: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_LOCK: Final = """
local held = redis.call('GET', KEYS[1])
if held then
  local token, caller = string.match(held, '^(%d+) (.+)$')
  if caller == ARGV[1] then return token end
  return false
end
local now = redis.call('TIME')
local token = now[1] * 1000000 + now[2]
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if token <= last then token = last + 1 end
token = string.format('%.0f', token)
redis.call('SET', KEYS[1], token .. ' ' .. ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], token)
return token
"""
"""Takes a lock. The token is the server's time in microseconds, or the last token plus one, so that tokens increase
also after the server has lost everything. A call that the driver repeats after a lost response finds its own name and
gets its token."""

_UNLOCK: Final = """
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^(%d+) ') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Answers(Protocol):
    """The server, as the ports use it."""

    @property
    def client(self) -> Redis:
        """The driver's client."""
        ...

    async def result(self, answer: Awaitable[T]) -> T:
        """Return the server's response. Raises Unavailable."""
        ...


class RedisCache:
    """The cache port. Every method raises Unavailable when the server does not answer within `cache_seconds`."""

    def __init__(self, server: Answers, namespace: str) -> None:
        self._server = server
        self._namespace = namespace
        self._deadlines = f"{namespace}:deadlines"
        self._last_token = f"{namespace}:last_token"

    async def get(self, key: str) -> bytes | None:
        return cast("bytes | None", await self._server.result(self._server.client.get(self._value(key))))

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        await self._server.result(self._server.client.set(self._value(key), value, px=_milliseconds(ttl_seconds)))

    async def lock(self, key: str, ttl_seconds: float) -> int | None:
        keys = [f"{self._namespace}:lock:{key}", self._last_token]
        token = await self._script(_LOCK, keys, [secrets.token_hex(8), _milliseconds(ttl_seconds)])
        return None if token is None else int(token)

    async def unlock(self, key: str, token: int) -> None:
        await self._script(_UNLOCK, [f"{self._namespace}:lock:{key}"], [token])

    async def schedule(self, key: str, due: datetime) -> None:
        await self._server.result(self._server.client.zadd(self._deadlines, {key: _microseconds(due)}))

    async def unschedule(self, key: str) -> None:
        await self._server.result(self._server.client.zrem(self._deadlines, key))

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        client = self._server.client
        until = _microseconds(now)
        found = await self._server.result(client.zrangebyscore(self._deadlines, "-inf", until, start=0, num=limit))
        return [key.decode() for key in cast("list[bytes]", found)]

    async def clear(self) -> None:
        client = self._server.client
        cursor = 0
        while True:
            cursor, keys = await self._server.result(
                client.scan(cursor, match=f"{_literal(self._namespace)}:*", count=_CLEAR_BATCH)
            )
            if keys:
                await self._server.result(client.unlink(*keys))
            if cursor == 0:
                return

    def _value(self, key: str) -> str:
        return f"{self._namespace}:value:{key}"

    async def _script(self, script: str, keys: list[str], arguments: list[str | int]) -> Any:
        # The driver sends the digest of the script, and the script only when the server does not have it.
        return await self._server.result(self._server.client.register_script(script)(keys=keys, args=arguments))


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _microseconds(moment: datetime) -> int:
    # A score is a double, which is exact for microseconds until the year 2255.
    return (moment - _EPOCH) // _MICROSECOND


def _literal(text: str) -> str:
    """Escape the special characters of a SCAN pattern."""
    return "".join(f"\\{char}" if char in "*?[]\\^-" else char for char in text)
