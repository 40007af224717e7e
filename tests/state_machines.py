"""The state machines of the platform, from the tables that the functions use, and the page that shows them.

`task docs:states` writes `docs/state-machines.md`; a test compares it. `CheckedDocuments` refuses, in the tests of
functions, every commit that changes a status otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from functions.accounts._states import ACCOUNT_CHANGES
from functions.operations._dead_letter import DEAD_LETTER_CHANGES
from functions.payments._states import PAYMENT_CHANGES, REFUND_CHANGES
from functions.providers._pix_charge import PIX_CHARGE_CHANGES
from functions.providers._states import DEPOSIT_CHANGES
from functions.tenants._suspension import TENANT_STATUS_CHANGES
from functions.users._states import USER_STATUS_CHANGES
from functions.webhooks._states import DELIVERY_CHANGES, ENDPOINT_CHANGES
from shared.adapters.memory.stores import MemoryDocuments
from shared.ports.documents import Commit

PAGE: Final = Path(__file__).parents[1] / "docs" / "state-machines.md"


class Machine(NamedTuple):
    """The statuses of a collection's documents. `first` are those of a new document; `changes` are the legal ones."""

    title: str
    collection: str
    first: tuple[str, ...]
    changes: Mapping[Any, frozenset[Any]]
    at_once: frozenset[tuple[str, str]] = frozenset()
    """Two changes that one commit makes together."""

    def allows(self, before: str, after: str) -> bool:
        """Return whether a document may change from a status to another one. Every document may keep its own."""
        return before == after or after in self.changes[before] or (before, after) in self.at_once


MACHINES: Final = (
    # An automatic capture is asked for in the commit that authorizes.
    Machine("Payment", "payments", ("created",), PAYMENT_CHANGES, frozenset({("created", "capturing")})),
    # The refund of a payment that came back needs no hold: it begins with its transfer.
    Machine("Refund", "refunds", ("created", "processing"), REFUND_CHANGES),
    Machine("Deposit", "deposits", ("created",), DEPOSIT_CHANGES),
    Machine("PIX charge", "pix_charges", ("active",), PIX_CHARGE_CHANGES),
    Machine("Account", "accounts", ("active",), ACCOUNT_CHANGES),
    Machine("User", "users", ("active", "pending"), USER_STATUS_CHANGES),
    Machine("Tenant", "tenants", ("active", "pending"), {**TENANT_STATUS_CHANGES, "pending": frozenset({"active"})}),
    Machine("Webhook endpoint", "webhook_endpoints", ("active",), ENDPOINT_CHANGES),
    Machine("Webhook delivery", "webhook_deliveries", ("pending",), DELIVERY_CHANGES),
    Machine("Dead letter", "dead_letters", ("parked",), DEAD_LETTER_CHANGES),
)
_BY_COLLECTION: Final = {machine.collection: machine for machine in MACHINES}


def page() -> str:
    """Return the page with a Mermaid diagram for each machine."""
    parts = [
        "# State machines",
        "Made from the tables of the functions by `task docs:states`; do not edit.",
    ]
    for machine in MACHINES:
        lines = ["stateDiagram-v2", *(f"    [*] --> {status}" for status in machine.first)]
        for before, following in machine.changes.items():
            lines += [f"    {before} --> {after}" for after in sorted(following) if after != before]
            if not following - {before}:
                lines.append(f"    {before} --> [*]")
        diagram = "\n".join(lines)
        parts += [f"## {machine.title}", f"```mermaid\n{diagram}\n```"]
    return "\n\n".join(parts) + "\n"


class CheckedDocuments(MemoryDocuments):
    """Documents that refuse a change of status that is not in the tables, and a new document in a later status."""

    @classmethod
    def over(cls, documents: MemoryDocuments) -> Self:
        """Return a view of the same documents: what a test writes there itself is not checked."""
        view = cls.__new__(cls)
        view.__dict__ = documents.__dict__
        return view

    async def commit(self, commit: Commit) -> None:
        for collection, document in commit.inserts:
            machine = _BY_COLLECTION.get(collection.name)
            if machine is not None and document["status"] not in machine.first:
                raise AssertionError(f"a new document of {collection.name} is {document['status']}")
        for collection, document in commit.replaces:
            machine = _BY_COLLECTION.get(collection.name)
            if machine is None:
                continue
            stored = await self.get(collection, document["tenant_id"], document["id"])
            # Another version is a conflict, which the store reports.
            if stored is None or stored["version"] != document["version"]:
                continue
            if not machine.allows(stored["status"], document["status"]):
                raise AssertionError(f"{document['id']} changes from {stored['status']} to {document['status']}")
        await super().commit(commit)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
