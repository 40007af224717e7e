"""The flags port: features that are turned on or off per tenant."""

from __future__ import annotations

from typing import Protocol


class Flags(Protocol):
    """Features that are turned on or off for each tenant."""

    def enabled(self, flag: str, tenant_id: str | None) -> bool:
        """Return whether a flag is on for a tenant. An unknown flag is off; `tenant_id` None is the platform itself."""
        ...
