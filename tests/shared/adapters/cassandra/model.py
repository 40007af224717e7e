"""Every interleaving of a few appenders on the ledger's tables, with ends of processes and unknown outcomes.

The appenders run the product's own coroutines. A coroutine is deterministic, so its state is what the tables have
answered so far; two histories that lead to the same answers and the same tables are explored once. A step is one call
of the tables. Between any two steps a process may end, and its transfer is requested again from the start. A
conditional write may have an unknown outcome: applied, never applied, or applied at any later time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Generic, NamedTuple, TypeVar

from shared.adapters.cassandra.protocol import LedgerProtocol
from shared.adapters.cassandra.tables import Claim, ClaimedTransfer, Head, Line, OutcomeUnknown, Place, Position
from shared.ports.ledger import RecordedTransfer, Refusal, Transfer

TENANT: Final = "ten_1"
AT: Final = "2026-01-01"
UNKNOWN: Final = "the outcome is unknown"
CONDITIONAL: Final = frozenset({"claim", "open_bucket", "append_lines"})
T = TypeVar("T")


class Call:
    """A call of the tables, which a coroutine waits for. Equal calls are one object (`call`)."""

    __slots__ = ("arguments", "name")

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name = name
        self.arguments = arguments

    def __await__(self) -> Generator[Call, Any, Any]:
        answer = yield self
        if answer == UNKNOWN:
            raise OutcomeUnknown(UNKNOWN)
        return answer


@cache
def call(name: str, *arguments: Any) -> Call:
    """Return the call with these arguments."""
    return Call(name, arguments)


class Rows(NamedTuple):
    """The contents of the tables."""

    claims: frozenset[Claim] = frozenset()
    heads: frozenset[Head] = frozenset()
    lines: frozenset[tuple[Place, Line]] = frozenset()
    positions: frozenset[Position] = frozenset()
    late: frozenset[tuple[int, Call]] = frozenset()


class State(NamedTuple):
    """One moment: the number of the tables' contents, the state of each appender, and how much may still go wrong."""

    rows: int
    appenders: tuple[int, ...]
    ends: int
    unknown: int


class Violation(AssertionError):
    """The protocol allows something that must not happen."""


class CallingTables:
    """The tables of one appender: each call suspends it. Tables that no append reads are left out."""

    async def claim(self, claim: Claim) -> Claim | None:
        answer: Claim | None = await call("claim", claim)
        return answer

    async def claimed(self, tenant_id: str, transfer_id: str, *, settled: bool) -> Claim | None:
        answer: Claim | None = await call("claimed", transfer_id)
        return answer

    async def open_bucket(self, head: Head) -> Head | None:
        answer: Head | None = await call("open_bucket", head)
        return answer

    async def head(self, place: Place, bucket: int, *, settled: bool) -> Head | None:
        answer: Head | None = await call("head", place, bucket)
        return answer

    async def append_lines(self, before: Head, after: Head, lines: Sequence[Line]) -> bool:
        answer: bool = await call("append_lines", before, after, tuple(lines))
        return answer

    async def put_position(self, tenant_id: str, position: Position) -> None:
        await call("put_position", position)

    async def positions(self, tenant_id: str, transfer_id: str) -> Sequence[Position]:
        answer: Sequence[Position] = await call("positions", transfer_id)
        return answer

    async def lines(self, place: Place, bucket: int, after_sequence: int, limit: int) -> Sequence[Line]:
        raise NotImplementedError

    async def put_day(self, tenant_id: str, recorded_at: str, transfer_id: str) -> None:
        return

    async def newest_of_day(
        self, tenant_id: str, day: str, before: tuple[str, str] | None, limit: int
    ) -> Sequence[tuple[str, str]]:
        raise NotImplementedError

    async def put_account(self, place: Place) -> None:
        return

    async def put_bucket(self, place: Place, bucket: int) -> None:
        return

    async def bucket(self, place: Place) -> int:
        return 0

    async def accounts(self, tenant_id: str) -> Sequence[tuple[Place, int]]:
        raise NotImplementedError


async def no_pause(attempt: int) -> None:
    """Go on at once: the order of steps is the search's choice."""


class Appender:
    """All states of one transfer's append. A state is a number; 0 is the start."""

    def __init__(self, transfer: Transfer, protocol: Callable[[], LedgerProtocol]) -> None:
        self.transfer = transfer
        self._protocol = protocol
        self._parents: list[tuple[int, Any]] = [(0, None)]
        self._children: dict[tuple[int, Any], int] = {}
        self.next: list[Call | RecordedTransfer | Refusal] = [self._run(0)]
        """What the append does in each state: call the tables, or return."""

    def answered(self, state: int, answer: Any) -> int:
        """Return the state after an answer."""
        key = (state, answer)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = len(self._parents)
            self._parents.append(key)
            self.next.append(self._run(child))
        return child

    def _run(self, state: int) -> Call | RecordedTransfer | Refusal:
        answers: list[Any] = []
        while state:
            state, answer = self._parents[state]
            answers.append(answer)
        append: Coroutine[Call, Any, RecordedTransfer | Refusal]
        append = self._protocol().append(self.transfer, AT)
        try:
            waits_for = append.send(None)
            for answer in reversed(answers):
                waits_for = append.send(answer)
        except StopIteration as end:
            outcome: RecordedTransfer | Refusal = end.value
            return outcome
        finally:
            append.close()
        return waits_for


class Numbers(Generic[T]):
    """Numbers for values, so that a large value is compared and hashed once."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self.values: list[T] = []

    def of(self, value: T) -> int:
        """Return the number of a value."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class Search:
    """Visits every state that the appenders of these transfers can reach."""

    def __init__(
        self, transfers: Sequence[Transfer], protocol: Callable[[], LedgerProtocol], opened: Sequence[str]
    ) -> None:
        kinds: dict[str, Appender] = {}
        for transfer in transfers:
            kinds.setdefault(transfer.id, Appender(transfer, protocol))
        self._appenders = [kinds[transfer.id] for transfer in transfers]
        self._groups = [[n for n, each in enumerate(transfers) if each.id == id] for id in kinds]
        self._rows: Numbers[Rows] = Numbers()
        self._outcomes: dict[tuple[int, Call], tuple[int, Any]] = {}
        heads = (Head(Place(TENANT, account), 0, "BRL", 0, 0, 0, "", ()) for account in opened)
        self._start = self._rows.of(Rows(heads=frozenset(heads)))

    def run(self, ends: int, unknown: int) -> tuple[int, int]:
        """Return the numbers of states and of final states. Raises Violation."""
        start = State(self._start, (0,) * len(self._appenders), ends, unknown)
        seen, stack, finals = {start}, [start], 0
        while stack:
            state = stack.pop()
            following = self._following(state)
            if not following:
                finals += 1
                _check_end(self._rows.values[state.rows], state.appenders, self._appenders)
            for each in following:
                if each not in seen:
                    seen.add(each)
                    stack.append(each)
        return len(seen), finals

    def _following(self, state: State) -> list[State]:
        rows, _, ends, unknown = state
        found: list[State] = []
        for number, appender in enumerate(self._appenders):
            place = state.appenders[number]
            step = appender.next[place]
            if not isinstance(step, Call):
                continue
            after, answer = self._applied(rows, step)
            found.append(State(after, self._moved(state, number, appender.answered(place, answer)), ends, unknown))
            if unknown and step.name in CONDITIONAL:
                left = self._moved(state, number, appender.answered(place, UNKNOWN))
                found += (State(each, left, ends, unknown - 1) for each in (after, rows, self._later(rows, step)))
            if ends and place:
                found.append(State(rows, self._moved(state, number, 0), ends - 1, unknown))
        contents = self._rows.values[rows]
        for late in contents.late:
            arrived, _ = apply(contents._replace(late=contents.late - {late}), late[1])
            found.append(state._replace(rows=self._rows.of(arrived)))
        return found

    def _moved(self, state: State, number: int, to: int) -> tuple[int, ...]:
        """Return the appenders' states, those of one transfer in a fixed order: which is which makes no difference."""
        places = list(state.appenders)
        places[number] = to
        for group in self._groups:
            if len(group) > 1:
                for each, place in zip(group, sorted(places[other] for other in group), strict=True):
                    places[each] = place
        return tuple(places)

    def _applied(self, rows: int, step: Call) -> tuple[int, Any]:
        outcome = self._outcomes.get((rows, step))
        if outcome is None:
            after, answer = apply(self._rows.values[rows], step)
            outcome = self._outcomes[rows, step] = self._rows.of(after), answer
        return outcome

    def _later(self, rows: int, step: Call) -> int:
        contents = self._rows.values[rows]
        return self._rows.of(contents._replace(late=contents.late | {(len(contents.late), step)}))


def explore(
    transfers: Sequence[Transfer],
    protocol: Callable[[], LedgerProtocol],
    *,
    ends: int,
    unknown: int,
    opened: Sequence[str] = ("a", "b"),
) -> tuple[int, int]:
    """Visit every state that the appenders of these transfers can reach, in the accounts that are `opened` or new.

    Up to so many times a process `ends`, and a conditional write has an `unknown` outcome. Return the numbers of states
    and of final states. Raises Violation.
    """
    return Search(transfers, protocol, opened).run(ends, unknown)


def apply(rows: Rows, step: Call) -> tuple[Rows, Any]:
    """Make a call: return the rows afterwards and the answer. Raises Violation."""
    return _CALLS[step.name](rows, *step.arguments)


def _claim(rows: Rows, claim: Claim) -> tuple[Rows, Any]:
    existing = _claimed(rows, _id_of(claim))[1]
    return (rows, existing) if existing is not None else (rows._replace(claims=rows.claims | {claim}), None)


def _claimed(rows: Rows, transfer_id: str) -> tuple[Rows, Any]:
    return rows, next((claim for claim in rows.claims if _id_of(claim) == transfer_id), None)


def _id_of(claim: Claim) -> str:
    return claim.transfer.id if isinstance(claim, ClaimedTransfer) else claim.id


def _head(rows: Rows, place: Place, bucket: int) -> tuple[Rows, Any]:
    return rows, next((head for head in rows.heads if (head.place, head.bucket) == (place, bucket)), None)


def _open_bucket(rows: Rows, head: Head) -> tuple[Rows, Any]:
    existing = _head(rows, head.place, head.bucket)[1]
    return (rows, existing) if existing is not None else (rows._replace(heads=rows.heads | {head}), None)


def _append_lines(rows: Rows, before: Head, after: Head, lines: tuple[Line, ...]) -> tuple[Rows, Any]:
    head = _head(rows, before.place, before.bucket)[1]
    if head is None or (head.sequence, head.balance) != (before.sequence, before.balance):
        return rows, False
    known = {(line.transfer_id, line.leg) for _, line in rows.lines}
    for line in lines:
        if (line.transfer_id, line.leg) in known:
            raise Violation(f"leg {line.leg} of {line.transfer_id} has two lines")
    added = rows.lines | {(before.place, line) for line in lines}
    return rows._replace(heads=rows.heads - {head} | {after}, lines=added), True


def _put_position(rows: Rows, position: Position) -> tuple[Rows, Any]:
    for known in rows.positions:
        if (known.transfer_id, known.leg) == (position.transfer_id, position.leg) and known != position:
            raise Violation(f"leg {position.leg} of {position.transfer_id} has two positions")
    return rows._replace(positions=rows.positions | {position}), None


def _positions(rows: Rows, transfer_id: str) -> tuple[Rows, Any]:
    found = (position for position in rows.positions if position.transfer_id == transfer_id)
    return rows, tuple(sorted(found))


_CALLS: Final[Mapping[str, Callable[..., tuple[Rows, Any]]]] = {
    "claim": _claim,
    "claimed": _claimed,
    "open_bucket": _open_bucket,
    "head": _head,
    "append_lines": _append_lines,
    "put_position": _put_position,
    "positions": _positions,
}


def _check_end(rows: Rows, places: Iterable[int], appenders: Sequence[Appender]) -> None:
    transfers = {appender.transfer.id: appender.transfer for appender in appenders}
    wanted = {(transfer.id, number) for transfer in transfers.values() for number in range(len(transfer.legs))}
    if {(line.transfer_id, line.leg) for _, line in rows.lines} != wanted:
        raise Violation(f"a leg has no line: {rows.lines}")
    for account in {place for place, _ in rows.lines}:
        balance = 0
        lines = sorted((line for owner, line in rows.lines if owner == account), key=lambda line: line.sequence)
        for sequence, line in enumerate(lines, start=1):
            balance += line.amount if line.direction == "credit" else -line.amount
            if (line.sequence, line.balance_after) != (sequence, balance):
                raise Violation(f"{account} has a wrong line: {line}")
    positions = {(position.transfer_id, position.leg): position.sequence for position in rows.positions}
    if positions != {(line.transfer_id, line.leg): line.sequence for _, line in rows.lines}:
        raise Violation(f"positions and lines differ: {rows}")
    for appender, place in zip(appenders, places, strict=True):
        outcome = appender.next[place]
        assert isinstance(outcome, RecordedTransfer)
        told = {(entry.transfer_id, entry.leg): entry.sequence for entry in outcome.entries}
        if not told.items() <= positions.items():
            raise Violation(f"an append returned other entries: {outcome}")
