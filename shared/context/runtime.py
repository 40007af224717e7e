"""The ports and settings of a process, as functions use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from shared.context.due_work import DueWork
from shared.core.clock import Clock
from shared.core.ids import IdSource
from shared.identity.tenancy import SigningSecrets

if TYPE_CHECKING:
    from shared.context.rate_limits import RateGate
    from shared.core.randomness import SecretSource
    from shared.core.settings import Settings
    from shared.identity.tokens import TokenVerifier
    from shared.ports.bus import Bus
    from shared.ports.cache import Cache
    from shared.ports.card_gateway import CardGateway
    from shared.ports.documents import Documents
    from shared.ports.flags import Flags
    from shared.ports.identity import Clients
    from shared.ports.ledger import LedgerStore
    from shared.ports.nonces import Nonces
    from shared.ports.notifier import Channel, Notifier
    from shared.ports.outgoing import Outgoing
    from shared.ports.rail import Rail
    from shared.ports.rail_payments import PaymentRail
    from shared.ports.rate_limits import RateLimits
    from shared.ports.secrets import Secrets
    from shared.telemetry.recorder import Telemetry


RequestQuiet = Callable[[str, float], Awaitable[bool]]
"""Called with a request id and a timeout in seconds: waits until no delivery that the request caused is in progress.
Returns False when the timeout passed first."""


@dataclass(slots=True)
class Runtime:
    """Everything outside the function's own code that a function uses."""

    settings: Settings
    clock: Clock
    random: Random
    """For ids, traces and jitter. Secrets are made by `secret_source`."""
    secret_source: SecretSource
    documents: Documents
    ledger: LedgerStore
    cache: Cache
    nonces: Nonces
    bus: Bus
    secrets: Secrets
    flags: Flags
    verifier: TokenVerifier
    telemetry: Telemetry
    rate_limits: RateLimits | None = None
    """The counts of requests that processes share; None when each process counts for itself."""
    rate_gate: RateGate | None = None
    """The limit for requests that no gateway in this process has counted; set where a function runs alone."""
    rails: dict[str, Rail] = field(default_factory=dict)
    payment_rails: dict[str, PaymentRail] = field(default_factory=dict)
    """The rails that payments are made over, by the payment method."""
    card_gateway: CardGateway | None = None
    """The gateway of card payments. None in a process that sends it no commands."""
    clients: Clients | None = None
    """The clients of the realm that issues access tokens; None when the platform issues them itself."""
    notifiers: dict[Channel, Notifier] = field(default_factory=dict)
    """The gateways for messages to persons, by channel."""
    outgoing: Outgoing | None = None
    """Requests to addresses that tenants have chosen. None in a process that sends none."""
    request_quiet: RequestQuiet | None = None
    """Set when the broker runs in this process. A request with `Prefer: wait` then need not poll its document."""
    webhooks: DueWork = field(init=False)
    """The deliveries that this process is to make."""
    ids: IdSource = field(init=False)
    signing_secrets: SigningSecrets = field(init=False)

    def __post_init__(self) -> None:
        self.webhooks = DueWork(self.clock)
        self.ids = IdSource(self.clock, self.random)
        self.signing_secrets = SigningSecrets(self.secrets)


RuntimeSource = Callable[[], Runtime]
"""Called with each request of a function. Returns the runtime of its process."""
