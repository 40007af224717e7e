"""Matching the movements of a clearing account with those of a provider's statement. It reads nothing.

Three rules, in this order: the same reference and amount; the same amount within the window, where neither side has
another candidate; and several movements of one side whose sum is the amount of one movement of the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import combinations
from typing import Final, Literal, NamedTuple

from shared.core.clock import parse_time

Rule = Literal["reference", "amount", "sum"]
MAX_CANDIDATES: Final = 5
"""How many candidates an unmatched movement shows, nearest in time first."""
_MAX_PARTS: Final = 3
_MAX_POOL: Final = 24


class Movement(NamedTuple):
    """One movement of money at a provider: positive when the provider has received it, in minor units.

    `reference` is the provider's id of the payment, such as PIX's end-to-end id.
    """

    id: str
    amount: int
    at: str
    reference: str | None


class Match(NamedTuple):
    """Movements of both sides that are the same money: by the rule `sum`, one of them with several of the other."""

    ledger: tuple[Movement, ...]
    provider: tuple[Movement, ...]
    rule: Rule


class Matched(NamedTuple):
    """All matches, and what is left of both sides, each in the order in which it was given."""

    matches: tuple[Match, ...]
    ledger: tuple[Movement, ...]
    provider: tuple[Movement, ...]


def match(ledger: Sequence[Movement], provider: Sequence[Movement], window: timedelta) -> Matched:
    """Match two lists of movements. Each movement is in at most one match."""
    return _Matching(ledger, provider, window).run()


def candidates(movement: Movement, others: Sequence[Movement], window: timedelta) -> list[Movement]:
    """Return the movements of the other side that may belong to one that is not matched: those with its reference, and
    those with its amount within the window."""
    found = [
        other
        for other in others
        if (other.reference is not None and other.reference == movement.reference)
        or (other.amount == movement.amount and _apart(movement, other) <= window)
    ]
    return sorted(found, key=lambda other: (_apart(movement, other), other.id))[:MAX_CANDIDATES]


class _Matching:
    def __init__(self, ledger: Sequence[Movement], provider: Sequence[Movement], window: timedelta) -> None:
        self._ledger = {movement.id: movement for movement in ledger}
        self._provider = {movement.id: movement for movement in provider}
        self._window = window
        self._matches: list[Match] = []

    def run(self) -> Matched:
        self._by_reference()
        self._by_amount()
        self._by_sum()
        return Matched(tuple(self._matches), tuple(self._ledger.values()), tuple(self._provider.values()))

    def _take(self, ledger: Iterable[Movement], provider: Iterable[Movement], rule: Rule) -> None:
        found = Match(tuple(ledger), tuple(provider), rule)
        for movement in found.ledger:
            del self._ledger[movement.id]
        for movement in found.provider:
            del self._provider[movement.id]
        self._matches.append(found)

    def _by_reference(self) -> None:
        known = _grouped(self._ledger.values(), lambda movement: (movement.reference, movement.amount))
        for provider in tuple(self._provider.values()):
            same = known.get((provider.reference, provider.amount))
            if provider.reference is not None and same:
                self._take((same.pop(0),), (provider,), "reference")

    def _by_amount(self) -> None:
        ledger = _grouped(self._ledger.values(), lambda movement: movement.amount)
        providers = _grouped(self._provider.values(), lambda movement: movement.amount)
        for provider in tuple(self._provider.values()):
            near = self._near(provider, ledger[provider.amount])
            if len(near) == 1 and len(self._near(near[0], providers[provider.amount])) == 1:
                ledger[provider.amount].remove(near[0])
                self._take(near, (provider,), "amount")

    def _by_sum(self) -> None:
        for provider in tuple(self._provider.values()):
            parts = self._parts(provider, self._ledger.values())
            if parts:
                self._take(parts, (provider,), "sum")
        # A provider may report each part of what the ledger has in one entry, such as the settlement of a day.
        for ledger in tuple(self._ledger.values()):
            parts = self._parts(ledger, self._provider.values())
            if parts:
                self._take((ledger,), parts, "sum")

    def _parts(self, whole: Movement, others: Iterable[Movement]) -> tuple[Movement, ...]:
        """Return the two or three movements near `whole` that add up to it, or nothing when they are not the only
        ones."""
        pool = [movement for movement in self._near(whole, others) if (movement.amount > 0) == (whole.amount > 0)]
        if len(pool) > _MAX_POOL:
            return ()
        sums = [
            parts
            for count in range(2, _MAX_PARTS + 1)
            for parts in combinations(pool, count)
            if sum(part.amount for part in parts) == whole.amount
        ]
        # Two sums with the amount are a guess, which is left to an operator.
        return sums[0] if len(sums) == 1 else ()

    def _near(self, movement: Movement, others: Iterable[Movement]) -> list[Movement]:
        near = (other for other in others if _apart(movement, other) <= self._window)
        return [other for other in near if not _contradict(movement, other)]


def _grouped(movements: Iterable[Movement], key: Callable[[Movement], object]) -> defaultdict[object, list[Movement]]:
    groups: defaultdict[object, list[Movement]] = defaultdict(list)
    for movement in movements:
        groups[key(movement)].append(movement)
    return groups


def _contradict(one: Movement, other: Movement) -> bool:
    """Whether both have a reference, and not the same: they are two payments, however equal their amounts are."""
    return one.reference is not None and other.reference is not None and one.reference != other.reference


def _apart(one: Movement, other: Movement) -> timedelta:
    return abs(_time(one) - _time(other))


@lru_cache(maxsize=8192)
def _parsed(text: str) -> datetime:
    return parse_time(text)


def _time(movement: Movement) -> datetime:
    return _parsed(movement.at)
