"""The page of operations and events, and what it proves about them."""

from __future__ import annotations

import pytest

from events.catalogue import CATALOGUE
from tests.operations_page import (
    PAGE,
    event_operations,
    event_row,
    http_operations,
    operation_row,
    page,
    reaction_row,
)


def test_the_page_is_current() -> None:
    """docs/operations.md lists what there is; `task docs:operations` makes it again."""
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("id", http_operations())
def test_every_operation_has_a_test(id: str) -> None:
    """An operation of the OpenAPI document is used by a test of its own, beside those that name all operations."""
    assert operation_row(http_operations()[id]).tests


@pytest.mark.parametrize("id", event_operations())
def test_every_function_is_started_and_tested(id: str) -> None:
    """A function that events or schedules start has a Trigger or a PingSource, and a test."""
    row = reaction_row(event_operations()[id])
    assert row.triggers
    assert row.tests


@pytest.mark.parametrize("type", sorted(CATALOGUE))
def test_every_event_is_made_and_used(type: str) -> None:
    """A published event is made by a function and named by a test, and a Trigger brings it to a function; only a fact
    about a webhook has no consumer, so that no webhook causes another."""
    row = event_row(CATALOGUE[type])
    assert row.emitters, "no function makes the event"
    assert row.tests, "no test names the event"
    assert row.consumers or type.startswith("lastro.webhook."), "no Trigger brings the event to a function"
