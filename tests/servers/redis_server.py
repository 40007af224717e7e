"""Redis, from this machine's Debian."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import ClassVar

import redis

from tests.servers.installing import installed, unpack_debian_packages
from tests.servers.processes import Processes, free_port


class RedisServer:
    """One Redis that stores nothing on disk."""

    name: ClassVar[str] = "redis"

    def install(self) -> None:
        """Unpack Debian's package, unless the machine has a redis-server."""
        program_of_redis()

    def start(self, processes: Processes) -> str:
        """Return redis://127.0.0.1:PORT/0 when it answers PING."""
        path, environment = program_of_redis()
        port = free_port()
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--daemonize", "no"]
        processes.start("redis", [path, *options, "--dir", str(processes.data)], environment=environment)
        url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(url) as client:
            processes.wait_until(client.ping, "Redis")
        return url


def program_of_redis() -> tuple[str, dict[str, str]]:
    """Return the path of redis-server and the variables with which it runs. Raises Unavailable."""
    found = shutil.which("redis-server")
    if found is not None:
        return found, {}
    folder = installed(f"redis-debian-{_debian()}", _unpack)
    libraries = sorted(str(path.parent) for path in folder.glob("usr/lib/*/lib*.so.*"))
    return str(folder / "usr/bin/redis-server"), {"LD_LIBRARY_PATH": os.pathsep.join(dict.fromkeys(libraries))}


def _unpack(folder: Path) -> None:
    unpack_debian_packages(folder, ["redis-server"], wanted_for="Redis")


def _debian() -> str:
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return "unknown"
    return dict(line.split("=", 1) for line in lines if "=" in line).get("VERSION_CODENAME", "unknown").strip('"')
