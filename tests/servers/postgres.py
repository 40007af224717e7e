"""PostgreSQL 18 from the root folder that has the DocumentDB extension."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests.servers.debian import debian_root, in_root
from tests.servers.installing import Unavailable
from tests.servers.processes import Processes, free_port

SUITE: Final = "forky"
PACKAGE: Final = "postgresql-18-documentdb"
_BINARIES: Final = "/usr/lib/postgresql/18/bin"
_CLUSTERS: Final = "var/lib/lastro"
_SETTINGS: Final = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = 128MB
dynamic_shared_memory_type = mmap
deadlock_timeout = 100ms
jit = off
# What is committed has reached the operating system, which survives a kill -9 of every process.
synchronous_commit = on
"""


def postgres_root(*, wanted_for: str) -> Path:
    """Return the root folder, which is created if it does not exist. Raises Unavailable."""
    return debian_root(SUITE, PACKAGE, wanted_for=wanted_for)


def start_postgres(processes: Processes, name: str, settings: str = "", *, wanted_for: str) -> int:
    """Start a process of this name with an empty cluster, and return its port when it accepts connections."""
    root = postgres_root(wanted_for=wanted_for)
    cluster = _new_cluster(root, processes)
    inside = f"/{cluster.relative_to(root)}/data"
    options = ["--auth=trust", "--no-sync", "--locale=C.UTF-8", "--username=postgres"]
    processes.run("initdb", in_root(root, f"{_BINARIES}/initdb", "-D", inside, *options, user="postgres"))
    port = free_port()
    with (cluster / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(_SETTINGS.format(port=port) + settings)
    processes.start(name, in_root(root, f"{_BINARIES}/postgres", "-D", inside, user="postgres"))
    ready = in_root(root, f"{_BINARIES}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), user="postgres")
    processes.wait_until(lambda: subprocess.run(ready, check=True, capture_output=True), "PostgreSQL")
    return port


def _new_cluster(root: Path, processes: Processes) -> Path:
    """Return a folder for the data inside the root, where the server's user can reach it."""
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
