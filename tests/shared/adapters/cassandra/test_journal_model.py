"""The append protocol in every interleaving of a few appenders, and the same search on protocols with a fault."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from shared.adapters.cassandra.protocol import LedgerProtocol, Wanted
from shared.adapters.cassandra.tables import Head, Position
from shared.ports.ledger import Transfer
from tests.ports.ledger_suite import legs, transfer
from tests.shared.adapters.cassandra.model import CallingTables, Violation, explore, no_pause

A = TypeVar("A")
B = TypeVar("B")
T = transfer("t", *legs("a", "b", 5))
U = transfer("u", *legs("a", "b", 7))
OPPOSITE = transfer("u", *legs("b", "a", 7))
ONE_ACCOUNT = transfer("t", *legs("a", "a", 5))


def protocol() -> LedgerProtocol:
    """Return the product's protocol."""
    return LedgerProtocol(CallingTables(), no_pause)


class WithoutSecondLook(LedgerProtocol):
    """A fault: the position of a leg is not looked up after the head was read."""

    async def _second_look(self, tenant_id: str, wanted: Sequence[Wanted]) -> tuple[Position, ...]:
        return ()


class PendingAfterTheNextHead(LedgerProtocol):
    """A fault: the positions of the last batch are written after the next head."""

    _left: Head | None = None

    async def _before_the_next_head(self, head: Head) -> Head:
        self._left = head
        return head._replace(pending=())

    async def _after_the_batch(self, head: Head) -> Head:
        if self._left is not None:
            await self._completed(self._left)
        return await self._completed(head)


class WithoutCondition(LedgerProtocol):
    """A fault: an unknown outcome is taken for success."""

    async def _is_appended(self, head: Head, after: Head, lines: Sequence[object]) -> bool:
        await super()._is_appended(head, after, lines)  # type: ignore[arg-type]  # passed on as it came
        return True


@pytest.mark.parametrize(
    ("transfers", "ends", "unknown"),
    [
        pytest.param((T, T, U), 1, 0, id="one transfer requested twice, and another one, one end"),
        pytest.param((T, T, OPPOSITE), 0, 0, id="the same, in opposite directions"),
        pytest.param((ONE_ACCOUNT, ONE_ACCOUNT, U), 1, 0, id="both legs in one account, one end"),
        pytest.param((T, T), 1, 1, id="one transfer requested twice, one end, one unknown outcome"),
        pytest.param((T, U), 1, 1, id="two transfers, one end, one unknown outcome"),
    ],
)
def test_each_leg_gets_one_line(
    transfers: Sequence[Transfer], ends: int, unknown: int, record_property: Callable[[str, object], None]
) -> None:
    """In every interleaving each leg has one line in the end, sequences have no gap, and each append returns them."""
    states, finals = explore(transfers, protocol, ends=ends, unknown=unknown)
    record_property("states", states)
    print(f"{states} states, {finals} ends of histories, {ends} ends of a process, {unknown} unknown outcomes")
    assert finals > 0


class LooksFirst(LedgerProtocol):
    """The other order of the two steps that may go on at the same time."""

    async def _both(self, first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
        try:
            looked = await second
            return await first, looked
        finally:
            first.close()


def test_the_order_of_steps_at_the_same_time_makes_no_difference() -> None:
    """Each leg gets one line also when positions are looked up before those of pending lines are written."""
    states, _ = explore((T, T, U), lambda: LooksFirst(CallingTables(), no_pause), ends=0, unknown=0)
    print(f"{states} states")


def test_a_journal_is_opened_once() -> None:
    """Accounts that do not exist are opened by one of the appenders that need them."""
    states, finals = explore((T, U), protocol, ends=0, unknown=1, opened=("a",))
    print(f"{states} states, {finals} ends of histories")
    assert finals > 0


@pytest.mark.parametrize("fault", [WithoutSecondLook, PendingAfterTheNextHead, WithoutCondition])
def test_the_search_finds_a_fault(fault: type[LedgerProtocol]) -> None:
    """Each fault of the protocol lets a leg get two lines or none in one of the histories that the search visits."""
    with pytest.raises(Violation):
        explore((T, T, U), lambda: fault(CallingTables(), no_pause), ends=0, unknown=1)
