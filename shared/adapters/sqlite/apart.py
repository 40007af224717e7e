"""The ports of the embedded store when the documents are in another store.

`Documents.durable` then waits only for the other store. A transfer is therefore on disk when its call returns:
otherwise a commit of documents that depends on the transfer could survive a crash that the transfer does not. Events
come from the outbox of the other store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.ports.documents import PLATFORM, Commit
from shared.ports.lifecycle import Adapter

if TYPE_CHECKING:
    from shared.adapters.sqlite.documents import SqliteDocuments
    from shared.adapters.sqlite.journal import Journal
    from shared.adapters.sqlite.ledger import SqliteLedger
    from shared.core.envelope import Envelope
    from shared.ports.ledger import AccountTurnover, Cause, Entry, RecordedTransfer, Refusal, Transfer


class DurableLedger:
    """The ledger port. The result of a call is on disk when the call returns."""

    def __init__(self, ledger: SqliteLedger, journal: Journal) -> None:
        self._ledger = ledger
        self._journal = journal

    async def append(self, transfer: Transfer, recorded_at: str) -> RecordedTransfer | Refusal:
        known = await self._ledger.append(transfer, recorded_at)
        await self._journal.durable()
        return known

    async def refuse(
        self, tenant_id: str, transfer_id: str, cause: Cause, reason: str, recorded_at: str
    ) -> RecordedTransfer | Refusal:
        known = await self._ledger.refuse(tenant_id, transfer_id, cause, reason, recorded_at)
        await self._journal.durable()
        return known

    async def transfer(self, tenant_id: str, transfer_id: str) -> RecordedTransfer | None:
        await self._journal.durable()
        return await self._ledger.transfer(tenant_id, transfer_id)

    async def entries(self, tenant_id: str, account_id: str, after_sequence: int, limit: int) -> Sequence[Entry]:
        return await self._ledger.entries(tenant_id, account_id, after_sequence, limit)

    async def balance(self, tenant_id: str, account_id: str) -> int:
        await self._journal.durable()
        return await self._ledger.balance(tenant_id, account_id)

    async def turnover(self, tenant_id: str) -> Sequence[AccountTurnover]:
        return await self._ledger.turnover(tenant_id)


class LogPublisher(Adapter):
    """The bus port: it publishes into the log from which the embedded broker delivers. A repeated event is stored
    twice."""

    adapter_name = "bus"
    reads_the_outbox = False

    def __init__(self, documents: SqliteDocuments) -> None:
        """`documents` are those of the embedded store, whose commits append to its log."""
        self._documents = documents

    async def publish(self, events: Sequence[Envelope]) -> None:
        self.require_open()
        await self._documents.commit(Commit(PLATFORM, events=list(events)))
        await self._documents.durable()
