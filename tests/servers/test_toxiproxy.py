"""The proxy with which tests disturb connections."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.toxiproxy_server import Proxy


def test_a_connection_is_cut_and_restored(toxiproxy_url: str, redis_url: str) -> None:
    """A cut proxy refuses connections; a restored one connects to its server without toxics."""
    with Proxy(toxiproxy_url, redis_url.removeprefix("redis://").partition("/")[0]) as proxy:
        host, _, port = proxy.address.partition(":")
        with redis.Redis(host, int(port), retry=Retry(NoBackoff(), 0), socket_timeout=60) as client:
            assert client.ping()
            proxy.cut()
            with pytest.raises(redis.ConnectionError):
                client.ping()
            proxy.restore()
            assert client.ping()
            proxy.add("limit_data", bytes=0)
            with pytest.raises(redis.ConnectionError):
                client.ping()
            proxy.restore()
            assert client.ping()
