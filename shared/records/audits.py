"""The audits of tenants' ledgers (owner: the operations domain)."""

from __future__ import annotations

from typing import Final

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document


class AuditDocument(Document):
    """The outcome of the last audit of a day (UTC); its id is the day, `YYYY-MM-DD`.

    `differences` has the first of `difference_count` differences.
    """

    passed: bool
    transfers: int
    entries: int
    postings_digest: str
    events_digest: str
    difference_count: int
    differences: list[str]
    audited_at: str


class AuditChanges(TypedDict, total=False):
    """The fields that a repeated audit replaces."""

    passed: bool
    transfers: int
    entries: int
    postings_digest: str
    events_digest: str
    difference_count: int
    differences: list[str]
    audited_at: str


AUDITS: Final = Collection("ledger_audits", owner="operations", document=AuditDocument, changes=AuditChanges)
