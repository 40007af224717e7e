"""Redis with a replica and three Sentinels, which choose another primary when it fails."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Final, cast

import redis
from redis.sentinel import Sentinel

from tests.servers.processes import Processes, free_port
from tests.servers.redis_server import program_of_redis

PRIMARY: Final = "lastro"
"""The name by which the Sentinels know the primary."""
_SENTINELS: Final = ("sentinel1", "sentinel2", "sentinel3")
_SETTINGS: Final = """\
bind 127.0.0.1
port {port}
protected-mode no
dir {data}
sentinel monitor {name} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {name} 1000
sentinel failover-timeout {name} 5000
sentinel parallel-syncs {name} 1
"""


class RedisSentinelServer:
    """The processes are `redis1`, the first primary, `redis2`, its replica, and `sentinel1` to `sentinel3`."""

    name: ClassVar[str] = "redis-sentinel"

    def install(self) -> None:
        """Unpack Debian's package, unless the machine has a redis-server."""
        program_of_redis()

    def start(self, processes: Processes) -> str:
        """Return redis+sentinel://127.0.0.1:PORT,127.0.0.1:PORT,127.0.0.1:PORT/lastro when a failover is possible."""
        path, environment = program_of_redis()
        primary, replica = free_port(), free_port()
        for name, port, more in (("redis1", primary, []), ("redis2", replica, ["--replicaof", f"127.0.0.1 {primary}"])):
            folder = processes.data / name
            folder.mkdir()
            options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder), *more]
            processes.start(name, [path, *options, "--repl-diskless-sync-delay", "0"], environment=environment)
        ports = []
        for name in _SENTINELS:
            folder = processes.data / name
            folder.mkdir()
            ports.append(free_port())
            settings = folder / "sentinel.conf"  # Sentinel keeps what it learns in this file
            settings.write_text(
                _SETTINGS.format(port=ports[-1], data=folder, name=PRIMARY, primary=primary), encoding="utf-8"
            )
            processes.start(name, [path, str(settings), "--sentinel"], environment=environment)
        for port in ports:
            with redis.Redis(port=port) as sentinel:
                processes.wait_until(partial(_expect_redundancy, sentinel), "Redis Sentinel")
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{PRIMARY}"


def sentinels_of(url: str) -> Any:
    """Return a client of the Sentinels of a URL as `start` returns it: redis.sentinel.Sentinel, which has no types."""
    hosts = url.removeprefix("redis+sentinel://").partition("/")[0].split(",")
    addresses = [(host.partition(":")[0], int(host.partition(":")[2])) for host in hosts]
    return Sentinel(addresses)  # type: ignore[no-untyped-call]


def _expect_redundancy(sentinel: redis.Redis) -> None:
    state = cast("dict[str, Any]", sentinel.sentinel_master(PRIMARY))
    if state["num-slaves"] != 1 or state["num-other-sentinels"] != len(_SENTINELS) - 1 or state["flags"] != "master":
        raise ValueError(f"it has not found all the others yet: {state}")
    (replica,) = sentinel.sentinel_slaves(PRIMARY)
    if replica["master-link-status"] != "ok":
        raise ValueError(f"the replica is not in step yet: {replica}")
