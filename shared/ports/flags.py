"""The flags port: features that are turned on or off per tenant."""

from __future__ import annotations

from typing import Protocol

from shared.core.flags import Flag


class Flags(Protocol):
    """Features that are turned on or off for each tenant."""

    def enabled(self, flag: Flag, tenant_id: str | None) -> bool:
        """Return whether a flag is on for a tenant; `tenant_id` None is the platform itself.

        It answers from this process's memory, and never waits for a server. A flag that is not known has its default.
        """
        ...
