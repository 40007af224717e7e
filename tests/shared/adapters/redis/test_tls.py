"""Redis over TLS: a server with a certificate, alone and behind Sentinels."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.redis.address import read_address
from shared.adapters.redis.server import RedisServer as Adapter
from shared.core.clock import ManualClock
from shared.core.settings import Settings
from shared.ports.lifecycle import NotOpened
from tests.authority import Authority, authority
from tests.servers.processes import Processes
from tests.servers.redis_sentinel_server import PASSWORD, SENTINEL_PASSWORD, RedisSentinelServer
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.real

ONCE = Settings(cache_seconds=10.0, start_seconds=0.1)


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    """The authority of the server's certificate."""
    return authority(tmp_path)


@pytest.fixture
def url(processes: Processes, own: Authority) -> str:
    """The URL of a Redis that accepts TLS only."""
    server = RedisServer(own)
    server.install()
    return server.start(processes)


async def refusal(url: str) -> str:
    """Return why an adapter does not open."""
    with pytest.raises(NotOpened) as raised:
        async with Adapter(read_address(url), ONCE, ManualClock()):
            raise AssertionError("it was opened")
    assert "\n" not in str(raised.value)
    return str(raised.value)


async def used(url: str) -> None:
    """Open an adapter and use all of its ports."""
    async with Adapter(read_address(url), ONCE, ManualClock()) as server:
        await server.cache.set("k", b"1", 60)
        assert await server.cache.get("k") == b"1"
        token = await server.cache.lock("k", 60)
        assert token is not None
        await server.cache.unlock("k", token)
        assert (await server.rate_limits.take("k", 5)).admitted


async def test_a_server_of_an_own_authority_is_accepted(url: str, own: Authority) -> None:
    """With the certificate of its authority, the server is used over TLS."""
    await used(f"{url}?ca={own.ca}")


async def test_a_server_of_another_authority_is_refused(url: str, own: Authority, tmp_path: Path) -> None:
    """A server whose certificate another authority has issued, or none of the system's, is refused with that reason."""
    other = authority(tmp_path, "another")
    for wrong in (f"{url}?ca={other.ca}", url):
        assert "certificate verify failed" in await refusal(wrong)


async def test_a_server_of_another_name_is_refused(url: str, own: Authority) -> None:
    """A server is refused under a name or address that its certificate does not have."""
    assert "certificate is not valid for '127.0.0.2'" in await refusal(
        f"{url.replace('127.0.0.1', '127.0.0.2')}?ca={own.ca}"
    )


async def test_a_server_with_tls_is_not_used_without(url: str) -> None:
    """A URL without TLS does not open a server that demands it."""
    assert "LASTRO_CACHE cannot be used" in await refusal(url.replace("rediss://", "redis://"))


async def test_a_file_of_authorities_that_does_not_exist(url: str, tmp_path: Path) -> None:
    """A file of authorities that does not exist, or is none, is named in the refusal."""
    missing, none = tmp_path / "missing.pem", tmp_path / "none.pem"
    none.write_text("no certificate")
    for file in (missing, none):
        assert f"the certificates in {file} cannot be read" in await refusal(f"{url}?ca={file}")


async def test_sentinels_and_servers_with_tls_and_passwords(
    processes: Processes, own: Authority, tmp_path: Path
) -> None:
    """Sentinels and servers with TLS and passwords of their own are used; another authority or a wrong password of
    either is refused, and no password is in the reason."""
    server = RedisSentinelServer(own)
    server.install()
    url = server.start(processes)
    assert PASSWORD in url
    await used(url)
    other = authority(tmp_path, "another")
    for wrong in (
        url.replace(str(own.ca), str(other.ca)),
        url.replace(f":{PASSWORD}@", ":hidden@"),
        url.replace(f"={SENTINEL_PASSWORD}&", "=hidden&"),
    ):
        reason = await refusal(wrong)
        assert not [secret for secret in (PASSWORD, SENTINEL_PASSWORD, "hidden") if secret in reason]
