"""The listening socket, its address, and the number of connections that the limit of open files allows."""

from __future__ import annotations

import resource
import socket

import pytest

from embedded.server.listening import OWN_FILES, AddressInUse, connection_limit, listen, url_of


class Files:
    """The limit of open files of a process, simulated."""

    def __init__(self, soft: int, hard: int, ceiling: int | None = None) -> None:
        self.soft, self.hard, self.ceiling = soft, hard, ceiling

    def getrlimit(self, _which: int) -> tuple[int, int]:
        return self.soft, self.hard

    def setrlimit(self, _which: int, limits: tuple[int, int]) -> None:
        if self.ceiling is not None and limits[0] > self.ceiling:
            raise ValueError("not allowed to raise maximum limit")
        self.soft, self.hard = limits


INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("files", "limit", "left"),
    [
        (Files(20_000, 20_000), 1000, 20_000),
        (Files(INFINITE, INFINITE), 1000, INFINITE),
        (Files(256, 20_000), 1000, 1000 + OWN_FILES),
        (Files(256, INFINITE), 1000, 1000 + OWN_FILES),
        (Files(256, 256), 256 - OWN_FILES, 256),
        (Files(256, 512), 512 - OWN_FILES, 512),
        (Files(256, INFINITE, ceiling=300), 256 - OWN_FILES, 256),
    ],
)
def test_the_connection_limit_follows_the_file_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, files: Files, limit: int, left: int
) -> None:
    """A limit of open files that is too low is raised if possible; otherwise fewer connections are accepted, and the
    log says so."""
    monkeypatch.setattr(resource, "getrlimit", files.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", files.setrlimit)
    assert (connection_limit(1000), files.soft) == (limit, left)
    assert ("LASTRO_MAX_CONNECTIONS" in caplog.text) == (limit < 1000)


def test_a_process_without_files_for_clients_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no file is left for a connection, the error names what to change."""
    monkeypatch.setattr(resource, "getrlimit", Files(OWN_FILES, OWN_FILES).getrlimit)
    monkeypatch.setattr(resource, "setrlimit", Files(OWN_FILES, OWN_FILES).setrlimit)
    with pytest.raises(ValueError, match="ulimit -n"):
        connection_limit(1000)


def test_an_address_in_use_is_named() -> None:
    """The error for a port in use has the address and the system's reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_the_url_can_be_reached(host: str, shown: str) -> None:
    """The URL of a socket that listens on all addresses has this machine's loopback address."""
    with listen(host, 0) as found:
        assert url_of(found) == f"http://{shown}:{found.getsockname()[1]}"
