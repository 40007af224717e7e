"""The flags port: features turned on and off per tenant."""

from __future__ import annotations

from typing import Protocol


class Flags(Protocol):
    """Feature flags."""

    def enabled(self, flag: str, tenant_id: str | None) -> bool:
        """Whether a flag is on for a tenant; an unknown flag is off."""
        ...
