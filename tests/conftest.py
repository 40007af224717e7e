"""Fixtures and settings for all tests."""

from __future__ import annotations

import os
from contextlib import ExitStack

import hypothesis
import pytest

from tests.harness import Harness
from tests.processes import clean_up_when_terminated, slowed, wanted_slowness

pytest_plugins = ("tests.servers.fixtures",)

# An example may take as long as it takes: this machine may be slow, or do other things meanwhile.
# What else holds is Hypothesis' own choice: in CI the same examples each time.
_usual = hypothesis.settings.get_profile(hypothesis.settings.get_current_profile_name())
_patient = {*_usual.suppress_health_check, hypothesis.HealthCheck.too_slow}
hypothesis.settings.register_profile("patient", _usual, deadline=None, suppress_health_check=_patient)
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """SIGTERM cleans up as Ctrl-C does; LASTRO_TEST_SLOW=8 runs eight busy processes beside the tests."""
    clean_up_when_terminated()
    if hasattr(config, "workerinput"):  # this process is one of several, and the first one has seen to it
        return
    try:
        count = wanted_slowness(os.environ)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    stack = ExitStack()
    stack.enter_context(slowed(count))
    config.add_cleanup(stack.close)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a test without a docstring: the one sentence that says which behaviour is missing when it fails."""
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
    """The same, with concurrent runs interleaved between the reads and the commit of a run."""
    made = Harness.make(interleaved=True)
    await made.tenant()
    return made
