"""MongoDB's wire protocol: the DocumentDB extension of PostgreSQL 18 behind a gateway for tests.

No package registry has mongod. The extension implements MongoDB's documents, operators, indexes and validators, in C.
The gateway (tests/servers/mongo_gateway) implements its commands, sessions, transactions and retryable writes. There
are no change streams.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar, Final

import pymongo

from tests.servers.debian import debian_root, in_root
from tests.servers.installing import Unavailable, python_packages
from tests.servers.processes import START_SECONDS, Processes, free_port

ROOT: Final = Path(__file__).parents[2]
SUITE: Final = "forky"
PACKAGE: Final = "postgresql-18-documentdb"
_BINARIES: Final = "/usr/lib/postgresql/18/bin"
_CLUSTERS: Final = "var/lib/lastro"
_LOCK: Final = ROOT / "requirements-servers.lock"
_SETTINGS: Final = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = 128MB
dynamic_shared_memory_type = mmap
shared_preload_libraries = 'pg_cron,pg_documentdb_core,pg_documentdb'
cron.database_name = 'postgres'
cron.host = '127.0.0.1'
cron.log_run = off
cron.log_statement = off
deadlock_timeout = 100ms
jit = off
# What is committed has reached the operating system, which survives a kill -9 of every process.
synchronous_commit = on
fsync = {fsync}
full_page_writes = {fsync}
"""


class MongodbServer:
    """The document store. `engine` and `gateway` are its processes; both can be killed and started again.

    With `fsync`, commits also survive a crash of the machine.
    """

    name: ClassVar[str] = "mongodb"
    port: ClassVar[str | None] = "documents"

    def __init__(self, *, fsync: bool = False, transaction_seconds: float = 60) -> None:
        self._fsync = fsync
        self._transaction_seconds = transaction_seconds

    def install(self) -> None:
        """Unpack the engine into its own root folder, and install the gateway's driver."""
        self._root()
        self._libraries()

    def start(self, processes: Processes) -> str:
        """Return mongodb://127.0.0.1:PORT/lastro?replicaSet=rs0 when the server lists its databases."""
        root = self._root()
        cluster = self._new_cluster(root, processes)
        inside = f"/{cluster.relative_to(root)}/data"
        options = ["--auth=trust", "--no-sync", "--locale=C.UTF-8", "--username=postgres"]
        processes.run("initdb", in_root(root, f"{_BINARIES}/initdb", "-D", inside, *options, user="postgres"))
        engine, gateway = free_port(), free_port()
        with (cluster / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(_SETTINGS.format(port=engine, fsync="on" if self._fsync else "off"))
        processes.start("engine", in_root(root, f"{_BINARIES}/postgres", "-D", inside, user="postgres"))
        ready = in_root(root, f"{_BINARIES}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(engine), user="postgres")
        processes.wait_until(lambda: subprocess.run(ready, check=True, capture_output=True), "PostgreSQL")
        command = [sys.executable, "-m", "tests.servers.mongo_gateway", "--listen", str(gateway)]
        command += ["--engine", f"postgresql://postgres@127.0.0.1:{engine}/postgres"]
        command += ["--transaction-seconds", str(self._transaction_seconds)]
        processes.start("gateway", command, environment={"PYTHONPATH": str(self._libraries())}, cwd=ROOT)
        url = f"mongodb://127.0.0.1:{gateway}/lastro?replicaSet=rs0"
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
        """Start the engine again after it was killed. Repeated until no processes of the old engine are left."""
        deadline = time.monotonic() + seconds
        while True:
            processes.start_again("engine")
            try:
                processes.wait_until_it_says("engine", "database system is ready to accept connections")
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    @staticmethod
    def _root() -> Path:
        return debian_root(SUITE, PACKAGE, wanted_for="MongoDB's protocol")

    @staticmethod
    def _libraries() -> Path:
        return python_packages(_LOCK, name="mongo-gateway")

    @staticmethod
    def _new_cluster(root: Path, processes: Processes) -> Path:
        """Return a folder for the data inside the root, where the engine's user can reach it."""
        folder = root / _CLUSTERS
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():  # folders of runs that were killed
            owner = old.name.partition("-")[0]
            if not Path(f"/proc/{owner}").exists():
                shutil.rmtree(old, ignore_errors=True)
        cluster = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=folder))
        processes.at_end(lambda: shutil.rmtree(cluster, ignore_errors=True))
        shutil.chown(cluster, *_postgres(root))
        return cluster


def _postgres(root: Path) -> tuple[int, int]:
    """Return the ids of the user and group that the package has created in the root."""
    for line in (root / "etc/passwd").read_text(encoding="utf-8").splitlines():
        name, _, user, group, *_ = line.split(":")
        if name == "postgres":
            return int(user), int(group)
    raise Unavailable(f"{root} has no user postgres; remove the folder, and it will be installed again")
