"""The flags of the platform: switches that an operator sets for all tenants or for some, without a deployment.

Each flag has a default, which applies where no value of it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

FlagKind = Literal["kill-switch", "release"]
"""A kill switch is permanent; a release flag is removed when its new way is used for all tenants. Unleash has these
names too."""


class Flag(NamedTuple):
    """One switch. `default` is its value where no other is known."""

    name: str
    kind: FlagKind
    default: bool
    description: str


METHODS: Final = ("internal", "pix", "bank_transfer", "card")
"""The payment methods: by which money moves or comes in."""

STOP_METHOD: Final[Mapping[str, Flag]] = {
    method: Flag(
        f"stop-method-{method}",
        "kill-switch",
        default=False,
        description=f"On: new payments, deposits and charges by {method} are refused with 503. What has begun is "
        "finished.",
    )
    for method in METHODS
}
"""For each payment method the switch that stops it. A switch that is on stops, so that a flag that is new, disabled or
archived stops nothing."""

SHARED_RATE_LIMITS: Final = Flag(
    "shared-rate-limits",
    "release",
    default=True,
    description="On: all processes share the tenant's rate limit in Redis, at a round trip for each request. Off: each "
    "process holds the limit by itself.",
)
"""Where the cache is a server: whether a tenant's requests are counted there, or by each process."""

FLAGS: Final[Mapping[str, Flag]] = {flag.name: flag for flag in (*STOP_METHOD.values(), SHARED_RATE_LIMITS)}
"""All flags, by name."""
