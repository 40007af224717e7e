"""Selects the adapter of each port by the URL of its setting.

A new adapter needs one line of OPENERS and one module. Nothing is opened here, and the module of an adapter is imported
only when the adapter is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from shared.core.settings import InvalidSettings, Settings

if TYPE_CHECKING:
    from shared.ports.lifecycle import Adapter, AdapterOptions

EMBEDDED: Final = ""
"""The scheme of an absent setting."""
SQLITE: Final = "shared.adapters.sqlite.store.sqlite_store"
MONGODB: Final = "shared.adapters.mongodb.store.mongodb_store"
REDIS: Final = "shared.adapters.redis.server.redis_server"
CASSANDRA: Final = "shared.adapters.cassandra.store.cassandra_ledger"
KAFKA: Final = "shared.adapters.kafka.bus.kafka_bus"
UNLEASH: Final = "shared.adapters.unleash.flags.unleash_flags"
VAULT: Final = "shared.adapters.vault.secrets.vault_secrets"
KEYCLOAK: Final = "shared.adapters.keycloak.realm.keycloak_realm"

OPENERS: Final[Mapping[str, Mapping[str, str]]] = {
    "secrets": {EMBEDDED: "shared.adapters.files.keyfile.key_file", "vault+https": VAULT, "vault+http": VAULT},
    "flags": {
        EMBEDDED: "shared.adapters.files.yaml_flags.yaml_flags",
        "unleash+https": UNLEASH,
        "unleash+http": UNLEASH,
    },
    "cache": {
        EMBEDDED: "shared.adapters.memory.local_cache.local_cache",
        **dict.fromkeys(("redis", "rediss", "redis+sentinel", "rediss+sentinel"), REDIS),
    },
    "documents": {EMBEDDED: SQLITE, "mongodb": MONGODB, "mongodb+srv": MONGODB},
    "ledger": {EMBEDDED: SQLITE, "cassandra": CASSANDRA, "cassandra+tls": CASSANDRA},
    "bus": {EMBEDDED: SQLITE, "kafka": KAFKA, "kafka+tls": KAFKA},
    "identity": {"https": KEYCLOAK, "http": KEYCLOAK},
}
"""For each port with a setting LASTRO_<PORT>: the function that makes the adapter, by the scheme of the setting's URL.

It is called with AdapterOptions and returns an Adapter that is not open. The ports are opened in this order. Ports with
the same function and URL share one adapter. Without a URL `identity` has no adapter: the keys of the local issuer are
secrets (shared.adapters.files.stored_keys).
"""


class Choice(NamedTuple):
    """The adapter of a port: the function that makes it, and the setting's URL."""

    opener: str
    url: str


def choose(settings: Settings) -> dict[str, Choice]:
    """Return the adapter of each port, in the order of their opening.

    The nonces have no setting of their own. They are in the store of the documents, or on the server of the cache when
    the documents are on a server, too: each commit then stores its nonce (`Commit.nonce`), so the cache may lose it.
    The rate limits are on the server of the cache; without one, no adapter has them.

    Raises InvalidSettings for URLs without an adapter in this version, and for a bus that would miss events. The text
    has only the scheme of a URL, because a URL may contain a password.
    """
    choices: dict[str, Choice] = {}
    wrong: list[str] = []
    for port, openers in OPENERS.items():
        url: str = getattr(settings, port)
        if not url and EMBEDDED not in openers:
            continue
        scheme, separator, _ = url.partition("://")
        opener = openers.get(scheme.lower()) if separator or not url else None
        if opener is None:
            wrong.append(_refusal(port, scheme if separator else "", openers))
        else:
            choices[port] = Choice(opener, url)
    if settings.bus and not settings.documents:
        wrong.append(
            "LASTRO_BUS needs LASTRO_DOCUMENTS: only the embedded bus reads the events of the embedded documents"
        )
    if wrong:
        raise InvalidSettings("; ".join(wrong))
    choices["nonces"] = choices["cache" if settings.cache and settings.documents else "documents"]
    if settings.cache:
        choices["rate_limits"] = choices["cache"]
    return choices


def _refusal(port: str, scheme: str, openers: Mapping[str, str]) -> str:
    named = f"LASTRO_{port.upper()} " + (f"names a {scheme!r} server" if scheme else "is not a URL")
    known = [f"{known}://" for known in openers if known != EMBEDDED]
    if not known:
        return f"{named}, and this version has only the embedded {port} adapter: leave the setting out"
    return f"{named}: this version accepts {', '.join(known)}, or the setting left out"


def make_adapter(choice: Choice, options: AdapterOptions) -> Adapter:
    """Import an adapter's module and make the adapter, which is not open."""
    module, _, name = choice.opener.rpartition(".")
    return cast("Adapter", getattr(import_module(module), name)(options))
