"""The verification of a ledger: it reads everything that is stored and recomputes it.

It works with every adapter of the ledger port, also while transfers are being recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from shared.ports.ledger import Entry, LedgerDamaged, LedgerStore, RecordedTransfer, UnbalancedTransfer

_PAGE: Final = 200


class LedgerDifference(Exception):
    """The stored ledger contradicts itself. The text has the tenant, the account or transfer, and both values."""


class Verified(NamedTuple):
    """The numbers of verified accounts, entries and transfers."""

    accounts: int
    entries: int


async def verify_ledger(ledger: LedgerStore, tenant_id: str) -> Verified:
    """Read every entry of a tenant's ledger. Raises LedgerDifference with the first difference, and Unavailable.

    It checks these rules. In each currency, debits equal credits. The entries of each account have the numbers from 1
    without gaps, balances that follow from their amounts, one currency, and times that do not decrease; the account's
    balance is that of its last entry. Each entry is a leg of a recorded transfer, which balances and whose legs are all
    entries.
    """
    turnover = await ledger.turnover(tenant_id)
    differences: dict[str, int] = {}
    for line in turnover:
        differences[line.currency] = differences.get(line.currency, 0) + line.debits - line.credits
    for currency, difference in differences.items():
        if difference:
            raise LedgerDifference(f"{tenant_id}: debits less credits are {difference} in {currency}, and not 0")
    entries = 0
    for line in turnover:
        entries += await _verify_account(ledger, tenant_id, line.account_id, line.currency)
    return Verified(len(turnover), entries)


async def _verify_account(ledger: LedgerStore, tenant_id: str, account_id: str, currency: str) -> int:
    """Return the number of the account's entries."""
    where = f"{tenant_id}, account {account_id}"
    count, balance, latest = 0, 0, ""
    while True:
        # Read before the page: when the page is empty, no entry has been added since.
        stored = await ledger.balance(tenant_id, account_id)
        page = await ledger.entries(tenant_id, account_id, count, _PAGE)
        if not page:
            if stored != balance:
                raise LedgerDifference(f"{where}: the balance is {stored}, and the entries add up to {balance}")
            return count
        for entry in page:
            count += 1
            balance += entry.amount if entry.direction == "credit" else -entry.amount
            _require(f"{where}, entry {count}", "number", entry.sequence, count)
            _require(f"{where}, entry {count}", "balance", entry.balance_after, balance)
            _require(f"{where}, entry {count}", "currency", entry.currency, currency)
            if entry.recorded_at < latest:
                raise LedgerDifference(f"{where}, entry {count}: it was recorded before the entry {count - 1}")
            latest = entry.recorded_at
        await asyncio.gather(*(_verify_transfer(ledger, tenant_id, entry) for entry in page))


async def _verify_transfer(ledger: LedgerStore, tenant_id: str, entry: Entry) -> None:
    """Check the transfer of an entry: with all its legs at its first leg, otherwise only that the first leg is an
    entry."""
    where = f"{tenant_id}, transfer {entry.transfer_id}"
    try:
        transfer = await ledger.transfer(tenant_id, entry.transfer_id)
    except (UnbalancedTransfer, LedgerDamaged) as error:
        raise LedgerDifference(f"{where}: {error}") from None
    if transfer is None:
        raise LedgerDifference(f"{where}: it is not recorded, and account {entry.account_id} has an entry of it")
    _require_equal(where, transfer.entries[entry.leg] if entry.leg < len(transfer.entries) else None, entry)
    for leg in _legs_to_check(transfer, entry):
        found = await ledger.entries(tenant_id, leg.account_id, leg.sequence - 1, 1)
        _require_equal(where, leg, found[0] if found else None)


def _legs_to_check(transfer: RecordedTransfer, entry: Entry) -> Sequence[Entry]:
    return transfer.entries[1:] if entry.leg == 0 else transfer.entries[:1]


def _require_equal(where: str, leg: Entry | None, entry: Entry | None) -> None:
    """Raise LedgerDifference unless the leg of a transfer is the entry of its account."""
    if leg is None and entry is not None:
        raise LedgerDifference(
            f"{where}: account {entry.account_id} has an entry of its leg {entry.leg}, which is missing"
        )
    if leg is not None and entry is None:
        raise LedgerDifference(f"{where}: account {leg.account_id} has no entry {leg.sequence}, of its leg {leg.leg}")
    if leg is not None and entry is not None:
        for field, of_leg, of_entry in zip(Entry._fields, leg, entry, strict=True):
            if of_leg != of_entry:
                raise LedgerDifference(
                    f"{where}, leg {leg.leg}: the {field} is {of_leg}, and {of_entry} in the entry {entry.sequence} "
                    f"of account {entry.account_id}"
                )


def _require(where: str, what: str, stored: object, computed: object) -> None:
    if stored != computed:
        raise LedgerDifference(f"{where}: the {what} is {stored}, and not {computed}")
