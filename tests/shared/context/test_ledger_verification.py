"""The verification of a ledger: it accepts what the ledger has recorded, and names the first difference."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.adapters.memory.stores import MemoryLedger
from shared.context.ledger_verification import LedgerDifference, Verified, verify_ledger
from shared.ports.ledger import Entry, LedgerDamaged, Leg, RecordedTransfer
from tests.ports.ledger_suite import legs, recorded, transfer


async def some_ledger() -> MemoryLedger:
    """Return a ledger with transfers of two, three and seven legs in two currencies."""
    ledger = MemoryLedger()
    for number in range(1, 4):
        await recorded(ledger, transfer(f"t{number}", *legs("a", "b", number)))
    fee = (Leg("a", "debit", 9, "BRL"), Leg("b", "credit", 8, "BRL"), Leg("fees", "credit", 1, "BRL"))
    await recorded(ledger, transfer("t4", *fee))
    back = (Leg("fees", "debit", 1, "BRL"), Leg("a", "credit", 1, "BRL"))
    await recorded(ledger, transfer("t5", *fee, *legs("x", "w", 7, "ARS"), *back))
    return ledger


def change(ledger: MemoryLedger, account_id: str, sequence: int, change: Callable[[Entry], Entry]) -> None:
    """Change an entry in its journal only."""
    entries = ledger._entries["ten_1", account_id]
    entries[sequence - 1] = change(entries[sequence - 1])


def change_leg(ledger: MemoryLedger, transfer_id: str, leg: int, change: Callable[[Entry], Entry]) -> None:
    """Change a leg in its transfer only."""
    known = ledger._known["ten_1", transfer_id]
    assert isinstance(known, RecordedTransfer)
    entries = list(known.entries)
    entries[leg] = change(entries[leg])
    ledger._known["ten_1", transfer_id] = replace(known, entries=tuple(entries))


async def test_a_recorded_ledger_has_no_difference() -> None:
    """Every account and entry of the tenant is verified, and nothing of other tenants."""
    ledger = await some_ledger()
    await recorded(ledger, transfer("t1", *legs("a", "b", 5), tenant_id="ten_2"))
    assert await verify_ledger(ledger, "ten_1") == Verified(accounts=5, entries=16)
    assert await verify_ledger(ledger, "ten_2") == Verified(accounts=2, entries=2)
    assert await verify_ledger(ledger, "ten_3") == Verified(accounts=0, entries=0)


async def test_a_ledger_of_several_pages_is_verified_while_it_grows() -> None:
    """Entries that are added during the verification are no difference."""
    ledger = MemoryLedger()
    for number in range(250):
        await recorded(ledger, transfer(f"t{number}", *legs("a", "b", 1)))
    verifying = asyncio.create_task(verify_ledger(ledger, "ten_1"))
    number = 250
    while not verifying.done():
        await recorded(ledger, transfer(f"t{number}", *legs("a", "b", 1)))
        number += 1
        if number > 400:
            break
        await asyncio.sleep(0)
    assert (await verifying).entries >= 500


DIFFERENCES: list[tuple[Callable[[MemoryLedger], object], str]] = [
    (
        lambda it: change(it, "a", 2, lambda e: e._replace(sequence=3)),
        "ten_1, account a, entry 2: the number is 3, and not 2",
    ),
    (lambda it: it._entries["ten_1", "b"].pop(), "ten_1: debits less credits are 8 in BRL, and not 0"),
    (
        lambda it: change(it, "a", 2, lambda e: e._replace(balance_after=9)),
        "account a, entry 2: the balance is 9, and not -3",
    ),
    (lambda it: change(it, "a", 2, lambda e: e._replace(currency="USD")), "entry 2: the currency is USD, and not BRL"),
    (
        lambda it: change(it, "a", 2, lambda e: e._replace(recorded_at="2025")),
        "entry 2: it was recorded before the entry 1",
    ),
    (
        lambda it: change(it, "a", 2, lambda e: e._replace(transfer_id="t9")),
        "t9: it is not recorded, and account a has",
    ),
    (
        lambda it: change(it, "a", 2, lambda e: e._replace(leg=2)),
        "t2: account a has an entry of its leg 2, which is missing",
    ),
    (lambda it: it._known.pop(("ten_1", "t2")), "transfer t2: it is not recorded, and account a has an entry of it"),
    (lambda it: change_leg(it, "t2", 0, lambda e: e._replace(amount=5)), "t2: debits and credits differ by 3 in BRL"),
    (
        lambda it: change_leg(it, "t2", 1, lambda e: e._replace(sequence=9)),
        "t2: account b has no entry 9, of its leg 1",
    ),
    (
        lambda it: change_leg(it, "t2", 1, lambda e: e._replace(recorded_at="2027")),
        "t2, leg 1: the recorded_at is 2027, and 2026-01-01 in the entry 2 of account b",
    ),
]


@pytest.mark.parametrize(("damage", "said"), DIFFERENCES, ids=[said for _, said in DIFFERENCES])
async def test_the_first_difference_is_named(damage: Callable[[MemoryLedger], object], said: str) -> None:
    """Whatever was changed in the store, the error names the tenant, the account or transfer, and both values."""
    ledger = await some_ledger()
    damage(ledger)
    with pytest.raises(LedgerDifference, match=re.escape(said)):
        await verify_ledger(ledger, "ten_1")


class DamagedLedger(MemoryLedger):
    """A ledger whose balance is not that of its entries, or whose transfers cannot be read."""

    def __init__(self, ledger: MemoryLedger, *, balance: bool) -> None:
        self.__dict__.update(ledger.__dict__)
        self._damages_balance = balance

    async def balance(self, tenant_id: str, account_id: str) -> int:
        return await super().balance(tenant_id, account_id) + self._damages_balance

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        if not self._damages_balance:
            raise LedgerDamaged("the entry 1 of account a is missing")
        return await super().transfer(tenant_id, transfer_id)


async def test_what_the_store_reports_is_a_difference() -> None:
    """A balance that differs from the entries, and a transfer that the store finds damaged, are differences."""
    ledger = await some_ledger()
    with pytest.raises(LedgerDifference, match=r"account w: the balance is 8, and the entries add up to 7"):
        await verify_ledger(DamagedLedger(ledger, balance=True), "ten_1")
    with pytest.raises(LedgerDifference, match=r"transfer t5: the entry 1 of account a is missing"):
        await verify_ledger(DamagedLedger(ledger, balance=False), "ten_1")
