"""`cassandra://host,host:9042/keyspace?dc=…&replicas=3`: the value of LASTRO_LEDGER."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.core.settings import InvalidSettings

SCHEMES: Final = ("cassandra", "cassandra+tls")
_PORT: Final = 9042
_REPLICAS: Final = 3
_KEYSPACE: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_DATACENTER: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_FORM: Final = "cassandra://[user:password@]host[:port][,host[:port]…]/keyspace[?dc=…][&replicas=3]"


@dataclass(frozen=True, slots=True)
class CassandraUrl:
    """Where the ledger is. `replicas` is for the creation of the keyspace only."""

    hosts: tuple[tuple[str, int], ...]
    keyspace: str
    datacenter: str | None = None
    replicas: int = _REPLICAS
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> CassandraUrl:
        """Read the URL. Raises InvalidSettings, whose text has no password."""
        parts = urlsplit(url)
        credentials, _, addresses = parts.netloc.rpartition("@")
        user, has_password, password = credentials.partition(":")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = sorted(query.keys() - {"dc", "replicas"})
        datacenter, replicas = query.get("dc"), query.get("replicas", str(_REPLICAS))
        if parts.scheme not in SCHEMES or not addresses or parts.fragment:
            raise InvalidSettings(f"the URL of the Cassandra ledger is not of the form {_FORM}")
        if bool(user) != bool(has_password):
            raise InvalidSettings("the URL of the Cassandra ledger has a user without a password, or the reverse")
        if unknown:
            raise InvalidSettings(f"the URL of the Cassandra ledger has an unknown option: {', '.join(unknown)}")
        if not _KEYSPACE.fullmatch(parts.path.removeprefix("/")):
            raise InvalidSettings(
                "the keyspace of the Cassandra ledger has a-z, 0-9 and _ only: cassandra://host/lastro"
            )
        if datacenter is not None and not _DATACENTER.fullmatch(datacenter):
            raise InvalidSettings("the option dc of the Cassandra ledger is not the name of a data centre")
        if not replicas.isascii() or not replicas.isdecimal() or not 1 <= int(replicas) <= 99:
            raise InvalidSettings("the option replicas of the Cassandra ledger is not a number from 1 to 99")
        return cls(
            hosts=tuple(_host(address) for address in addresses.split(",")),
            keyspace=parts.path.removeprefix("/"),
            datacenter=datacenter,
            replicas=int(replicas),
            tls=parts.scheme == "cassandra+tls",
            user=unquote(user) or None,
            password=unquote(password) or None,
        )

    @property
    def shown(self) -> str:
        """The addresses and the keyspace, for messages."""
        return f"{','.join(f'{host}:{port}' for host, port in self.hosts)}/{self.keyspace}"


def _host(address: str) -> tuple[str, int]:
    """Return host and port of `host`, `host:port`, `[ipv6]` or `[ipv6]:port`. Raises InvalidSettings."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise InvalidSettings("an address of the Cassandra ledger is not host or host:port")
    return host, port or _PORT
