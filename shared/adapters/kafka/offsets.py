"""The progress of a partition: the offset that may be committed."""

from __future__ import annotations

from collections import deque


class PartitionProgress:
    """The records of one partition that were read since it was assigned, in order of offset.

    Records finish in any order. The offset to commit is that of the first unfinished record: after a crash, Kafka
    delivers from there.
    """

    __slots__ = ("_done", "_reading", "committed", "next")

    def __init__(self, first: int) -> None:
        """`first` is the offset of the first record that is read."""
        self.next = first
        """The least offset that the next record can have."""
        self.committed = first
        """What was committed last; before the first time, where reading began."""
        self._reading: deque[int] = deque()
        self._done: set[int] = set()

    @property
    def committable(self) -> int:
        """The offset of the first unfinished record; if there is none, the offset after the last record."""
        return self._reading[0] if self._reading else self.next

    @property
    def unfinished(self) -> int:
        """The number of unfinished records."""
        return len(self._reading) - len(self._done)

    @property
    def held(self) -> int:
        """The number of records that were read and may not be committed yet."""
        return len(self._reading)

    def began(self, offset: int) -> None:
        """Record that a record was read. Raises ValueError for an offset that is not greater than all before."""
        if offset < self.next:
            raise ValueError(f"offset {offset} was read after {self.next - 1}")
        self._reading.append(offset)
        self.next = offset + 1

    def finished(self, offset: int) -> None:
        """Mark a record as finished. A second call has no effect."""
        if not self._reading or offset < self._reading[0]:
            return
        self._done.add(offset)
        while self._reading and self._reading[0] in self._done:
            self._done.remove(self._reading.popleft())
