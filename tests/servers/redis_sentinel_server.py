"""Redis with a replica and three Sentinels, which choose another primary when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import redis
from redis.sentinel import Sentinel

from tests.authority import Authority
from tests.servers.processes import Processes, free_port
from tests.servers.redis_server import listening, program_of_redis, trusting

PRIMARY: Final = "lastro"
"""The name by which the Sentinels know the primary."""
_SENTINELS: Final = ("sentinel1", "sentinel2", "sentinel3")
PASSWORD: Final = "of-redis"
SENTINEL_PASSWORD: Final = "of-the-sentinels"
"""The passwords of servers with TLS."""


class RedisSentinelServer:
    """The processes are `redis1`, the first primary, `redis2`, its replica, and `sentinel1` to `sentinel3`.

    With an authority, all of them accept TLS connections only and require passwords.
    """

    name: ClassVar[str] = "redis-sentinel"

    def __init__(self, authority: Authority | None = None) -> None:
        self._authority = authority

    def install(self) -> None:
        """Unpack Debian's package, unless the machine has a redis-server."""
        program_of_redis()

    def start(self, processes: Processes) -> str:
        """Return redis+sentinel://127.0.0.1:PORT,127.0.0.1:PORT,127.0.0.1:PORT/lastro when a failover is possible.

        With an authority the scheme is rediss+sentinel, and the URL has the passwords and the certificate.
        """
        path, environment = program_of_redis()
        authority = self._authority
        primary, replica = free_port(), free_port()
        for name, port, more in (
            ("redis1", primary, {}),
            ("redis2", replica, {"replicaof": f"127.0.0.1 {primary}"}),
        ):
            folder = processes.data / name
            folder.mkdir()
            settings = {"bind": "127.0.0.1", "save": "", "dir": str(folder), "repl-diskless-sync-delay": "0", **more}
            settings |= listening(port, authority)
            if authority is not None:
                settings |= {"requirepass": PASSWORD, "masterauth": PASSWORD}
            options = [word for option, value in settings.items() for word in (f"--{option}", value)]
            processes.start(name, [path, *options], environment=environment)
        ports = []
        for name in _SENTINELS:
            folder = processes.data / name
            folder.mkdir()
            ports.append(free_port())
            file = folder / "sentinel.conf"  # Sentinel stores what it learns in this file
            file.write_text("\n".join(self._settings_of_a_sentinel(ports[-1], folder, primary)), encoding="utf-8")
            processes.start(name, [path, str(file), "--sentinel"], environment=environment)
        password = None if authority is None else SENTINEL_PASSWORD
        for port in ports:
            with redis.Redis(port=port, password=password, **trusting(authority)) as sentinel:
                processes.wait_until(partial(_expect_redundancy, sentinel), "Redis Sentinel")
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        if authority is None:
            return f"redis+sentinel://{hosts}/{PRIMARY}"
        query = f"sentinel_password={SENTINEL_PASSWORD}&ca={authority.ca}"
        return f"rediss+sentinel://:{PASSWORD}@{hosts}/{PRIMARY}?{query}"

    def _settings_of_a_sentinel(self, port: int, folder: Path, primary: int) -> Iterator[str]:
        yield "bind 127.0.0.1"
        yield "protected-mode no"
        yield f"dir {folder}"
        for name, value in listening(port, self._authority).items():
            yield f"{name} {value}"
        yield f"sentinel monitor {PRIMARY} 127.0.0.1 {primary} 2"
        yield f"sentinel down-after-milliseconds {PRIMARY} 1000"
        yield f"sentinel failover-timeout {PRIMARY} 5000"
        yield f"sentinel parallel-syncs {PRIMARY} 1"
        if self._authority is not None:
            yield f"sentinel auth-pass {PRIMARY} {PASSWORD}"
            yield f"requirepass {SENTINEL_PASSWORD}"
            yield f"sentinel sentinel-pass {SENTINEL_PASSWORD}"
        yield ""


@contextmanager
def sentinels_of(url: str) -> Iterator[Any]:
    """Return a client of the Sentinels of a URL as `start` returns it: redis.sentinel.Sentinel, which has no types and
    does not close its connections itself."""
    hosts = url.removeprefix("redis+sentinel://").partition("/")[0].split(",")
    addresses = [(host.partition(":")[0], int(host.partition(":")[2])) for host in hosts]
    client = Sentinel(addresses)  # type: ignore[no-untyped-call]
    with ExitStack() as stack:
        for each in client.sentinels:
            stack.callback(each.close)
        yield client


def _expect_redundancy(sentinel: redis.Redis) -> None:
    state = cast("dict[str, Any]", sentinel.sentinel_master(PRIMARY))
    if state["num-slaves"] != 1 or state["num-other-sentinels"] != len(_SENTINELS) - 1 or state["flags"] != "master":
        raise ValueError(f"it has not found all the others yet: {state}")
    (replica,) = sentinel.sentinel_slaves(PRIMARY)
    if replica["master-link-status"] != "ok":
        raise ValueError(f"the replica is not in step yet: {replica}")
