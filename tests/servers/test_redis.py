"""The real Redis server for tests."""

from __future__ import annotations

import redis


def test_redis_takes_a_key_only_once(redis_url: str) -> None:
    """SET with NX and PX stores a value with an expiry, and refuses to replace it."""
    with redis.Redis.from_url(redis_url) as client:
        client.delete("tests:nonce")
        assert client.set("tests:nonce", "first", nx=True, px=60_000)
        assert client.set("tests:nonce", "second", nx=True, px=60_000) is None
        assert client.get("tests:nonce") == b"first"
        assert 0 < client.pttl("tests:nonce") <= 60_000
