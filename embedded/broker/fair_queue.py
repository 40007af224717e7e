"""A queue that serves tenants in turn, so that a burst of one tenant does not delay the others."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out within a tenant; round-robin over the tenants that have items in the queue."""

    __slots__ = ("_length", "_queues", "_turns")

    def __init__(self) -> None:
        self._queues: dict[str, deque[T]] = {}
        self._turns: deque[str] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, tenant: str, item: T) -> None:
        """Append an item to the tenant's queue."""
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            self._turns.append(tenant)
        queue.append(item)
        self._length += 1

    def take(self) -> T:
        """Remove and return the next item of the tenant whose turn it is. Raises IndexError when the queue is empty."""
        turns = self._turns
        tenant = turns[0]
        queue = self._queues[tenant]
        item = queue.popleft()
        self._length -= 1
        if not queue:
            del self._queues[tenant]
            turns.popleft()
        elif len(turns) > 1:
            turns.rotate(-1)
        return item

    def remove(self, tenant: str, item: T) -> bool:
        """Remove an item out of turn; return False when it is not in the queue."""
        queue = self._queues.get(tenant)
        if queue is None or item not in queue:
            return False
        queue.remove(item)
        self._length -= 1
        if not queue:
            del self._queues[tenant]
            self._turns.remove(tenant)
        return True

    def clear(self) -> None:
        """Remove all items."""
        self._queues.clear()
        self._turns.clear()
        self._length = 0
