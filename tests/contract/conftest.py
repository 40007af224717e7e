"""One platform for all tests of the contract; tests that move the clock or restart it start their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.calling import FAITHFUL, Client, Deployment, Pair, new_pair, running

_OWN_PLATFORM = frozenset({"start", "scene", "described"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With LASTRO_TEST_FAITHFUL, skip tests that start a second platform in the process: the targets of
    functions-framework find their runtime by the process."""
    if not FAITHFUL:
        return
    for item in items:
        if _OWN_PLATFORM & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.skip(reason="has its own platform"))


Start = Callable[..., AbstractAsyncContextManager[Deployment]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The platform of all tests that do not change its clock or stop it."""
    async with running(tmp_path_factory.mktemp("contract")) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo(deployment: Deployment) -> Client:
    """The demo tenant with every scope."""
    return await deployment.tenant()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operator(deployment: Deployment) -> Client:
    """The platform's operator."""
    return await deployment.operator()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pair(demo: Client) -> Pair:
    """Two accounts of the demo tenant."""
    return await new_pair(demo)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that starts a platform on this test's data directory. A second call starts another on the same
    directory."""
    starting: Callable[..., Any] = partial(running, tmp_path / "data")
    return starting
