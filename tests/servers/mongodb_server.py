"""MongoDB's wire protocol: the DocumentDB extension of PostgreSQL 18 behind a gateway for tests.

No package registry has mongod. The extension implements MongoDB's documents, operators, indexes and validators, in C.
The gateway (tests/servers/mongo_gateway) implements its commands, sessions, transactions and retryable writes. There
are no change streams.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, ClassVar, Final

import pymongo

from tests.servers.installing import Unavailable, python_packages
from tests.servers.postgres import postgres_root, start_postgres
from tests.servers.processes import START_SECONDS, Advertised, Processes, free_port

ROOT: Final = Path(__file__).parents[2]
_LOCK: Final = ROOT / "requirements-servers.lock"
_WANTED_FOR: Final = "MongoDB's protocol"
_SETTINGS: Final = """
shared_preload_libraries = 'pg_cron,pg_documentdb_core,pg_documentdb'
cron.database_name = 'postgres'
cron.host = '127.0.0.1'
cron.log_run = off
cron.log_statement = off
fsync = {fsync}
full_page_writes = {fsync}
"""


class MongodbServer:
    """The document store. `engine` and `gateway` are its processes; both can be killed and started again.

    With `fsync`, commits also survive a crash of the machine. `advertised` says at which address clients reach the
    gateway, such as that of a proxy in front of it.
    """

    name: ClassVar[str] = "mongodb"

    def __init__(self, *, fsync: bool = False, transaction_seconds: float = 60, advertised: Advertised = str) -> None:
        self._fsync = fsync
        self._transaction_seconds = transaction_seconds
        self._advertised = advertised

    def install(self) -> None:
        """Unpack the engine into its own root folder, and install the gateway's driver."""
        postgres_root(wanted_for=_WANTED_FOR)
        self._libraries()

    def start(self, processes: Processes) -> str:
        """Return mongodb://127.0.0.1:PORT/lastro?replicaSet=rs0 when the server lists its databases."""
        settings = _SETTINGS.format(fsync="on" if self._fsync else "off")
        engine = start_postgres(processes, "engine", settings, wanted_for=_WANTED_FOR)
        gateway = free_port()
        address = self._advertised(f"127.0.0.1:{gateway}")
        command = [sys.executable, "-m", "tests.servers.mongo_gateway", "--listen", str(gateway)]
        command += ["--advertised", address]
        command += ["--engine", f"postgresql://postgres@127.0.0.1:{engine}/postgres"]
        command += ["--transaction-seconds", str(self._transaction_seconds)]
        processes.start("gateway", command, environment={"PYTHONPATH": str(self._libraries())}, cwd=ROOT)
        url = f"mongodb://{address}/lastro?replicaSet=rs0"
        self.wait_until_ready(processes, url)
        return url

    @staticmethod
    def wait_until_ready(processes: Processes, url: str) -> None:
        """Wait until the server answers a command that needs the engine."""
        client: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient(url, serverSelectionTimeoutMS=1000) as client:
            processes.wait_until(client.list_database_names, "the gateway")

    @staticmethod
    def restart_engine(processes: Processes, *, seconds: float = START_SECONDS) -> None:
        """Start the engine again after it was killed, the gateway too or not. Repeated until no processes of the old
        engine are left."""
        deadline = time.monotonic() + seconds
        while True:
            processes.start_again("engine")
            try:
                processes.wait_until_it_says(
                    "engine", "database system is ready to accept connections", may_have_ended={"gateway"}
                )
            except Unavailable:
                # It has reported why it ends, but may not have ended yet.
                processes.kill("engine")
                if time.monotonic() > deadline:
                    raise
            else:
                return

    @staticmethod
    def _libraries() -> Path:
        return python_packages(_LOCK, name="mongo-gateway")
