"""The behaviour of every adapter's opening and closing. Each adapter's tests inherit it.

A subclass has a fixture `make`, which returns a new adapter of the same file or server with each call, and a fixture
`uses`, which returns one call for each method of the adapter's ports.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from shared.ports.lifecycle import Adapter, Closed
from tests.waiting import PATIENCE_SECONDS

Make = Callable[[], Adapter]
Uses = Callable[[Any], Sequence[Callable[[], Any]]]

_DESCRIPTORS: Final = Path("/proc/self/fd")
_STEPS: Final = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987)


def left_open() -> tuple[set[threading.Thread], set[asyncio.Task[Any]], set[str]]:
    """Return the threads, other tasks and open files of this process."""
    descriptors = set(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else set()  # noqa: PTH208 - names, not paths
    return set(threading.enumerate()), asyncio.all_tasks() - {asyncio.current_task()}, descriptors


async def assert_nothing_is_left(before: tuple[set[Any], set[Any], set[str]]) -> None:
    """Wait until there is no thread, task or open file that was not there before."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            now = left_open()
            # A thread that has ended, or a socket that is being closed, may need one more turn of the event loop.
            if now[0] <= before[0] and now[1] <= before[1] and len(now[2]) <= len(before[2]):
                return
            await asyncio.sleep(0.001)


async def call(use: Callable[[], Any]) -> None:
    """Call a method of a port, and wait for it where it is asynchronous."""
    result = use()
    if isinstance(result, Awaitable):
        await result


class LifecycleSuite:
    """Behaviour of an adapter's opening and closing."""

    async def test_it_serves_between_its_opening_and_its_end(self, make: Make, uses: Uses) -> None:
        """Every method of its ports works inside `async with`, and raises Closed afterwards."""
        async with make() as adapter:
            for use in uses(adapter):
                await call(use)
            assert await adapter.trouble() is None
        for use in uses(adapter):
            with pytest.raises(Closed, match=r"the .+ is closed"):
                await call(use)
        assert await adapter.trouble() == f"the {adapter.adapter_name} is closed"

    async def test_it_is_closed_once(self, make: Make) -> None:
        """A second closing does nothing, before and after the end of `async with`."""
        async with make() as adapter:
            await adapter.aclose()
            await adapter.aclose()
        await adapter.aclose()

    async def test_it_is_opened_once(self, make: Make) -> None:
        """A second opening is an error in the program, while it is open and after it is closed."""
        async with make() as adapter:
            with pytest.raises(RuntimeError, match="was opened before"):
                await adapter.__aenter__()
            assert await adapter.trouble() is None
        with pytest.raises(RuntimeError, match="was opened before"):
            await adapter.__aenter__()

    async def test_what_it_opens_it_closes(self, make: Make, uses: Uses) -> None:
        """Making it opens nothing; after its end there is no thread, task or open file more than before."""
        before = left_open()
        adapter = make()
        assert left_open() == before
        async with adapter:
            for use in uses(adapter):
                await call(use)
        await assert_nothing_is_left(before)

    async def test_it_is_closed_when_what_it_is_used_for_fails(self, make: Make) -> None:
        """An error inside `async with` passes through, and the adapter is closed."""
        before = left_open()
        with pytest.raises(LookupError, match="of the user"):
            async with make() as adapter:
                raise LookupError("an error of the user")
        assert adapter.is_closed
        await assert_nothing_is_left(before)

    async def test_a_cancelled_opening_leaves_nothing(self, make: Make) -> None:
        """An opening that is cancelled at any point leaves no thread, task or open file, and another one succeeds."""
        before = left_open()
        for steps in _STEPS:
            adapter = make()
            opening = asyncio.create_task(adapter.__aenter__())
            for _ in range(steps):
                await asyncio.sleep(0)
            was_done = opening.done()
            opening.cancel()
            await asyncio.wait((opening,))
            if not opening.cancelled():
                await adapter.aclose()
            assert adapter.is_closed or steps == 0
            await assert_nothing_is_left(before)
            if was_done:
                break
        async with make():
            pass
        await assert_nothing_is_left(before)
