"""The protocol that records a transfer on tables whose only atomic write is conditional and in one partition.

A transfer is claimed once under its id. Each of its legs then gets one line in the journal of its account. A batch
writes the lines and the head of the journal together, on the condition that the head has not changed since it was read.
The head names the lines of the last batch (`pending`). These rules guarantee one line for each leg, also when processes
end at any point and outcomes are unknown:

1. The positions of the pending lines are written before the next head. A line is therefore found by its position or by
   `pending`.
2. The position of a leg is looked up after the head was read. If another process has written the line before the head
   was read, the line is pending or has a position; if it is written later, the head changes and the batch is refused.

When a process ends between two steps, the next append of the same transfer completes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from shared.adapters.cassandra.tables import (
    Claim,
    ClaimedTransfer,
    Head,
    Line,
    OutcomeUnknown,
    Place,
    Position,
    Tables,
)
from shared.core.crash_points import reach
from shared.core.money import MAX_MINOR_UNITS
from shared.ports.documents import Unavailable
from shared.ports.ledger import (
    Cause,
    Direction,
    Entry,
    LedgerDamaged,
    LedgerRefused,
    Leg,
    RecordedTransfer,
    Refusal,
    Transfer,
    TransferMismatch,
    check_balance,
    check_balanced,
    check_currency,
)

BUCKET_LINES: Final = 10_000
"""The number of lines of a bucket. A line is in the bucket with the number of its sequence number divided by this."""
BATCH_LINES: Final = 50
"""The greatest number of lines in one batch."""
ATTEMPTS: Final = 12
"""The number of attempts at a conditional write before the caller gets Unavailable."""
HINTS: Final = 10_000
"""The greatest number of accounts whose newest bucket is cached in a process."""

Pause = Callable[[int], Awaitable[None]]
"""Waits between two attempts; called with the number of failed attempts."""
T = TypeVar("T")
U = TypeVar("U")


class Wanted(NamedTuple):
    """A leg of a claimed transfer that needs a line. `recorded_at` is the earliest time of the line."""

    transfer_id: str
    leg: int
    direction: Direction
    amount: int
    currency: str
    recorded_at: str


class Round(NamedTuple):
    """The result of one attempt to write lines.

    `head` is the head afterwards, or None when it must be read again. `done` are the positions
    of the wanted legs that have a line. `unfit` are the legs whose amount is too large for the balance.
    """

    head: Head | None
    done: tuple[Position, ...]
    unfit: tuple[Wanted, ...] = ()


class LedgerProtocol:
    """Records transfers, one step after the other. A subclass may run independent steps at the same time."""

    def __init__(self, tables: Tables, pause: Pause, *, bucket_lines: int = BUCKET_LINES) -> None:
        """`bucket_lines` must be the same for all processes that use the tables, and must never change."""
        self._tables = tables
        self._pause = pause
        self._bucket_lines = bucket_lines
        self._hints: dict[Place, int] = {}

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        """Record a transfer as the port defines."""
        check_balanced(transfer.legs)
        places = [Place(transfer.tenant_id, id) for id in dict.fromkeys(leg.account_id for leg in transfer.legs)]
        reading = (self.current_head(place) for place in places)
        note = self._tables.put_day(transfer.tenant_id, recorded_at, transfer.id)
        *found, _ = await self._together(*reading, note)
        heads = dict(zip(places, found, strict=True))
        try:
            _check(transfer, heads)
            opened = await self._together(*(self._open(place, transfer) for place in places if heads[place] is None))
            heads.update((head.place, head) for head in opened)
            _check(transfer, heads)
        except LedgerRefused:
            # The transfer itself may have made the sums too large for another transfer of the same amount.
            known = await self._tables.claimed(transfer.tenant_id, transfer.id, settled=True)
            if known is None:
                raise
            return await self._finished(_same(known, transfer))
        moved_to = max([recorded_at, *(head.recorded_at for head in heads.values() if head is not None)])
        if moved_to != recorded_at:
            await self._tables.put_day(transfer.tenant_id, moved_to, transfer.id)
        claim, is_new = await self._claim(ClaimedTransfer(transfer, moved_to))
        reach("ledger.claimed")
        return await self._finished(_same(claim, transfer), heads, is_new=is_new)

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        """Refuse an id as the port defines."""
        claim, _ = await self._claim(Refusal(tenant_id, transfer_id, cause, reason, recorded_at))
        return await self._finished(claim)

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        """Return the recorded transfer. One whose recording was interrupted is completed first."""
        claim = await self._tables.claimed(tenant_id, transfer_id, settled=False)
        if not isinstance(claim, ClaimedTransfer):
            return None
        check_balanced(claim.transfer.legs)
        recorded = await self._finished(claim)
        assert isinstance(recorded, RecordedTransfer)
        return recorded

    async def current_head(self, place: Place, hint: int | None = None, *, settled: bool = False) -> Head | None:
        """Return the head of an account's newest bucket, or None for an account that was never used.

        `hint` is a bucket that the account has, where that is known.
        """
        hint = self._hints.get(place, hint)
        if hint is None:
            hint = await self._tables.bucket(place)
        head = await self._tables.head(place, hint, settled=settled)
        while head is not None and self._is_full(head):
            following = await self._tables.head(place, head.bucket + 1, settled=settled)
            if following is None:
                break
            head = following
        if head is not None:
            self._remember_bucket(place, head.bucket)
        return head

    # Claiming

    async def _claim(self, wanted: Claim) -> tuple[Claim, bool]:
        """Return the claim that has the id, and whether this call made it."""
        tenant_id, transfer_id = _id(wanted)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                existing = await self._tables.claim(wanted)
            except OutcomeUnknown:
                existing = await self._tables.claimed(tenant_id, transfer_id, settled=True)
                if existing is None:
                    await self._pause(attempt)
                    continue
                return existing, False
            return (wanted, True) if existing is None else (existing, False)
        raise Unavailable(f"whether {transfer_id} is claimed is still unknown after {ATTEMPTS} attempts; retry later")

    async def _finished(
        self, claim: Claim, heads: Mapping[Place, Head | None] | None = None, *, is_new: bool = False
    ) -> RecordedTransfer | Refusal:
        """Write the lines that a claimed transfer does not have yet."""
        if isinstance(claim, Refusal):
            return claim
        transfer = claim.transfer
        found: list[Position] = []
        if not is_new:
            found += await self._tables.positions(transfer.tenant_id, transfer.id)
        known = {position.leg for position in found}
        missing: dict[Place, list[Wanted]] = {}
        for number, leg in enumerate(transfer.legs):
            if number not in known:
                wanted = Wanted(transfer.id, number, leg.direction, leg.amount, leg.currency, claim.recorded_at)
                missing.setdefault(Place(transfer.tenant_id, leg.account_id), []).append(wanted)
        heads = heads or {}
        for positions in await self._together(*(self._post(*each, heads.get(each[0])) for each in missing.items())):
            found += positions
        return _recorded(claim, found)

    # Writing the lines of one account

    async def _post(self, place: Place, wanted: Sequence[Wanted], head: Head | None) -> Sequence[Position]:
        """Write a line for each wanted leg, and return the positions. `head` may be out of date."""
        done: list[Position] = []
        attempt = 0
        while wanted:
            if head is None:
                head = await self._settled_head(place)
            outcome = await self.round(head, wanted)
            if outcome.unfit:
                raise unfit(place, outcome.unfit[0])
            done += outcome.done
            wanted = _without(wanted, outcome.done)
            head = outcome.head
            if head is None:
                attempt += 1
                await self.again(place, attempt)
        return done

    async def again(self, place: Place, attempt: int) -> None:
        """Wait before the next attempt on a journal, or raise Unavailable after the last one."""
        if attempt >= ATTEMPTS:
            raise Unavailable(f"other writers were faster at {place.account_id} {attempt} times; retry later")
        await self._pause(attempt)

    async def round(self, head: Head, wanted: Sequence[Wanted]) -> Round:
        """Try once to write lines for the wanted legs, as many as the batch and the bucket have room for."""
        wanted = wanted[:BATCH_LINES]
        done = _found(head.pending, wanted)
        wanted = _without(wanted, done)
        # A line may have been written after the caller looked for its position and before the head was read.
        looking = self._second_look(head.place.tenant_id, wanted)
        head, found = await self._both(self._before_the_next_head(head), looking)
        done += found
        wanted = _without(wanted, found)
        if not wanted:
            return Round(head, done)
        if self._is_full(head):
            return Round(await self._next_bucket(head), done)
        after, lines, unfit = _extended(head, wanted, self._last_of(head.bucket))
        if not lines or not await self._is_appended(head, after, lines):
            return Round(None if lines else head, done, unfit)
        return Round(await self._after_the_batch(after), done + after.pending, unfit)

    async def _before_the_next_head(self, head: Head) -> Head:
        """Write the positions of the pending lines, and return the head without them."""
        return await self._completed(head)

    async def _after_the_batch(self, head: Head) -> Head:
        return await self._completed(head)

    async def _completed(self, head: Head) -> Head:
        tenant_id = head.place.tenant_id
        await self._together(*(self._tables.put_position(tenant_id, position) for position in head.pending))
        return head._replace(pending=())

    async def _second_look(self, tenant_id: str, wanted: Sequence[Wanted]) -> tuple[Position, ...]:
        transfer_ids = dict.fromkeys(leg.transfer_id for leg in wanted)
        found = await self._together(*(self._tables.positions(tenant_id, id) for id in transfer_ids))
        return _found([position for positions in found for position in positions], wanted)

    async def _is_appended(self, head: Head, after: Head, lines: Sequence[Line]) -> bool:
        assert not head.pending, "the positions of the last batch are written before the next head"
        try:
            is_appended = await self._tables.append_lines(head, after, lines)
        except OutcomeUnknown:
            return False
        reach("ledger.appended")
        return is_appended

    async def _settled_head(self, place: Place) -> Head:
        head = await self.current_head(place, settled=True)
        if head is None:
            raise LedgerDamaged(f"account {place.account_id} has a claimed transfer, and its journal is missing")
        return head

    # Buckets

    async def _open(self, place: Place, transfer: Transfer) -> Head:
        currency = next(leg.currency for leg in transfer.legs if leg.account_id == place.account_id)
        # The account is registered before it has a head, so that the trial balance includes every head.
        await self._tables.put_account(place)
        head = await self._opened(Head(place, 0, currency, 0, 0, 0, "", ()))
        self._remember_bucket(place, 0)
        return head

    async def _next_bucket(self, full: Head) -> Head:
        assert not full.pending, "the positions of the last batch are written before the next head"
        head = await self._opened(full._replace(bucket=full.bucket + 1))
        await self._tables.put_bucket(head.place, head.bucket)
        self._remember_bucket(head.place, head.bucket)
        return head

    async def _opened(self, wanted: Head) -> Head:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._tables.open_bucket(wanted) or wanted
            except OutcomeUnknown:
                existing = await self._tables.head(wanted.place, wanted.bucket, settled=True)
                if existing is not None:
                    return existing
                await self._pause(attempt)
        raise Unavailable(f"the journal of {wanted.place.account_id} was not opened in {ATTEMPTS} attempts")

    def _last_of(self, bucket: int) -> int:
        return (bucket + 1) * self._bucket_lines - 1

    def _is_full(self, head: Head) -> bool:
        return head.sequence == self._last_of(head.bucket)

    def _remember_bucket(self, place: Place, bucket: int) -> None:
        self._hints.pop(place, None)
        self._hints[place] = bucket
        if len(self._hints) > HINTS:
            del self._hints[next(iter(self._hints))]

    async def _both(self, first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
        """Run two independent steps. A subclass may run them concurrently."""
        try:
            return await first, await second
        finally:
            second.close()

    async def _together(self, *steps: Coroutine[Any, Any, T]) -> Sequence[T]:
        """Run independent steps. A subclass may run them concurrently."""
        try:
            return [await step for step in steps]
        finally:
            for step in steps:
                step.close()


def unfit(place: Place, wanted: Wanted) -> Unavailable:
    """Return the error for a claimed transfer whose amount no longer fits into the balance of an account.

    An append refuses such a transfer before the claim. This happens only when transfers that are recorded at the same
    time are too large together.
    """
    return Unavailable(
        f"leg {wanted.leg} of {wanted.transfer_id} is claimed, and its amount is too large for the ledger account "
        f"{place.account_id}; it is recorded when the balance of the account allows it"
    )


def _check(transfer: Transfer, heads: Mapping[Place, Head | None]) -> None:
    """Raise LedgerRefused for another currency than an account's, and for a balance that would be too large."""
    balances: dict[str, int] = {}
    currencies: dict[str, str] = {}
    for leg in transfer.legs:
        head = heads[Place(transfer.tenant_id, leg.account_id)]
        currency = currencies.setdefault(leg.account_id, leg.currency if head is None else head.currency)
        check_currency(leg.account_id, currency, leg.currency)
        before = balances.get(leg.account_id, 0 if head is None else head.balance)
        balances[leg.account_id] = before + (leg.amount if leg.direction == "credit" else -leg.amount)
        check_balance(leg.account_id, balances[leg.account_id])


def _same(claim: Claim, transfer: Transfer) -> Claim:
    """Return the claim, unless it belongs to another transfer. Raises TransferMismatch."""
    if isinstance(claim, ClaimedTransfer):
        claimed = claim.transfer
        if claimed.cause != transfer.cause or claimed.legs != transfer.legs:
            raise TransferMismatch(f"{transfer.id} is recorded with other legs or another cause")
    return claim


def _id(claim: Claim) -> tuple[str, str]:
    if isinstance(claim, Refusal):
        return claim.tenant_id, claim.id
    return claim.transfer.tenant_id, claim.transfer.id


def _found(positions: Iterable[Position], wanted: Iterable[Wanted]) -> tuple[Position, ...]:
    """Return the positions of the wanted legs."""
    keys = {(leg.transfer_id, leg.leg) for leg in wanted}
    return tuple(position for position in positions if (position.transfer_id, position.leg) in keys)


def _without(wanted: Sequence[Wanted], done: Iterable[Position]) -> Sequence[Wanted]:
    keys = {(position.transfer_id, position.leg) for position in done}
    return [leg for leg in wanted if (leg.transfer_id, leg.leg) not in keys]


def _extended(head: Head, wanted: Sequence[Wanted], last_sequence: int) -> tuple[Head, list[Line], tuple[Wanted, ...]]:
    """Return the head after the wanted legs, their lines, and the legs that do not fit into the balance."""
    lines: list[Line] = []
    pending: list[Position] = []
    unfit: list[Wanted] = []
    for leg in wanted:
        if head.sequence == last_sequence:
            break
        debits, credits = head.debits, head.credits
        if leg.direction == "debit":
            debits += leg.amount
        else:
            credits += leg.amount
        if abs(credits - debits) > MAX_MINOR_UNITS:
            unfit.append(leg)
            continue
        head = head._replace(
            sequence=head.sequence + 1,
            debits=debits,
            credits=credits,
            recorded_at=max(head.recorded_at, leg.recorded_at),
        )
        place = (head.sequence, head.balance, head.recorded_at)
        lines.append(Line(leg.transfer_id, leg.leg, leg.direction, leg.amount, leg.currency, *place))
        pending.append(Position(leg.transfer_id, leg.leg, head.place.account_id, *place))
    return head._replace(pending=tuple(pending)), lines, tuple(unfit)


def _recorded(claim: ClaimedTransfer, positions: Iterable[Position]) -> RecordedTransfer:
    """Return the recorded transfer. Its time is that of its newest entry."""
    transfer = claim.transfer
    by_leg = {position.leg: position for position in positions}
    entries = tuple(_entry(transfer.id, leg, by_leg[number]) for number, leg in enumerate(transfer.legs))
    return RecordedTransfer(
        transfer.tenant_id,
        transfer.id,
        transfer.cause,
        entries,
        max(entry.recorded_at for entry in entries),
        transfer.payment_id,
        transfer.description,
    )


def _entry(transfer_id: str, leg: Leg, position: Position) -> Entry:
    return Entry(
        transfer_id,
        position.leg,
        leg.account_id,
        leg.direction,
        leg.amount,
        leg.currency,
        position.sequence,
        position.balance_after,
        position.recorded_at,
    )
