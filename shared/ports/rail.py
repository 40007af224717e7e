"""The rail port: commands to a payment provider. What happened comes back by its callbacks."""

from __future__ import annotations

from typing import Protocol


class RailRefused(Exception):
    """The provider said no; the command had no effect and never will. `code` is the provider's own."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Rail(Protocol):
    """One provider's API."""

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        """Ask for a charge under our reference; asking again with the same reference has no further effect.

        Raises RailRefused, or Unavailable when the outcome is unknown.
        """
        ...
