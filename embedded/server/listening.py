"""The listening socket, and the number of connections that this process can have."""

from __future__ import annotations

import logging
import resource
import socket
from typing import Final

log = logging.getLogger(__name__)
BACKLOG: Final = 2048
"""The most connections that the system queues before this process accepts them."""
OWN_FILES: Final = 100
"""Open files reserved for everything except client connections: the store, pipes, connections to providers."""


class AddressInUse(Exception):
    """The process cannot listen on its address; the text says which one and why."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Connections wait in its backlog until the platform serves. Raises AddressInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressInUse(f"cannot listen on {host} port {port}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    # The socket module appends its own text to the system's.
    return str(error.strerror).partition(" (while ")[0]


def url_of(listening: socket.socket) -> str:
    """Return the URL of a listening socket, as this machine can reach it."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104 - as above
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def connection_limit(wanted: int) -> int:
    """Return how many connections this process can have: `wanted`, or fewer if its limit of open files is too low.

    Each connection is an open file. A soft limit that is too low is raised up to the hard limit. Raises ValueError if
    no file is left for a connection.
    """
    files = _files(wanted + OWN_FILES)
    limit = min(wanted, files - OWN_FILES)
    if limit < 1:
        raise ValueError(f"this process can open only {files} files; it needs more than {OWN_FILES} (ulimit -n)")
    if limit < wanted:
        log.warning(
            "LASTRO_MAX_CONNECTIONS is %d, but this process can open only %d files (ulimit -n): it accepts %d "
            "connections at a time",
            wanted,
            files,
            limit,
        )
    return limit


def _files(needed: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        except (OSError, ValueError):  # the system has a lower limit than the hard one (macOS)
            return soft
        return raised
    return needed if soft == resource.RLIM_INFINITY else soft
