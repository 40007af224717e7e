"""The ledger port: immutable double entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Direction = Literal["debit", "credit"]


class Leg(NamedTuple):
    """One side of a transfer: so many minor units into (credit) or out of (debit) a ledger account."""

    account_id: str
    direction: Direction
    amount: int
    currency: str


class Cause(NamedTuple):
    """What a transfer is for: a payment, refund or deposit and its id."""

    type: str
    id: str


class Transfer(NamedTuple):
    """A movement to be recorded. `payment_id` and `description` go with it to the statement."""

    tenant_id: str
    id: str
    cause: Cause
    legs: tuple[Leg, ...]
    payment_id: str | None = None
    description: str | None = None


class Entry(NamedTuple):
    """One recorded leg. `sequence` numbers an account's entries from 1 without a gap;
    `balance_after` is credits less debits of the account up to and with this entry."""

    transfer_id: str
    leg: int
    account_id: str
    direction: Direction
    amount: int
    currency: str
    sequence: int
    balance_after: int
    recorded_at: str


@dataclass(frozen=True, slots=True)
class RecordedTransfer:
    """A transfer as it stands in the ledger."""

    tenant_id: str
    id: str
    cause: Cause
    entries: tuple[Entry, ...]
    recorded_at: str
    payment_id: str | None = None
    description: str | None = None


class Refusal(NamedTuple):
    """A transfer id that was given up: nothing can be recorded under it any more."""

    tenant_id: str
    id: str
    cause: Cause
    reason: str
    recorded_at: str


class AccountTurnover(NamedTuple):
    """What went through one ledger account since it was first used, in minor units."""

    account_id: str
    currency: str
    debits: int
    credits: int


class LedgerRefused(Exception):
    """The ledger does not take this transfer, now or ever."""


class UnbalancedTransfer(LedgerRefused):
    """Debits and credits differ in a currency, or a leg is not a positive amount, or there are fewer than two."""


class TransferMismatch(LedgerRefused):
    """The id was used for other legs or another cause."""


class LedgerStore(Protocol):
    """Where transfers are kept. There is no way to change or remove one."""

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        """Record a transfer, once: the same transfer again returns what was recorded the first time, and an id
        that was refused returns its refusal. `recorded_at` is moved on to that of the accounts' last entries when
        it lies before them, so that time never goes backwards along an account.

        Raises UnbalancedTransfer, TransferMismatch or Unavailable.
        """
        ...

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        """Give the id up, unless a transfer is recorded under it: then that is returned."""
        ...

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        """The recorded transfer, checked to balance, or None."""
        ...

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        """An account's entries behind a sequence number, oldest first."""
        ...

    async def balance(self, tenant_id: str, account_id: str) -> int:
        """An account's credits less its debits, in minor units; 0 for an account without entries."""
        ...

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        """Every ledger account of a tenant, ordered by currency and id."""
        ...


def check_balanced(legs: Sequence[Leg]) -> None:
    """Raise UnbalancedTransfer unless there are at least two legs of positive amounts and, per currency,
    debits equal credits."""
    if len(legs) < 2:
        raise UnbalancedTransfer("a transfer has at least two legs")
    sums: dict[str, int] = {}
    for leg in legs:
        if leg.amount <= 0:
            raise UnbalancedTransfer("a leg's amount is at least one minor unit")
        signed = leg.amount if leg.direction == "credit" else -leg.amount
        sums[leg.currency] = sums.get(leg.currency, 0) + signed
    for currency, difference in sums.items():
        if difference:
            raise UnbalancedTransfer(f"debits and credits differ by {abs(difference)} in {currency}")
