"""The cases: each has one fault, which begins under load and ends by itself or is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pymongo
import redis

from shared.core.crash_points import EMBEDDED, NAMES
from tests.contract.calling import user_body
from tests.faults.client import LIMIT_SECONDS
from tests.faults.feed import fed
from tests.faults.servers import Layout
from tests.faults.stage import NAMES as PLATFORMS
from tests.faults.stage import Stage
from tests.invariants.crash_client import Died
from tests.servers.cassandra_server import CassandraServer
from tests.servers.kafka_server import KafkaServer
from tests.servers.mongodb_server import MongodbServer
from tests.servers.redis_sentinel_server import PRIMARY, sentinels_of
from tests.servers.toxiproxy_server import Proxy

LASTING_SECONDS: Final = 4.0
"""How long a fault lasts that the test ends."""
SINGLE: Final = Layout()
"""One server of each kind, each behind a proxy."""
PROXIED: Final = ("mongodb", "cassandra", "redis", "kafka")
"""The servers of the payment path, in the order of the platform's settings."""
PASSES: Final = 3
"""The pass of a crash point at which the process dies."""
RARE: Final = frozenset({"broker.dead_lettered"})
"""Points at whose first pass the process dies."""


@dataclass(frozen=True)
class Case:
    """A fault. `strike` begins it and returns after its end, with a note for the table or an empty text."""

    name: str
    fault: str
    """What happens, for the table."""
    strike: Callable[[Stage], Awaitable[str]]
    layout: Layout = SINGLE


async def kill_platform(stage: Stage) -> str:
    """Kill one of the two platforms, and start it again."""
    await stage.kill("a")
    await asyncio.sleep(LASTING_SECONDS)
    await stage.start("a")
    return ""


async def visit_crash_points(stage: Stage) -> str:
    """Let both platforms die at crash points, two at a time, until each point was visited. Then start them again.

    Meanwhile deposits come, which providers report, and events that no consumer accepts, besides the load.
    """
    points = [name for name in NAMES if name not in EMBEDDED]
    async with fed(stage) as feed:
        for first in range(0, len(points), len(PLATFORMS)):
            pair = zip(PLATFORMS, points[first : first + len(PLATFORMS)], strict=False)
            await asyncio.gather(*(die_at(stage, name, point) for name, point in pair))
        await stage.start_missing()
    await feed.check()
    return f"{len(points)} points; {len(feed.deposits)} deposits; {len(feed.refused)} events parked and discarded"


async def die_at(stage: Stage, name: str, point: str) -> None:
    """Start a platform again, and wait until it dies at a crash point."""
    if name in stage.addresses:
        await stage.kill(name)
    try:
        await stage.start(name, f"{point}:{1 if point in RARE else PASSES}")
    except Died:
        return
    async with asyncio.timeout(LIMIT_SECONDS):
        await stage.died(name)


async def kill_documents(stage: Stage) -> str:
    """Kill the engine and the gateway of the document store, and start both again."""
    processes = stage.servers.processes("mongodb")

    def kill() -> None:
        processes.kill("gateway")
        processes.kill("engine")

    def start() -> None:
        MongodbServer.restart_engine(processes)
        processes.start_again("gateway")
        MongodbServer.wait_until_ready(processes, stage.servers.url("mongodb"))

    await stage.by_hand(kill)
    await asyncio.sleep(LASTING_SECONDS)
    await stage.by_hand(start)
    return ""


async def lose_commits(stage: Stage) -> str:
    """Close the connection of every commit after it has happened, before its answer."""
    url = stage.servers.past_the_proxy("mongodb", stage.settings["LASTRO_DOCUMENTS"])
    data = {"failCommands": ["commitTransaction"], "closeConnection": True, "afterwards": True, "appName": "lastro"}
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(url) as client:

        def set_mode(mode: str) -> None:
            client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})

        await asyncio.to_thread(set_mode, "alwaysOn")
        await asyncio.sleep(LASTING_SECONDS)
        await asyncio.to_thread(set_mode, "off")
    unknown = sum(stage.log(name).count("the outcome of a commit is unknown") for name in PLATFORMS)
    assert unknown, "no commit had an unknown outcome"
    return "the log has commits of unknown outcome"


async def kill_node(name: str, node: str, stage: Stage) -> str:
    """Kill a node of a cluster. It stays away for a while, then it is started again."""
    processes = stage.servers.processes(name)
    await stage.by_hand(processes.kill, node)
    await asyncio.sleep(2 * LASTING_SECONDS)
    await stage.by_hand(processes.start_again, node)
    kind = KafkaServer if name.startswith("kafka") else CassandraServer
    await stage.by_hand(kind.wait_until_ready, processes, stage.servers.url(name))
    return ""


async def kill_bus(stage: Stage) -> str:
    """Kill the only broker of Kafka, and start it again."""
    return await kill_node("kafka", "kafka1", stage)


async def kill_primary(stage: Stage) -> str:
    """Kill the primary of Redis, and wait until the Sentinels have chosen the replica."""
    with sentinels_of(stage.servers.url("redis-sentinel")) as sentinels:
        before = sentinels.discover_master(PRIMARY)
        await stage.by_hand(stage.servers.processes("redis-sentinel").kill, "redis1")
        async with asyncio.timeout(LIMIT_SECONDS):
            while await asyncio.to_thread(_primary_of, sentinels) in {before, None}:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
    return ""


def _primary_of(sentinels: Any) -> Any:
    try:
        return sentinels.discover_master(PRIMARY)
    except redis.RedisError:
        return None


async def wipe_cache(stage: Stage) -> str:
    """Delete everything in Redis, five times."""
    with redis.Redis.from_url(stage.servers.url("redis")) as client:
        for _ in range(5):
            await asyncio.to_thread(client.flushall)
            await asyncio.sleep(LASTING_SECONDS / 5)
    return ""


async def seal_vault(stage: Stage) -> str:
    """Seal the Vault, show that what needs it is refused with the cause in the log, and unseal it."""
    vault, key = stage.servers.vault()
    await asyncio.to_thread(vault.sys.seal)
    await asyncio.sleep(LASTING_SECONDS)
    assert stage.client is not None
    refused = await stage.client.once("sealed", "/v1/users", user_body())
    await asyncio.to_thread(vault.sys.submit_unseal_key, key)
    assert refused == 503, f"a request that needs the sealed Vault was answered {refused}"
    assert any("sealed" in stage.log(name) for name in PLATFORMS), "no log says that the Vault is sealed"
    return "a request that needs Vault was answered 503, with the cause in the log"


async def leave_flags(stage: Stage) -> str:
    """Close and refuse all connections to Unleash, and start one of the platforms again meanwhile."""
    proxy = stage.servers.proxy("unleash")
    await asyncio.to_thread(proxy.cut)
    await stage.kill("a")
    await stage.start("a")
    await asyncio.sleep(LASTING_SECONDS)
    await asyncio.to_thread(proxy.restore)
    return "a platform that starts meanwhile uses the state on its disk"


async def leave_realm(stage: Stage) -> str:
    """Close and refuse all connections to Keycloak, and start one of the platforms again meanwhile."""
    proxy = stage.servers.proxy("keycloak")
    await asyncio.to_thread(proxy.cut)
    await stage.kill("a")
    starting = asyncio.create_task(stage.start("a"))
    await asyncio.sleep(2 * LASTING_SECONDS)
    assert not starting.done(), "a platform has started without the keys of its realm"
    await asyncio.to_thread(proxy.restore)
    await starting
    return "a platform that starts meanwhile waits for Keycloak; the other goes on with the known keys"


async def disturb(names: Sequence[str], begin: Callable[[Proxy], None], stage: Stage) -> str:
    """Disturb the connections to some servers, and restore them."""
    proxies = [stage.servers.proxy(name) for name in names]
    for proxy in proxies:
        await asyncio.to_thread(begin, proxy)
    await asyncio.sleep(LASTING_SECONDS)
    for proxy in proxies:
        await asyncio.to_thread(proxy.restore)
    return ""


def delay(proxy: Proxy) -> None:
    """Delay each answer by 50 to 150 ms."""
    proxy.add("latency", latency=100, jitter=50)


def silence(proxy: Proxy) -> None:
    """Drop every answer, and leave the connections open."""
    proxy.add("timeout", timeout=0)


def cut_answers(proxy: Proxy) -> None:
    """Close each connection after a number of bytes, in the middle of an answer."""
    proxy.add("limit_data", bytes=6000)


async def differ(stage: Stage) -> str:
    """Set the clock of one platform 200 ms fast: start it again."""
    await stage.kill("a")
    await stage.start("a", fast_seconds=0.2)
    await asyncio.sleep(2 * LASTING_SECONDS)
    await stage.kill("a")
    await stage.start("a")
    return ""


_SHOWN: Final = {"mongodb": "the document store", "cassandra": "Cassandra", "redis": "Redis", "kafka": "Kafka"}
_PROXY_CASES: Final = tuple(
    case
    for server in PROXIED
    for case in (
        Case(
            f"{server}-cut",
            f"connections to {_SHOWN[server]} are closed and refused for 4 s",
            partial(disturb, (server,), Proxy.cut),
        ),
        Case(
            f"{server}-silent",
            f"connections to {_SHOWN[server]} stay open and carry no answers for 4 s",
            partial(disturb, (server,), silence),
        ),
    )
)
CASES: Final = (
    Case("platform-killed", "one of the two platforms is killed (`kill -9`) and started again", kill_platform),
    Case(
        "crash-points",
        "both platforms are killed (`kill -9`) at every crash point, two at a time",
        visit_crash_points,
    ),
    Case("documents-killed", "the document store is killed (`kill -9`) and started again", kill_documents),
    Case("commits-lost", "commits on MongoDB happen, and their answers are lost, for 4 s", lose_commits),
    Case("cache-wiped", "Redis loses everything (`FLUSHALL`), five times", wipe_cache),
    Case("clocks-apart", "the clocks of the two platforms are 200 ms apart for 8 s", differ),
    Case("vault-sealed", "Vault is sealed for 4 s and unsealed", seal_vault),
    Case(
        "flags-away",
        "Unleash refuses connections, and one of the platforms is killed and started again meanwhile",
        leave_flags,
    ),
    Case(
        "all-delayed",
        "each answer of every server comes 50 to 150 ms late for 4 s",
        partial(disturb, PROXIED, delay),
    ),
    Case(
        "all-cut",
        "all connections to every server are closed and refused for 4 s",
        partial(disturb, PROXIED, Proxy.cut),
    ),
    Case(
        "answers-cut",
        "connections to the document store are closed in the middle of answers for 4 s",
        partial(disturb, ("mongodb",), cut_answers),
    ),
    *_PROXY_CASES,
    Case("bus-killed", "the only Kafka broker is killed (`kill -9`) and started again after 8 s", kill_bus),
    Case(
        "broker-killed",
        "one of three Kafka brokers (`min.insync.replicas=2`) is killed (`kill -9`) and started again after 8 s",
        partial(kill_node, "kafka-cluster", "kafka1"),
        Layout(bus="kafka-cluster", cache="redis-sentinel"),
    ),
    Case(
        "primary-killed",
        "the primary of Redis is killed (`kill -9`); the Sentinels choose its replica",
        kill_primary,
        Layout(bus="kafka-cluster", cache="redis-sentinel"),
    ),
    Case(
        "node-killed",
        "one of three Cassandra nodes is killed (`kill -9`) and started again after 8 s",
        partial(kill_node, "cassandra-cluster", "cassandra2"),
        Layout(ledger="cassandra-cluster"),
    ),
    Case(
        "realm-away",
        "Keycloak refuses connections for 8 s, and one of the platforms is killed and started again meanwhile",
        leave_realm,
        Layout(identity="keycloak"),
    ),
)
