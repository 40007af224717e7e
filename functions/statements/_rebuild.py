"""Rebuilding statement lines from the ledger.

A line depends only on its ledger entry and its transfer, so the rebuilt lines are the same as those that the projection
of the ledger's facts has stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from functions.statements._lines import in_period, line_of
from shared.ports.documents import Commit, CommitRefused, Documents, Unavailable
from shared.ports.ledger import Entry, LedgerStore
from shared.records.statement_lines import LINES, LineDocument

_PAGE: Final = 100
_ATTEMPTS: Final = 8


class Rebuilt(NamedTuple):
    """The numbers of lines: all of them, and those that were missing, different, or not in the ledger."""

    lines: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0

    def plus(self, other: Rebuilt) -> Rebuilt:
        """Return the sums of both."""
        return Rebuilt(*(one + another for one, another in zip(self, other, strict=True)))


async def rebuild_statement(
    documents: Documents, ledger: LedgerStore, tenant_id: str, account_id: str, *, dry_run: bool = False
) -> Rebuilt:
    """Compare an account's statement lines with its ledger entries, and store what the ledger says.

    It works while transfers are recorded and can be repeated at any time. `dry_run` changes nothing. Raises
    Unavailable.
    """
    return await _Rebuild(documents, ledger, tenant_id, account_id, dry_run=dry_run).run()


class _Rebuild:
    def __init__(
        self, documents: Documents, ledger: LedgerStore, tenant_id: str, account_id: str, *, dry_run: bool
    ) -> None:
        self._documents = documents
        self._ledger = ledger
        self._tenant_id = tenant_id
        self._account_id = account_id
        self._dry_run = dry_run

    async def run(self) -> Rebuilt:
        total, sequence, after = Rebuilt(), 0, None
        while True:
            page, sequence, after, ended = await self._page(sequence, after)
            total = total.plus(page)
            if ended:
                return total

    async def _page(self, sequence: int, after: str | None) -> tuple[Rebuilt, int, str | None, bool]:
        """Rebuild the lines of the entries behind `sequence`, whose ids are greater than `after`.

        Returns what was done, where the next page begins, and whether this was the last.
        """
        for _ in range(_ATTEMPTS):
            # The lines are read before the entries: a line that is not in the ledger then has no entry.
            stored = await self._stored(after)
            entries = await self._ledger.entries(self._tenant_id, self._account_id, sequence, _PAGE)
            wanted = await asyncio.gather(*(self._line(entry) for entry in entries))
            if wanted:
                stored = [line for line in stored if line["id"] <= wanted[-1]["id"]]
                if len(stored) == _PAGE and stored[-1]["id"] < wanted[-1]["id"]:
                    # More lines than entries: those behind this page of lines are compared with the next one.
                    wanted = [line for line in wanted if line["id"] <= stored[-1]["id"]]
            try:
                done = await self._store(wanted, stored)
            except CommitRefused:
                continue  # the projection has stored one of the lines meanwhile
            seen = [line[-1]["id"] for line in (wanted, stored) if line]
            if not seen:
                return done, sequence, after, True
            return done, wanted[-1]["sequence"] if wanted else sequence, max(seen), False
        raise Unavailable(f"the statement of {self._account_id} changes all the time: repeat the command")

    async def _stored(self, after: str | None) -> Sequence[LineDocument]:
        query = in_period(self._account_id, None, None)._replace(after=after, limit=_PAGE)
        return await self._documents.find(LINES, self._tenant_id, query)

    async def _line(self, entry: Entry) -> LineDocument:
        transfer = await self._ledger.transfer(self._tenant_id, entry.transfer_id)
        if transfer is None:
            raise Unavailable(f"the ledger has an entry of the transfer {entry.transfer_id} and not the transfer")
        return line_of(transfer, entry)

    async def _store(self, wanted: Sequence[LineDocument], stored: Sequence[LineDocument]) -> Rebuilt:
        known = {line["id"]: line for line in stored}
        inserts: list[Any] = [(LINES, line) for line in wanted if line["id"] not in known]
        replaces: list[Any] = []
        for line in wanted:
            other = known.pop(line["id"], None)
            if other is not None and {**other, "version": 1} != line:
                replaces.append((LINES, {**line, "version": other["version"]}))
        deletes: list[Any] = [(LINES, id) for id in known]
        if not self._dry_run and (inserts or replaces or deletes):
            await self._documents.commit(Commit(self._tenant_id, inserts=inserts, replaces=replaces, deletes=deletes))
            await self._documents.durable()
        return Rebuilt(len(wanted), len(inserts), len(replaces), len(deletes))
