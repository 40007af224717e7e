"""Fixtures and settings for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import ExitStack

import hypothesis
import pytest

from tests.harness import Harness
from tests.processes import clean_up_when_terminated, requested_slowness, slowed

pytest_plugins = ("tests.servers.fixtures",)

# An example has no deadline, because this machine may be slow or busy. All other settings are Hypothesis' own: in CI it
# uses the same examples each time.
_usual = hypothesis.settings.get_profile(hypothesis.settings.get_current_profile_name())
_patient = {*_usual.suppress_health_check, hypothesis.HealthCheck.too_slow}
hypothesis.settings.register_profile("patient", _usual, deadline=None, suppress_health_check=_patient)
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Make SIGTERM clean up as Ctrl-C does, and run the busy processes of LASTRO_TEST_SLOW."""
    clean_up_when_terminated()
    if hasattr(config, "workerinput"):  # a worker process; the main process has done this
        return
    try:
        count = requested_slowness(os.environ)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    stack = ExitStack()
    stack.enter_context(slowed(count))
    config.add_cleanup(stack.close)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without garbage collections, and leave them and all modules out of those of the tests.

    Nothing of it becomes garbage before the end, and each full collection would visit millions of objects.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a test without a docstring. The docstring is one sentence with the behaviour that is missing when the test
    fails."""
    if isinstance(item, pytest.Function) and not item.function.__doc__:
        raise pytest.UsageError(f"{item.nodeid} has no docstring: say in one sentence which behaviour it checks")


@pytest.fixture
async def harness() -> Harness:
    """Every function around the memory adapters, with one tenant, `acme`."""
    made = Harness.make()
    await made.tenant()
    return made


@pytest.fixture
async def crowded() -> Harness:
    """The same, with concurrent runs interleaved between the reads and the commit of each run."""
    made = Harness.make(interleaved=True)
    await made.tenant()
    return made
