"""The behaviour of every adapter of the ledger port. Each adapter's tests inherit it, with a fixture `ledger`."""

from __future__ import annotations

import pytest

from shared.ports.ledger import (
    AccountTurnover,
    Cause,
    LedgerRefused,
    LedgerStore,
    Leg,
    RecordedTransfer,
    Refusal,
    Transfer,
    TransferMismatch,
    UnbalancedTransfer,
)

MAX = 2**63 - 1
PAYMENT = Cause("payment", "pay_1")


def legs(debit: str, credit: str, amount: int, currency: str = "BRL") -> tuple[Leg, ...]:
    """Return the legs of a transfer from one account to another."""
    return (Leg(debit, "debit", amount, currency), Leg(credit, "credit", amount, currency))


def transfer(id: str, *legs: Leg, tenant_id: str = "ten_1", cause: Cause = PAYMENT) -> Transfer:
    """Return a transfer for a payment."""
    return Transfer(tenant_id, id, cause, legs, "pay_1", "coffee")


async def recorded(ledger: LedgerStore, wanted: Transfer, at: str = "2026-01-01") -> RecordedTransfer:
    """Append a transfer, which must be recorded."""
    outcome = await ledger.append(wanted, at)
    assert isinstance(outcome, RecordedTransfer)
    return outcome


class LedgerSuite:
    """Behaviour of the ledger port."""

    async def test_a_transfer_is_recorded_with_its_entries(self, ledger: LedgerStore) -> None:
        """Every leg becomes an entry with the account's next number and balance, and the transfer is read back
        unchanged."""
        wanted = transfer("t1", *legs("a", "b", 500))
        outcome = await recorded(ledger, wanted)
        assert [(entry.account_id, entry.sequence, entry.balance_after) for entry in outcome.entries] == [
            ("a", 1, -500),
            ("b", 1, 500),
        ]
        assert (outcome.payment_id, outcome.description, outcome.recorded_at) == ("pay_1", "coffee", "2026-01-01")
        assert await ledger.transfer("ten_1", "t1") == outcome
        assert list(await ledger.entries("ten_1", "a", 0, 10)) == [outcome.entries[0]]
        assert await ledger.transfer("ten_1", "t1") == outcome

    async def test_a_balance_is_credits_less_debits(self, ledger: LedgerStore) -> None:
        """The balance follows every transfer at once, per tenant, and is 0 for an account without entries."""
        await recorded(ledger, transfer("t1", *legs("a", "b", 500)))
        await recorded(ledger, transfer("t2", *legs("b", "a", 200)))
        assert await ledger.balance("ten_1", "a") == -300
        assert await ledger.balance("ten_1", "b") == 300
        assert await ledger.balance("ten_1", "c") == 0
        assert await ledger.balance("ten_2", "a") == 0

    async def test_a_repeated_transfer_is_recorded_once(self, ledger: LedgerStore) -> None:
        """A repeated transfer returns the recorded one and adds nothing."""
        wanted = transfer("t1", *legs("a", "b", 500))
        first = await recorded(ledger, wanted)
        for _ in range(2):
            again = await recorded(ledger, wanted, "2026-02-02")
            assert again == first
            assert len(await ledger.entries("ten_1", "a", 0, 10)) == 1

    async def test_an_id_identifies_one_transfer(self, ledger: LedgerStore) -> None:
        """The same id with other legs or another cause is refused; another tenant may use it."""
        await recorded(ledger, transfer("t1", *legs("a", "b", 500)))
        for other in (
            transfer("t1", *legs("a", "b", 501)),
            transfer("t1", *legs("b", "a", 500)),
            transfer("t1", *legs("a", "b", 500), cause=Cause("refund", "rfd_1")),
        ):
            with pytest.raises(TransferMismatch):
                await ledger.append(other, "2026-01-01")
        await recorded(ledger, transfer("t1", *legs("a", "b", 7), tenant_id="ten_2"))

    async def test_debits_equal_credits(self, ledger: LedgerStore) -> None:
        """A transfer that is not balanced in each currency, has one leg, or has an amount below 1, is refused."""
        for wrong in (
            (Leg("a", "debit", 5, "BRL"), Leg("b", "credit", 4, "BRL")),
            (Leg("a", "debit", 5, "BRL"), Leg("b", "credit", 5, "USD")),
            (Leg("a", "debit", 5, "BRL"),),
            (Leg("a", "debit", 0, "BRL"), Leg("b", "credit", 0, "BRL")),
            (Leg("a", "debit", -5, "BRL"), Leg("b", "credit", -5, "BRL")),
            (),
        ):
            with pytest.raises(UnbalancedTransfer):
                await ledger.append(transfer("t1", *wrong), "2026-01-01")
        assert await ledger.transfer("ten_1", "t1") is None
        assert list(await ledger.turnover("ten_1")) == []

    async def test_many_legs_and_one_account_twice(self, ledger: LedgerStore) -> None:
        """A transfer may have many legs, several of one account, whose numbers and balances follow each other."""
        many = (
            Leg("a", "debit", 10, "BRL"),
            Leg("b", "credit", 7, "BRL"),
            Leg("fees", "credit", 3, "BRL"),
            Leg("b", "debit", 1, "BRL"),
            Leg("a", "credit", 1, "BRL"),
        )
        outcome = await recorded(ledger, transfer("t1", *many))
        assert [(entry.leg, entry.account_id, entry.sequence, entry.balance_after) for entry in outcome.entries] == [
            (0, "a", 1, -10),
            (1, "b", 1, 7),
            (2, "fees", 1, 3),
            (3, "b", 2, 6),
            (4, "a", 2, -9),
        ]

    async def test_an_accounts_entries_are_numbered_without_a_gap(self, ledger: LedgerStore) -> None:
        """Entries come in the order of their numbers, a page at a time, of one tenant's account."""
        for number in range(1, 8):
            await recorded(ledger, transfer(f"t{number}", *legs("a", "b", number)))
            await recorded(ledger, transfer(f"t{number}", *legs("a", "b", 1000), tenant_id="ten_2"))
        page = await ledger.entries("ten_1", "b", 2, 3)
        assert [(entry.sequence, entry.amount, entry.balance_after) for entry in page] == [
            (3, 3, 6),
            (4, 4, 10),
            (5, 5, 15),
        ]
        assert len(await ledger.entries("ten_1", "b", 5, 100)) == 2
        assert list(await ledger.entries("ten_1", "nobody", 0, 100)) == []

    async def test_the_times_of_an_account_do_not_decrease(self, ledger: LedgerStore) -> None:
        """A transfer with an earlier time than the last entry of one of its accounts gets that entry's time."""
        await recorded(ledger, transfer("t1", *legs("a", "b", 1)), "2026-05-05")
        assert (await recorded(ledger, transfer("t2", *legs("c", "b", 1)), "2026-04-04")).recorded_at == "2026-05-05"
        assert (await recorded(ledger, transfer("t3", *legs("c", "d", 1)), "2026-04-04")).recorded_at == "2026-05-05"
        assert (await recorded(ledger, transfer("t4", *legs("e", "d", 1)), "2026-06-06")).recorded_at == "2026-06-06"

    async def test_turnover_is_the_trial_balance(self, ledger: LedgerStore) -> None:
        """Every account's debits and credits, ordered by currency and id; sums are equal per currency."""
        await recorded(ledger, transfer("t1", *legs("b", "a", 5)))
        await recorded(ledger, transfer("t2", *legs("a", "b", 2)))
        await recorded(ledger, transfer("t3", *legs("x", "w", 9, "ARS")))
        await recorded(ledger, transfer("t4", *legs("a", "b", 2), tenant_id="ten_2"))
        assert list(await ledger.turnover("ten_1")) == [
            AccountTurnover("w", "ARS", 0, 9),
            AccountTurnover("x", "ARS", 9, 0),
            AccountTurnover("a", "BRL", 2, 5),
            AccountTurnover("b", "BRL", 5, 2),
        ]

    async def test_an_account_has_one_currency(self, ledger: LedgerStore) -> None:
        """A leg in another currency than its account's is refused with the whole transfer."""
        await recorded(ledger, transfer("t1", *legs("a", "b", 5)))
        with pytest.raises(LedgerRefused):
            await ledger.append(transfer("t2", *legs("c", "a", 5, "USD")), "2026-01-01")
        assert list(await ledger.entries("ten_1", "c", 0, 10)) == []

    async def test_a_balance_stays_within_64_bits(self, ledger: LedgerStore) -> None:
        """The largest amount is recorded; one more minor unit on the same side is refused with the account's name."""
        await recorded(ledger, transfer("t1", *legs("a", "b", MAX)))
        for debited, credited, full in (("c", "b", "b"), ("a", "c", "a")):
            with pytest.raises(LedgerRefused, match=f"too large for the ledger account {full}: its balance"):
                await ledger.append(transfer("t2", *legs(debited, credited, 1)), "2026-01-01")
        assert await ledger.transfer("ten_1", "t2") is None

    async def test_turnover_has_no_bound(self, ledger: LedgerStore) -> None:
        """An account through which the largest amounts have passed still records transfers, with right sums."""
        for number in range(3):
            await recorded(ledger, transfer(f"t{number}", *legs("a", "b", MAX)))
            await recorded(ledger, transfer(f"u{number}", *legs("b", "a", MAX)))
        last = await recorded(ledger, transfer("v", *legs("a", "b", 5)))
        assert [entry.balance_after for entry in last.entries] == [-5, 5]
        assert await ledger.transfer("ten_1", "v") == last
        assert [await ledger.balance("ten_1", id) for id in "ab"] == [-5, 5]
        assert [entry.balance_after for entry in await ledger.entries("ten_1", "b", 0, 10)] == [MAX, 0] * 3 + [5]
        assert list(await ledger.turnover("ten_1")) == [
            AccountTurnover("a", "BRL", 3 * MAX + 5, 3 * MAX),
            AccountTurnover("b", "BRL", 3 * MAX, 3 * MAX + 5),
        ]

    async def test_nothing_is_recorded_under_a_refused_id(self, ledger: LedgerStore) -> None:
        """After a refusal nothing can be recorded under the id; each attempt returns the refusal."""
        refusal = await ledger.refuse("ten_1", "t1", PAYMENT, "expired", "2026-01-01")
        assert refusal == Refusal("ten_1", "t1", PAYMENT, "expired", "2026-01-01")
        for _ in range(2):
            assert await ledger.append(transfer("t1", *legs("a", "b", 5)), "2026-01-02") == refusal
            assert await ledger.refuse("ten_1", "t1", PAYMENT, "other", "2026-01-03") == refusal
            assert await ledger.transfer("ten_1", "t1") is None
            assert list(await ledger.turnover("ten_1")) == []

    async def test_a_recorded_transfer_is_not_refused(self, ledger: LedgerStore) -> None:
        """A refusal of a recorded id returns the recorded transfer."""
        first = await recorded(ledger, transfer("t1", *legs("a", "b", 5)))
        for _ in range(2):
            assert await ledger.refuse("ten_1", "t1", PAYMENT, "late", "2026-01-02") == first
            await ledger.turnover("ten_1")

    async def test_ids_come_in_any_order(self, ledger: LedgerStore) -> None:
        """A transfer with an older id than others is recorded once."""
        for id in ("t5", "t3", "t9", "t1"):
            await recorded(ledger, transfer(id, *legs("a", "b", 1)))
            await ledger.turnover("ten_1")
            await recorded(ledger, transfer(id, *legs("a", "b", 1)))
        assert [line.debits for line in await ledger.turnover("ten_1")] == [4, 0]
