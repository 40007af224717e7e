"""Commits while the server of MongoDB's wire protocol is killed and started again: each command has one effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing

import pytest

from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.ports.documents import AlreadyApplied, Change, Commit, CommitRefused, InboxMarker, Unavailable
from tests.ports.documents_suite import ACCOUNTS, COLLECTIONS, account, event, insert
from tests.ports.mongodb_databases import migrated, new_database
from tests.servers.mongodb_server import MongodbServer
from tests.servers.processes import Processes
from tests.waiting import PATIENCE_SECONDS

COMMANDS = 40
BEFORE_THE_KILL = 10

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, str]]:
    """A server whose processes may be killed, with a migrated database. Acknowledged writes are on disk."""
    processes = Processes(tmp_path_factory.mktemp("mongodb"))
    server = MongodbServer(fsync=True, transaction_seconds=2)
    server.install()
    try:
        url = new_database(server.start(processes))
        migrated(url, COLLECTIONS)
        yield processes, url
    finally:
        processes.stop()


def hold(id: str, number: int) -> Commit:
    """Return the commit of the command with this number: it holds 1 and publishes a fact."""
    commit = Commit("ten_1", changes=[Change(ACCOUNTS, id, {"held": 1})], events=[event(f"{id}-{number}")])
    commit.inbox = InboxMarker("suite", f"/{id}", str(number))
    return commit


async def applied(documents: MongoDocuments, commit: Commit) -> None:
    """Commit until the store confirms the commit, as redeliveries do."""
    while True:
        try:
            await documents.commit(commit)
        except AlreadyApplied:
            return
        except (CommitRefused, Unavailable):
            await asyncio.sleep(0.001)
        else:
            return


def kill_gateway(processes: Processes, url: str) -> None:
    """Kill the process that clients connect to, and start it again."""
    processes.kill("gateway")
    processes.start_again("gateway")
    MongodbServer.wait_until_ready(processes, url)


def kill_engine(processes: Processes, url: str) -> None:
    """Kill the database engine, and start it again."""
    processes.kill("engine")
    MongodbServer.restart_engine(processes)
    MongodbServer.wait_until_ready(processes, url)


@pytest.mark.parametrize("kill", [kill_gateway, kill_engine])
async def test_commits_survive_a_killed_server(
    own_server: tuple[Processes, str], kill: Callable[[Processes, str], None]
) -> None:
    """Four workers commit while the server is killed and started again. In the end every command is applied once,
    including those acknowledged before the kill, and the connection recovers without a restart."""
    processes, url = own_server
    id = kill.__name__
    async with aclosing(Server(url)) as server:
        documents = MongoDocuments(server, COLLECTIONS)
        await insert(documents, ACCOUNTS, account(id, posted=COMMANDS))
        numbers, done, under_load = iter(range(COMMANDS)), 0, asyncio.Event()

        async def work() -> None:
            nonlocal done
            for number in numbers:
                await applied(documents, hold(id, number))
                done += 1
                if done == BEFORE_THE_KILL:
                    under_load.set()

        async with asyncio.timeout(4 * PATIENCE_SECONDS), asyncio.TaskGroup() as working:
            for _ in range(4):
                working.create_task(work())
            await under_load.wait()
            # In this thread: the kernel ends a process of the tests when the thread that started it ends.
            kill(processes, url)
        found = await documents.get(ACCOUNTS, "ten_1", id)
        assert found is not None
        assert (found["held"], found["version"]) == (COMMANDS, COMMANDS + 1)
        events = {each.id for each in await documents.unsent("9", 1000)}
        assert {f"{id}-{number}" for number in range(COMMANDS)} <= events
