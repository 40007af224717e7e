"""The runtime of a function that is started alone: every port from its setting, opened at first use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.files.keyfile import KeyFileSecrets
from shared.adapters.files.stored_keys import StoredKeys
from shared.adapters.files.yaml_flags import FLAGS_FILE, YamlFlags
from shared.adapters.sqlite.lazy_store import LazyStore
from shared.adapters.sqlite.log_bus import LogBus
from shared.context.runtime import Runtime
from shared.core.clock import Clock, SystemClock
from shared.core.randomness import SystemSecretSource
from shared.core.settings import Settings
from shared.identity.tokens import JwksClient, KeySource, TokenVerifier
from shared.ports.secrets import Secrets
from shared.telemetry.recorder import Telemetry

if TYPE_CHECKING:
    from shared.ports.documents import Collection
    from shared.ports.rail import Rail

REALM_PATH: Final = "/realms/lastro"
"""Where the local issuer answers; its issuer URL is the platform's base URL with this path."""

_PORTS: Final = ("documents", "ledger", "cache", "bus", "secrets", "flags")


def assemble(settings: Settings, clock: Clock | None = None) -> Runtime:
    """A runtime for these settings. Opens nothing yet.

    Raises ValueError naming a setting whose server this version has no adapter for.
    """
    refuse_unknown_servers(settings)
    clock = clock or SystemClock()
    random = SystemRandom()
    store = LazyStore(settings, clock, _collections)
    secrets = KeyFileSecrets(settings.data_path)
    return Runtime(
        settings=settings,
        clock=clock,
        random=random,
        secret_source=SystemSecretSource(),
        documents=store.documents,
        ledger=store.ledger,
        cache=store.cache,
        nonces=store.nonces,
        bus=LogBus(),
        secrets=secrets,
        flags=YamlFlags(settings.data_path / FLAGS_FILE),
        verifier=token_verifier(settings, secrets, clock),
        telemetry=Telemetry(random, settings.trace_ratio),
        rails=_rails(settings),
    )


def _collections() -> Sequence[Collection[Any, ...]]:
    from shared.records.catalogue import COLLECTIONS

    return COLLECTIONS


def _rails(settings: Settings) -> dict[str, Rail]:
    from shared.adapters.pix.rail import PixHttpRail

    return {"pix": PixHttpRail(settings.pix_rail)}


def refuse_unknown_servers(settings: Settings) -> None:
    """Raise ValueError for a port's URL that no adapter of this version understands."""
    for port in _PORTS:
        url: str = getattr(settings, port)
        if url:
            scheme = url.partition("://")[0]
            raise ValueError(
                f"LASTRO_{port.upper()} names a {scheme!r} server, and this version has only the embedded {port} "
                f"adapter: leave the setting out"
            )


def issuer_url(settings: Settings) -> str:
    """Who makes the access tokens: the realm that is set, or the local issuer."""
    return settings.identity or settings.base_url.rstrip("/") + REALM_PATH


def token_verifier(settings: Settings, secrets: Secrets, clock: Clock) -> TokenVerifier:
    """Verifies by the set realm's published keys, or by the local issuer's as they are stored."""
    issuer = issuer_url(settings)
    keys: KeySource = JwksClient(issuer, clock) if settings.identity else StoredKeys(secrets)
    leeway = timedelta(seconds=settings.token_leeway_seconds)
    return TokenVerifier(issuer, settings.audience, keys, clock, leeway)
