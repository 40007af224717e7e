"""The page of operations and events, and what it proves about them."""

from __future__ import annotations

import pytest

from tests.operations_page import PAGE, EventRow, OperationRow, ReactionRow, event_rows, operation_rows, page
from tests.operations_page import reaction_rows as reactions

BY_EFFECT = {
    f"lastro.card.{fact}.v1"
    for fact in (
        "authorized",
        "declined",
        "payment_confirmed",
        "payment_refused",
        "payment_sent",
        "refund_paid",
        "refund_refused",
    )
} | {
    f"lastro.bank.{fact}.v1"
    for fact in (
        "settlement_file_applied",
        "transfer_confirmed",
        "transfer_refused",
        "transfer_returned",
        "transfer_sent",
    )
}
"""Facts that the tests of cards and bank transfers compare by their effects on payments, holds and the ledger only."""


def test_the_page_is_current() -> None:
    """docs/operations.md lists what there is; `task docs:operations` makes it again."""
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("row", operation_rows(), ids=lambda row: row.operation.id)
def test_every_operation_has_a_test(row: OperationRow) -> None:
    """An operation of the OpenAPI document is used by a test of its own, beside those that name all operations."""
    assert row.tests


@pytest.mark.parametrize("row", reactions(), ids=lambda row: row.operation.id)
def test_every_function_is_started_and_tested(row: ReactionRow) -> None:
    """A function that events or schedules start has a Trigger or a PingSource, and a test."""
    assert row.triggers
    assert row.tests


@pytest.mark.parametrize("row", event_rows(), ids=lambda row: row.model.type)
def test_every_event_is_made_and_used(row: EventRow) -> None:
    """A published event is made by a function and named by a test, and a Trigger brings it to a function; only a fact
    about a webhook has no consumer, so that no webhook causes another."""
    assert row.emitters, "no function makes the event"
    assert row.tests or row.model.type in BY_EFFECT, "no test names the event"
    assert row.consumers or row.model.type.startswith("lastro.webhook."), "no Trigger brings the event to a function"
