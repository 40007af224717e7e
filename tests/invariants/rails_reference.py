"""A reference model of payments over rails: what each must have become, from its commands and its provider's own books.

It imports nothing of the platform. It is compared when nothing is in progress.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Decision = Literal["settled", "failed"]
WITHOUT_MONEY = frozenset({"declined", "canceled", "expired", "failed"})
"""The statuses of a payment that has moved nothing."""


@dataclass
class Ordered:
    """A payment over a rail that was accepted: what was asked, and the commands that were accepted later."""

    method: str
    account: str
    amount: int
    manual: bool
    is_known: bool = True
    """Whether the rail has the receiver, or the gateway takes the card."""
    capture: int | None = None
    """The amount of the accepted capture; None for all of it."""
    is_canceled: bool = False
    decision: Decision | None = None
    """The decision on the payment's review."""


@dataclass(frozen=True)
class AtProvider:
    """A payment in its provider's books: the amount that it has moved, whether it came back, and what was returned to
    a card. All amounts are 0 for a payment that it does not know, or has refused."""

    moved: int = 0
    came_back: bool = False
    refunds: tuple[int, ...] = ()
    is_held: bool = False
    """Whether the issuer of a card still holds an amount."""


@dataclass
class RailsReference:
    """The payments that were accepted, by their ids."""

    payments: dict[str, Ordered] = field(default_factory=dict)
    refunds: dict[str, str] = field(default_factory=dict)
    """The payment of each accepted refund."""

    def statuses(self, id: str, found: AtProvider) -> frozenset[str]:
        """Return the statuses of which a payment must have one at rest."""
        order = self.payments[id]
        if order.is_canceled:
            assert not found.moved, "a canceled payment was made by its provider"
            return frozenset({"canceled"})
        if found.moved and found.moved != self.ordered(id):
            assert order.decision is not None, "a payment of another amount has a review"
            return frozenset({order.decision})
        if found.moved:
            return frozenset({"settled"})
        assert order.decision is None, "a payment without money has no review"
        if not order.is_known:
            return WITHOUT_MONEY - {"canceled"}
        # It was declined for its account, refused by its provider, or never captured.
        return WITHOUT_MONEY - {"canceled"} if not order.manual or order.capture is None else frozenset({"failed"})

    def ordered(self, id: str) -> int:
        """Return the amount that the provider was asked to move."""
        order = self.payments[id]
        return order.amount if order.capture is None else order.capture

    def captured(self, id: str, found: AtProvider) -> int:
        """Return the amount that the tenant's account has paid or received for a settled payment.

        A review that is settled takes what was moved, and never more than was held: the whole payment.
        """
        if found.moved == self.ordered(id):
            return found.moved
        return min(found.moved, self.payments[id].amount)

    def effect(self, id: str, found: AtProvider) -> int:
        """Return what a payment has added to the balance of the tenant's account, with its refunds: negative for one
        that has taken from it."""
        if not found.moved or self.statuses(id, found) != {"settled"}:
            return 0
        left = 0 if found.came_back else self.captured(id, found) - sum(found.refunds)
        return left if self.payments[id].method == "card" else -left

    def came_back(self, account: str, at_providers: dict[str, AtProvider]) -> int:
        """Return the sum of the settled payments out of an account that their receivers have sent back."""
        return sum(
            self.captured(id, found)
            for id, found in at_providers.items()
            if self.payments[id].account == account and found.came_back and self.statuses(id, found) == {"settled"}
        )

    def differs(self, at_providers: dict[str, AtProvider], method: str) -> int:
        """Return by how much the provider of a method and the ledger may differ, in what was moved.

        An operator has decided that the provider took a payment back, which is then not in the ledger.
        """
        difference = 0
        for id, found in at_providers.items():
            order = self.payments[id]
            if order.method != method:
                continue
            if order.decision == "failed" and not found.came_back:
                difference += found.moved
        return difference
