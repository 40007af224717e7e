"""The tables of the ledger as the append protocol uses them.

Each call reads or writes one partition. A conditional write is atomic in its partition and reports whether it was
applied. `cql.py` implements the tables on Cassandra; tests implement them in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from shared.ports.documents import Unavailable
from shared.ports.ledger import Direction, Refusal, Transfer


class OutcomeUnknown(Unavailable):
    """A conditional write may have been applied, or may still be applied later. Read again before the next decision."""


class Place(NamedTuple):
    """A ledger account of a tenant."""

    tenant_id: str
    account_id: str


class ClaimedTransfer(NamedTuple):
    """A transfer that owns its id permanently. Its lines may still be missing in the journals.

    `recorded_at` is the earliest time of its lines.
    """

    transfer: Transfer
    recorded_at: str


Claim = ClaimedTransfer | Refusal
"""The transfer or refusal for which an id was used."""


class Position(NamedTuple):
    """The position of a leg in the journal of its account."""

    transfer_id: str
    leg: int
    account_id: str
    sequence: int
    balance_after: int
    recorded_at: str


class Line(NamedTuple):
    """A line of a journal: one leg of a transfer. `amount` is in minor units and positive."""

    transfer_id: str
    leg: int
    direction: Direction
    amount: int
    currency: str
    sequence: int
    balance_after: int
    recorded_at: str


class Head(NamedTuple):
    """The state of a journal after its last line, and one of its buckets.

    `pending` are the lines of the last batch, whose positions may be missing. `debits` and `credits` are the sums of
    all lines so far, in minor units.
    """

    place: Place
    bucket: int
    currency: str
    sequence: int
    debits: int
    credits: int
    recorded_at: str
    pending: tuple[Position, ...]

    @property
    def balance(self) -> int:
        """Credits less debits, in minor units."""
        return self.credits - self.debits


class Tables(Protocol):
    """The tables. Every call raises Unavailable when the servers do not answer.

    Every read that begins after an unconditional write has returned sees that write.
    """

    async def claim(self, claim: Claim) -> Claim | None:
        """Claim an unused transfer id and return None. If the id is used, return the claim that has it.

        Raises OutcomeUnknown.
        """
        ...

    async def claimed(self, tenant_id: str, transfer_id: str, *, settled: bool) -> Claim | None:
        """Return the claim of an id. With `settled`, a claim in progress is decided first."""
        ...

    async def open_bucket(self, head: Head) -> Head | None:
        """Write the head of a new bucket and return None. If the bucket has a head, return that head.

        Raises OutcomeUnknown.
        """
        ...

    async def head(self, place: Place, bucket: int, *, settled: bool) -> Head | None:
        """Return the head of a bucket. With `settled`, a batch in progress is decided first."""
        ...

    async def append_lines(self, before: Head, after: Head, lines: Sequence[Line]) -> bool:
        """Write lines and the new head in one batch if the head is still `before`. Return whether it was written.

        Raises OutcomeUnknown.
        """
        ...

    async def lines(self, place: Place, bucket: int, after_sequence: int, limit: int) -> Sequence[Line]:
        """Return the lines of one bucket after a sequence number, oldest first."""
        ...

    async def put_position(self, tenant_id: str, position: Position) -> None:
        """Write a position. The same position may be written any number of times."""
        ...

    async def positions(self, tenant_id: str, transfer_id: str) -> Sequence[Position]:
        """Return the existing positions of a transfer's legs."""
        ...

    async def put_day(self, tenant_id: str, recorded_at: str, transfer_id: str) -> None:
        """List a transfer under the day of `recorded_at`, before it is claimed."""
        ...

    async def newest_of_day(
        self, tenant_id: str, day: str, before: tuple[str, str] | None, limit: int
    ) -> Sequence[tuple[str, str]]:
        """Return the times and ids of the transfers of a day (`YYYY-MM-DD`), newest first, before `before`."""
        ...

    async def put_account(self, place: Place) -> None:
        """Register a ledger account."""
        ...

    async def put_bucket(self, place: Place, bucket: int) -> None:
        """Store the newest bucket of an account, as a hint."""
        ...

    async def bucket(self, place: Place) -> int:
        """Return the hint: a bucket that the account has, or 0."""
        ...

    async def accounts(self, tenant_id: str) -> Sequence[tuple[Place, int]]:
        """Return all ledger accounts of a tenant, each with its hint, in any order."""
        ...
