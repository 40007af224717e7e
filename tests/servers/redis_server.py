"""Redis, from this machine's Debian."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import redis

from tests.authority import Authority
from tests.servers.installing import installed, unpack_debian_packages
from tests.servers.processes import Processes, free_port


class RedisServer:
    """One Redis that stores nothing on disk. With an authority it accepts TLS connections only."""

    name: ClassVar[str] = "redis"

    def __init__(self, authority: Authority | None = None) -> None:
        self._authority = authority

    def install(self) -> None:
        """Unpack Debian's package, unless the machine has a redis-server."""
        program_of_redis()

    def start(self, processes: Processes) -> str:
        """Return redis://127.0.0.1:PORT/0, or rediss://127.0.0.1:PORT/0, when it answers PING."""
        path, environment = program_of_redis()
        port, authority = free_port(), self._authority
        # The second address is one that the certificate does not have.
        addresses = ["127.0.0.1"] if authority is None else ["127.0.0.1", "127.0.0.2"]
        options = ["--bind", *addresses, "--save", "", "--appendonly", "no", "--daemonize", "no"]
        options += [word for name, value in listening(port, authority).items() for word in (f"--{name}", value)]
        processes.start("redis", [path, *options, "--dir", str(processes.data)], environment=environment)
        with redis.Redis(port=port, **trusting(authority)) as client:
            processes.wait_until(client.ping, "Redis")
        return f"redis{'' if authority is None else 's'}://127.0.0.1:{port}/0"


def listening(port: int, authority: Authority | None) -> dict[str, str]:
    """Return the settings of a Redis or a Sentinel that listens on a port: with TLS only, if there is an authority.

    With TLS, connections between the servers have it, too.
    """
    if authority is None:
        return {"port": str(port)}
    return {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(authority.server),
        "tls-key-file": str(authority.server),
        "tls-ca-cert-file": str(authority.ca),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }


def trusting(authority: Authority | None) -> dict[str, Any]:
    """Return the options of a driver's client that trusts the authority."""
    return {} if authority is None else {"ssl": True, "ssl_ca_certs": str(authority.ca)}


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
