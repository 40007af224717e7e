"""`cassandra://host,host:9042/keyspace?dc=…`: the value of LASTRO_LEDGER."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from shared.core.settings import InvalidSettings

_PORT: Final = 9042
_REPLICAS: Final = 3
_WAIT_SECONDS: Final = 10
_URL: Final = re.compile(
    r"(?P<scheme>cassandra|cassandra\+tls)://(?P<authority>[^/?#]+)/(?P<keyspace>[^?#]*)(\?(?P<query>[^#]*))?"
)
_ADDRESS: Final = re.compile(r"(\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(:(?P<port>[0-9]{1,5}))?")
_KEYSPACE: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_CERTIFIED: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")
_DATACENTER: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_FORM: Final = (
    "cassandra://[user:password@]host[:port][,host[:port]…]/keyspace[?dc=…][&replicas=3][&wait=10][&ca=FILE][&name=…]"
)


@dataclass(frozen=True, slots=True)
class CassandraUrl:
    """The servers and keyspace of the ledger.

    `replicas` is used only to create the keyspace. Opening waits up to `wait_seconds` for a server that does not
    answer. `ca` is the path of a file with the certificates of the accepted authorities; None selects those of the
    system. `name` is the name that every server's certificate must have; None selects the address at which each is
    reached, as the other servers say it.
    """

    hosts: tuple[tuple[str, int], ...]
    keyspace: str
    datacenter: str | None = None
    replicas: int = _REPLICAS
    wait_seconds: int = _WAIT_SECONDS
    tls: bool = False
    ca: str | None = None
    name: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> CassandraUrl:
        """Parse the URL. Raises InvalidSettings, whose text does not contain the password."""
        # urlsplit accepts one host only.
        matched = _URL.fullmatch(url)
        if matched is None:
            raise InvalidSettings(f"the URL of the Cassandra ledger is not of the form {_FORM}")
        credentials, _, addresses = matched["authority"].rpartition("@")
        user, has_password, password = credentials.partition(":")
        keyspace = matched["keyspace"]
        query = dict(parse_qsl(matched["query"] or "", keep_blank_values=True))
        unknown = sorted(query.keys() - {"dc", "replicas", "wait", "ca", "name"})
        datacenter, name = query.get("dc"), query.get("name")
        if bool(user) != bool(has_password):
            raise InvalidSettings("the URL of the Cassandra ledger has a user without a password, or the reverse")
        if unknown:
            raise InvalidSettings(f"the URL of the Cassandra ledger has an unknown option: {', '.join(unknown)}")
        if not _KEYSPACE.fullmatch(keyspace):
            raise InvalidSettings(
                "the keyspace of the Cassandra ledger has a-z, 0-9 and _ only: cassandra://host/lastro"
            )
        if datacenter is not None and not _DATACENTER.fullmatch(datacenter):
            raise InvalidSettings("the option dc of the Cassandra ledger is not the name of a data centre")
        if name is not None and not _CERTIFIED.fullmatch(name):
            raise InvalidSettings("the option name of the Cassandra ledger is not the name of a server")
        return cls(
            hosts=tuple(_host(address) for address in addresses.split(",")),
            keyspace=keyspace,
            datacenter=datacenter,
            replicas=_number(query, "replicas", _REPLICAS, 1, 99),
            wait_seconds=_number(query, "wait", _WAIT_SECONDS, 0, 3600),
            tls=matched["scheme"] == "cassandra+tls",
            ca=query.get("ca") or None,
            name=name,
            user=unquote(user) or None,
            password=unquote(password) or None,
        )

    @property
    def shown(self) -> str:
        """The hosts and the keyspace, for messages."""
        return f"{','.join(f'{host}:{port}' for host, port in self.hosts)}/{self.keyspace}"


def _number(query: Mapping[str, str], option: str, default: int, least: int, most: int) -> int:
    """Return the number of an option. Raises InvalidSettings."""
    text = query.get(option)
    if text is None:
        return default
    if re.fullmatch("[0-9]{1,9}", text) is None or not least <= int(text) <= most:
        raise InvalidSettings(f"the option {option} of the Cassandra ledger is not a number from {least} to {most}")
    return int(text)


def _host(address: str) -> tuple[str, int]:
    """Return host and port of `host`, `host:port`, `[ipv6]` or `[ipv6]:port`. Raises InvalidSettings."""
    matched = _ADDRESS.fullmatch(address)
    port = _PORT if matched is None or matched["port"] is None else int(matched["port"])
    if matched is None or not 0 < port < 65536:
        raise InvalidSettings("an address of the Cassandra ledger is not host or host:port")
    return matched["ipv6"] or matched["host"], port
