"""The ledger port: immutable double-entry bookkeeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from shared.core.money import MAX_MINOR_UNITS

Direction = Literal["debit", "credit"]


class Leg(NamedTuple):
    """One side of a transfer: an amount in minor units that a ledger account receives (credit) or pays (debit)."""

    account_id: str
    direction: Direction
    amount: int
    currency: str


class Cause(NamedTuple):
    """The payment, refund or deposit that a transfer belongs to, and its id."""

    type: str
    id: str


class Transfer(NamedTuple):
    """A transfer to be recorded. `payment_id` and `description` are copied to the statement."""

    tenant_id: str
    id: str
    cause: Cause
    legs: tuple[Leg, ...]
    payment_id: str | None = None
    description: str | None = None


class Entry(NamedTuple):
    """One recorded leg.

    `sequence` numbers the entries of an account from 1 without gaps. `balance_after` is credits less debits of the
    account, up to and including this entry, in minor units.
    """

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
    """A transfer as it is recorded in the ledger. `recorded_at` is the time of its latest entry."""

    tenant_id: str
    id: str
    cause: Cause
    entries: tuple[Entry, ...]
    recorded_at: str
    payment_id: str | None = None
    description: str | None = None


class Refusal(NamedTuple):
    """A transfer id that was refused: no transfer can be recorded under it any more."""

    tenant_id: str
    id: str
    cause: Cause
    reason: str
    recorded_at: str


class AccountTurnover(NamedTuple):
    """The sums of debits and credits of one ledger account, in minor units."""

    account_id: str
    currency: str
    debits: int
    credits: int


class LedgerRefused(Exception):
    """The ledger refuses this transfer permanently. The text is for the tenant, too."""


class UnbalancedTransfer(LedgerRefused):
    """Debits and credits differ in a currency, a leg's amount is not positive, or there are fewer than two legs."""


class TransferMismatch(LedgerRefused):
    """The id was used before for other legs or another cause."""


class LedgerDamaged(Exception):
    """The store's copy of the ledger contradicts itself. An operator must examine it."""


class LedgerStore(Protocol):
    """The store of transfers. No method changes or removes a transfer."""

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        """Record a transfer once.

        The same transfer again returns what was recorded the first time. A refused id returns its refusal.
        `recorded_at` is moved forward to the time of the accounts' last entries when it is earlier, so that times never
        decrease within an account.

        Raises UnbalancedTransfer, TransferMismatch or Unavailable, and LedgerRefused for another currency than an
        account's or a balance that would be too large.
        """
        ...

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        """Refuse the id permanently and return the refusal. If a transfer is recorded under it already, return the
        transfer."""
        ...

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        """Return the recorded transfer, after checking that it balances, or None.

        Raises UnbalancedTransfer, LedgerDamaged or Unavailable.
        """
        ...

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        """Return the entries of an account after a sequence number, oldest first."""
        ...

    async def balance(self, tenant_id: str, account_id: str) -> int:
        """Return credits less debits of an account, in minor units; 0 for an account without entries."""
        ...

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        """Return the turnover of every ledger account of a tenant, ordered by currency and id."""
        ...


def check_balance(account_id: str, balance: int) -> None:
    """Raise LedgerRefused when a balance, in minor units, does not fit into the 64 bits that events and clients have.

    The sums of debits and of credits have no bound: they only grow, so a bound would end the account.
    """
    if not -MAX_MINOR_UNITS <= balance <= MAX_MINOR_UNITS:
        raise LedgerRefused(
            f"The amount is too large for the ledger account {account_id}: its balance would be beyond "
            f"{MAX_MINOR_UNITS} minor units."
        )


def check_currency(account_id: str, currency: str, wanted: str) -> None:
    """Raise LedgerRefused when an account has another currency than a leg."""
    if currency != wanted:
        raise LedgerRefused(f"The ledger account {account_id} has the currency {currency}, not {wanted}.")


def check_balanced(legs: Sequence[Leg]) -> None:
    """Raise UnbalancedTransfer unless there are at least two legs, all amounts are positive, and debits equal credits
    in each currency."""
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
