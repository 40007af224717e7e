"""The cases: each has one fault, which begins under load and ends by itself or is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pymongo
import redis

from tests.contract.calling import user_body
from tests.faults.servers import Layout
from tests.faults.stage import NAMES as PLATFORMS
from tests.faults.stage import Stage
from tests.servers.mongodb_server import MongodbServer

LASTING_SECONDS: Final = 4.0
"""How long a fault lasts that the test ends."""
SINGLE: Final = Layout()
"""One server of each kind, each behind a proxy."""


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
    url = stage.servers.direct_documents(stage.settings["LASTRO_DOCUMENTS"])
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


CASES: Final = (
    Case("platform-killed", "one of the two platforms is killed (`kill -9`) and started again", kill_platform),
    Case("documents-killed", "the document store is killed (`kill -9`) and started again", kill_documents),
    Case("commits-lost", "commits on MongoDB happen, and their answers are lost, for 4 s", lose_commits),
    Case("cache-wiped", "Redis loses everything (`FLUSHALL`), five times", wipe_cache),
    Case("vault-sealed", "Vault is sealed for 4 s and unsealed", seal_vault),
)
