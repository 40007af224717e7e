"""The real servers that the functions of the test cluster use, on this machine, and a relay from the node to each.

`python -m tests.cluster.stores FOLDER` starts them, writes their URLs in FOLDER/urls.json, and ends them when it ends.
They listen on 127.0.0.1; a relay on the machine's end of the link passes on what the pods send to the same port.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from deployment.commands import ROOT
from tests.cluster.background import launch, reap
from tests.cluster.places import HOST_ADDRESS
from tests.servers.cassandra_server import CassandraServer
from tests.servers.installing import Unavailable, last_lines
from tests.servers.kafka_server import KafkaServer
from tests.servers.keycloak_server import KeycloakServer
from tests.servers.mongodb_server import MongodbServer
from tests.servers.openbao_server import OpenbaoServer
from tests.servers.processes import Advertised, Processes, free_port
from tests.servers.redis_server import RedisServer
from tests.servers.server import Server
from tests.servers.supervision import is_held

PIX_SECRET: Final = "callbacks-of-the-test-cluster"
"""It signs the callbacks of the PIX simulator, which listens on this machine only."""
_START_SECONDS: Final = 1200
_STOP_SECONDS: Final = 120
_POLL_SECONDS: Final = 0.2
_CHUNK: Final = 65_536
_THREADS: Final = 16
_ADDRESS: Final = re.compile(r"127\.0\.0\.1:(\d+)")


def start(state: Path) -> dict[str, str]:
    """Start the servers if they do not run, and return the URL of each by the variable of its setting.

    The node must run: the relays listen on its link. Raises Unavailable.
    """
    own = state / "stores"
    own.mkdir(parents=True, exist_ok=True)
    if not is_held(own / "lock"):
        (own / "urls.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.cluster.stores", str(own)]
        process = launch(command, log=own / "log", lock=own / "lock")
        (own / "pid").write_text(f"{process.pid}\n", encoding="ascii")
    deadline = time.monotonic() + _START_SECONDS
    while not (own / "urls.json").exists():
        if not is_held(own / "lock") or time.monotonic() > deadline:
            stop(state)
            raise Unavailable(f"the servers did not start\n{last_lines(own / 'log')}")
        time.sleep(_POLL_SECONDS)
    urls: dict[str, str] = json.loads((own / "urls.json").read_text(encoding="utf-8"))
    return urls


def stop(state: Path) -> None:
    """End the servers and remove their data. No effect when they do not run."""
    own = state / "stores"
    if is_held(own / "lock"):
        os.kill(int((own / "pid").read_text(encoding="ascii")), signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while is_held(own / "lock"):
        if time.monotonic() > deadline:
            raise Unavailable(f"the servers did not end within {_STOP_SECONDS} s\n{last_lines(own / 'log')}")
        time.sleep(_POLL_SECONDS)
    reap(own / "lock", _STOP_SECONDS)


async def _main(own: Path) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    with contextlib.ExitStack() as stopping:
        # A server ends with the thread that has started it, so the threads stay.
        pool = stopping.enter_context(ThreadPoolExecutor(_THREADS))
        async with Relays() as relays:
            servers = _servers(relays.advertised)
            running = {name: Processes(own / name.removeprefix("LASTRO_").lower()) for name in servers}
            for each in running.values():
                stopping.callback(each.stop)
            starts = {name: loop.run_in_executor(pool, server.start, running[name]) for name, server in servers.items()}
            urls = {name: await url for name, url in starts.items()}
            for name, url in urls.items():
                urls[name] = await relays.reached(url)
            simulator = Processes(own / "simulator")
            stopping.callback(simulator.stop)
            urls["LASTRO_PIX_RAIL"] = _start_simulator(simulator)
            _write(own / "urls.json", urls)
            await ended.wait()


def _servers(advertised: Advertised) -> Mapping[str, Server]:
    return {
        "LASTRO_BUS": KafkaServer(advertised),
        "LASTRO_DOCUMENTS": MongodbServer(advertised=advertised),
        "LASTRO_IDENTITY": KeycloakServer(advertised),
        "LASTRO_LEDGER": CassandraServer(),
        "LASTRO_CACHE": RedisServer(),
        "LASTRO_SECRETS": OpenbaoServer(),
    }


def _start_simulator(processes: Processes) -> str:
    port = free_port(HOST_ADDRESS)
    command = [sys.executable, "-m", "cli", "simulate", "pix", f"--host={HOST_ADDRESS}", f"--port={port}"]
    processes.start("pix", command, environment={"LASTRO_SIMULATOR_SECRET": PIX_SECRET}, cwd=ROOT)
    return f"http://{HOST_ADDRESS}:{port}"


class Relays:
    """Relays from the machine's end of the link to the same ports of 127.0.0.1, where the servers listen."""

    def __init__(self) -> None:
        self._servers: dict[int, asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def advertised(self, address: str) -> str:
        """Return the address at which pods reach 127.0.0.1:PORT. Called in the threads that start servers: Kafka,
        Keycloak and MongoDB tell clients this address from the beginning."""
        return asyncio.run_coroutine_threadsafe(self.reached(address), self._loop).result()

    async def reached(self, url: str) -> str:
        """Return a URL with the addresses at which pods reach its servers."""
        for port in sorted({int(found) for found in _ADDRESS.findall(url)} - self._servers.keys()):
            accepted = functools.partial(self._accepted, port)
            self._servers[port] = await asyncio.start_server(accepted, HOST_ADDRESS, port)
        return url.replace("127.0.0.1", HOST_ADDRESS)

    async def _accepted(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(_pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        try:
            while piece := await reader.read(_CHUNK):
                writer.write(piece)
                await writer.drain()
        finally:
            writer.close()


def _write(path: Path, value: object) -> None:
    aside = path.with_name(f"{path.name}.new")
    aside.write_text(json.dumps(value), encoding="utf-8")
    aside.replace(path)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
