"""The URL of LASTRO_CACHE."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.core.settings import InvalidSettings

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_SCHEMES: Final = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")
_OPTIONS: Final = ("ca", "namespace", "sentinel_password")


class Address(NamedTuple):
    """The hosts of the server, and its credentials.

    With a `master`, `hosts` are Sentinels, which name the server. `ca` is the path of a file with the certificates of
    the accepted authorities; None means those of the system.
    """

    hosts: tuple[tuple[str, int], ...]
    tls: bool
    master: str | None
    database: int
    username: str | None
    password: str | None
    sentinel_password: str | None
    ca: str | None
    namespace: str

    @property
    def shown(self) -> str:
        """The hosts without user and password, for messages."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return hosts if self.master is None else f"{self.master} of the Sentinels {hosts}"


def read_address(url: str) -> Address:
    """Return the address in a URL.

    `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS, and
    `redis+sentinel://host[:port][,host[:port]…]/master[/database]` (`rediss+sentinel://…` with TLS to Sentinels and
    server). The query may have `ca`, `namespace` (the prefix of all keys, `lastro` by default) and `sentinel_password`.

    Raises InvalidSettings. The text has only the scheme of the URL, because the URL may contain a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise InvalidSettings(f"LASTRO_CACHE is not a URL of the form {'://…, '.join(_SCHEMES)}://…")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise InvalidSettings(f"LASTRO_CACHE has the option {unknown[0]!r}; known are {', '.join(_OPTIONS)}")
    sentinel = parts.scheme.endswith("+sentinel")
    login, _, netloc = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    path = [unquote(part) for part in parts.path.split("/") if part]
    master = path.pop(0) if sentinel and path else None
    if sentinel and master is None:
        raise InvalidSettings("LASTRO_CACHE names Sentinels and no master: redis+sentinel://host,host/MASTER")
    return Address(
        hosts=tuple(_host(part, _SENTINEL_PORT if sentinel else _PORT) for part in _hosts(netloc, sentinel=sentinel)),
        tls=parts.scheme.startswith("rediss"),
        master=master,
        database=_database(path),
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_password=options.get("sentinel_password"),
        ca=options.get("ca"),
        namespace=options.get("namespace") or "lastro",
    )


def _hosts(netloc: str, *, sentinel: bool) -> list[str]:
    found = netloc.split(",")
    if len(found) > 1 and not sentinel:
        raise InvalidSettings(
            "LASTRO_CACHE names several servers: that needs Sentinels, redis+sentinel://host,host/master"
        )
    return found


def _host(text: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise InvalidSettings("LASTRO_CACHE has a host or port that is not valid")
    return host, default if port is None else port


def _database(path: list[str]) -> int:
    if not path:
        return 0
    if len(path) > 1 or not (path[0].isascii() and path[0].isdigit()):
        raise InvalidSettings("LASTRO_CACHE ends in a database that is not a number")
    return int(path[0])
