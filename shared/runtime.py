"""The ports that a process works with: made from the settings at first use, or installed by a platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from shared.clock import Clock
from shared.ids import IdSource
from shared.tenancy import SigningSecrets

if TYPE_CHECKING:
    from shared.identity import TokenVerifier
    from shared.ports.bus import Bus
    from shared.ports.cache import Cache
    from shared.ports.documents import Documents
    from shared.ports.flags import Flags
    from shared.ports.ledger import LedgerStore
    from shared.ports.rail import Rail
    from shared.ports.secrets import Secrets
    from shared.settings import Settings
    from shared.telemetry import Telemetry


@dataclass(slots=True)
class Runtime:
    """Everything that a function run takes from outside itself."""

    settings: Settings
    clock: Clock
    random: Random
    documents: Documents
    ledger: LedgerStore
    cache: Cache
    bus: Bus
    secrets: Secrets
    flags: Flags
    verifier: TokenVerifier
    telemetry: Telemetry
    rails: dict[str, Rail] = field(default_factory=dict)
    ids: IdSource = field(init=False)
    signing_secrets: SigningSecrets = field(init=False)

    def __post_init__(self) -> None:
        self.ids = IdSource(self.clock, self.random)
        self.signing_secrets = SigningSecrets(self.secrets)


_installed: Runtime | None = None


def install(runtime: Runtime | None) -> None:
    """Make this runtime the process's own (None: forget it)."""
    global _installed  # noqa: PLW0603 - one process has one runtime; the framework gives a target no other place
    _installed = runtime


def current() -> Runtime:
    """The process's runtime; made from the settings when a function is started alone."""
    if _installed is None:
        from shared.adapters.assembly import assemble
        from shared.settings import Settings

        install(assemble(Settings.from_environment()))
    assert _installed is not None
    return _installed
