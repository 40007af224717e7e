"""Reads the URL in LASTRO_BUS."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.core.settings import InvalidSettings

SCHEMES: Final = ("kafka", "kafka+tls")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
DEFAULT_GROUP: Final = "lastro-platform"
_FORM: Final = "kafka://HOST:PORT,HOST:PORT"
_PORT: Final = 9092
_OPTIONS: Final = ("sasl", "username", "password", "ca", "prefix", "group")
# Kafka's rule for topic names. A topic name has at most 249 characters.
_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,100}")


class KafkaAddress(NamedTuple):
    """The servers, the login, and the prefix and group that this platform uses on them.

    `ca` is the path of a file with the certificates of the accepted authorities; None selects those of the system.
    """

    servers: tuple[str, ...]
    tls: bool = False
    sasl: str | None = None
    username: str | None = None
    password: str | None = None
    ca: str | None = None
    prefix: str = ""
    """Prefix of every topic name, so that several platforms can share the same servers."""
    group: str = DEFAULT_GROUP
    """Consumer group of the processes that share the work of one platform."""

    @property
    def shown(self) -> str:
        """The servers without user and password, for messages."""
        return ",".join(self.servers)

    def __repr__(self) -> str:
        return f"KafkaAddress({self.shown})"

    def on_server(self, topic: str) -> str:
        """Return the name of a topic on the servers, with the prefix."""
        return self.prefix + topic

    def here(self, name: str) -> str:
        """Return the topic name without the prefix."""
        return name.removeprefix(self.prefix)


def read_address(url: str) -> KafkaAddress:
    """Return the address that a URL names.

    `kafka://host[:port][,host[:port]…]`, `kafka+tls://…` with TLS. The query may have `sasl` (PLAIN, SCRAM-SHA-256 or
    SCRAM-SHA-512) with `username` and `password`; `ca`; `prefix`; and `group`.

    Raises InvalidSettings. The text has no part of the URL but its scheme, because the URL may hold a password.
    """
    # Not urlsplit: it refuses several servers of which one is an IPv6 address.
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    servers, _, path = rest.partition("/")
    if scheme.lower() not in SCHEMES or not servers:
        raise InvalidSettings(f"LASTRO_BUS is not a URL of the form {_FORM}, or kafka+tls://…")
    if "@" in rest:
        raise InvalidSettings("LASTRO_BUS has a login before its servers: use ?sasl=…&username=…&password=…")
    if path:
        raise InvalidSettings(f"LASTRO_BUS has a path, which means nothing here: {_FORM}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise InvalidSettings(f"LASTRO_BUS has the option {unknown[0][:40]!r}; known are {', '.join(_OPTIONS)}")
    for name in ("prefix", "group"):
        if name in options and not _NAME.fullmatch(options[name]):
            raise InvalidSettings(f"LASTRO_BUS: {name} has 1 to 100 letters, digits, dots, underscores and hyphens")
    return KafkaAddress(
        servers=tuple(_server(text) for text in servers.split(",")),
        tls=scheme.lower() == "kafka+tls",
        **_login(options),
        ca=options.get("ca") or None,
        prefix=options.get("prefix", ""),
        group=options.get("group", DEFAULT_GROUP),
    )


def _login(options: dict[str, str]) -> dict[str, str | None]:
    sasl, username, password = options.get("sasl"), options.get("username"), options.get("password")
    if sasl is None:
        if username is not None or password is not None:
            raise InvalidSettings(f"LASTRO_BUS has a login without sasl=…, which is one of {', '.join(MECHANISMS)}")
        return {"sasl": None, "username": None, "password": None}
    if sasl not in MECHANISMS:
        raise InvalidSettings(f"LASTRO_BUS: sasl is one of {', '.join(MECHANISMS)}")
    if not username or not password:
        raise InvalidSettings("LASTRO_BUS: sasl needs username and password")
    return {"sasl": sasl, "username": username, "password": password}


def _server(text: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise InvalidSettings("LASTRO_BUS has a host or port that is not valid")
    name = unquote(host)
    return f"{f'[{name}]' if ':' in name else name}:{_PORT if port is None else port}"
