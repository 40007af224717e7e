"""The stage of the cases: it is kept from case to case while they need the same servers and nothing failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.faults.servers import Layout, Servers
from tests.faults.stage import Stage

Prepare = Callable[[Layout], Awaitable[Stage]]


class Kept:
    """The servers, and the stage on them."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._servers: Servers | None = None
        self._stage: Stage | None = None

    async def prepare(self, layout: Layout) -> Stage:
        """Return a stage of a layout, on which both platforms run."""
        stage = self._stage
        if stage is not None and (stage.layout != layout or not stage.is_sound):
            await stage.close()
            if not stage.is_sound:
                self._close_servers()
            stage = self._stage = None
        if stage is None:
            if self._servers is None:
                self._servers = Servers(self._factory.mktemp("servers"))
            stage = self._stage = Stage(self._servers, layout, self._factory.mktemp("platforms"))
        await stage.start_missing()
        return stage

    async def close(self) -> None:
        """Stop everything."""
        if self._stage is not None:
            await self._stage.close()
        self._close_servers()

    def _close_servers(self) -> None:
        if self._servers is not None:
            self._servers.close()
            self._servers = None


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Return what is kept from case to case."""
    kept = Kept(tmp_path_factory)
    yield kept
    asyncio.run(kept.close())


@pytest.fixture
def prepare(kept: Kept) -> Prepare:
    """Return the function that prepares a stage."""
    return kept.prepare
