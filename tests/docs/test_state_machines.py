"""The state machines: the page, every pair of statuses, and the check of every commit."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from shared.adapters.memory.stores import MemoryDocuments
from shared.ports.documents import Collection, Commit, Document, NoChanges
from tests.harness import Harness
from tests.state_machines import MACHINES, PAGE, CheckedDocuments, Machine, page

DESIGN: dict[str, dict[str, str]] = {
    "payments": {
        "created": "authorized declined canceled expired",
        "authorized": "capturing canceled expired",
        "capturing": "processing settled failed",
        "processing": "settled failed review",
        "review": "settled failed",
    },
    "refunds": {"created": "processing settled failed", "processing": "settled failed"},
    "deposits": {"created": "settled failed"},
    "pix_charges": {"active": "paid removed expired", "expired": "paid"},
    "accounts": {"active": "blocked closing", "blocked": "active closing", "closing": "active blocked closed"},
    "users": {"pending": "active closed", "active": "suspended closed", "suspended": "active closed"},
    "tenants": {"pending": "active", "active": "suspended", "suspended": "active"},
    "webhook_endpoints": {"active": "disabled", "disabled": "active"},
    "webhook_deliveries": {"pending": "delivered exhausted", "delivered": "pending", "exhausted": "pending"},
    "dead_letters": {"parked": "replayed discarded", "replayed": "parked"},
}
"""The changes of the design, by collection and status."""

PAIRS = [(machine, *pair) for machine in MACHINES for pair in product(machine.changes, repeat=2)]


class Stated(Document):
    """A document that has only a status."""

    status: str


def test_the_page_is_current() -> None:
    """docs/state-machines.md has the diagrams of the tables; `task docs:states` makes it again."""
    assert PAGE.read_text("utf-8") == page()


def test_every_document_with_a_status_has_a_machine() -> None:
    """Each machine of the design is in the code's tables, and each status of a table is in its type."""
    assert {machine.collection for machine in MACHINES} == set(DESIGN)
    for machine in MACHINES:
        following = set().union(*machine.changes.values())
        assert following | set(machine.first) <= set(machine.changes), machine.title


@pytest.mark.parametrize(
    ("machine", "before", "after"), PAIRS, ids=[f"{machine.collection}-{pair[0]}-{pair[1]}" for machine, *pair in PAIRS]
)
async def test_every_pair_of_statuses(machine: Machine, before: str, after: str) -> None:
    """A commit changes a status as the design says, for every pair; any other is refused and changes nothing."""
    collection: Collection[Any, ...] = Collection(machine.collection, owner="x", document=Stated, changes=NoChanges)
    documents = MemoryDocuments([collection])
    stored = {"id": "d", "tenant_id": "t", "version": 1, "status": before}
    await documents.commit(Commit("t", inserts=[(collection, stored)]))
    commit = Commit("t", replaces=[(collection, {**stored, "status": after})])
    together = (machine.collection, before, after) == ("payments", "created", "capturing")
    if before == after or together or after in DESIGN[machine.collection].get(before, "").split():
        await CheckedDocuments.over(documents).commit(commit)
    else:
        with pytest.raises(AssertionError, match=f"d changes from {before} to {after}"):
            await CheckedDocuments.over(documents).commit(commit)
        after = before
    found: Any = await documents.get(collection, "t", "d")
    assert found["status"] == after


async def test_a_new_document_has_a_first_status() -> None:
    """A commit that inserts a document in a later status is refused."""
    collection: Collection[Any, ...] = Collection("payments", owner="x", document=Stated, changes=NoChanges)
    documents = CheckedDocuments.over(MemoryDocuments([collection]))
    stored = {"id": "d", "tenant_id": "t", "version": 1, "status": "settled"}
    with pytest.raises(AssertionError, match="a new document of payments is settled"):
        await documents.commit(Commit("t", inserts=[(collection, stored)]))


async def test_the_functions_of_a_harness_are_checked(harness: Harness) -> None:
    """The commits of functions go through the check, so every test of a function also tests its machine."""
    assert isinstance(harness.runtime.documents, CheckedDocuments)
