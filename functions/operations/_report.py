"""The report of a day for operators: audit, seal, reconciliations and dead letters, as a resource of the HTTP API."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.models import Resource, Time
from shared.ports.documents import Query
from shared.records.audits import AUDITS
from shared.records.dead_letters import DEAD_LETTERS
from shared.records.ledger_seals import SEALS
from shared.records.reconciliations import RECONCILIATIONS, ReconciliationDocument
from shared.records.system_accounts import PROVIDERS, clearing_account

SHOWN_LETTERS: Final = 100
"""The report counts dead letters up to this number."""


class AuditReport(Resource):
    """The outcome of the audit of the day."""

    passed: bool = Field(description="Whether ledger, documents and statements agree.")
    transfers: int = Field(description="The number of transfers of the day.")
    entries: int = Field(description="The number of ledger entries of the day.")
    postings_digest: str = Field(description="The SHA-256 digest of the day's entries of payment accounts.")
    events_digest: str = Field(description="The digest of the day's statement lines; equal unless a fact is lost.")
    difference_count: int = Field(description="The number of differences.")
    differences: list[str] = Field(description="The first 20 differences, in words; ids only.")
    audited_at: Time = Field(description="When the day was audited last.")


class SealReport(Resource):
    """The seal of the day, which `lastro ledger verify` computes again."""

    digest: str = Field(description="The digest of the day, chained to the day before. Keep it outside the platform.")
    previous_digest: str = Field(description="The digest of the day before.")
    accounts: int = Field(description="The number of accounts with sealed entries.")
    entries: int = Field(description="The number of sealed entries.")
    transfers: int = Field(description="The number of sealed transfers.")
    sealed_at: Time = Field(description="When the day was sealed.")


class ReconciliationReport(Resource):
    """The newest reconciliation of a provider, and the balance of its clearing account."""

    provider: str = Field(description="The provider.")
    clearing_balance: Money = Field(description="The balance of the clearing account now; 0 when everything cleared.")
    reconciliation_id: str | None = Field(description="The newest reconciliation, or null when there is none.")
    since: Time | None = Field(description="The start of its period, inclusive.")
    to: Time | None = Field(description="The end of its period, exclusive.")
    matched: int = Field(description="The number of matched items.")
    unmatched: int = Field(description="The number of items that are not matched.")
    automatic_share: float | None = Field(description="The share of items that the rules have matched, from 0 to 1.")
    oldest_unmatched_at: Time | None = Field(description="The time of the oldest item that is not matched.")


class DeadLettersReport(Resource):
    """The dead letters that wait for a decision."""

    parked: int = Field(description="Their number; 100 stands for 100 or more.")
    oldest_parked_at: Time | None = Field(description="When the oldest one was parked, or null.")


class Report(Resource):
    """What an operator has to look at, of one day."""

    day: str = Field(description="The day (UTC), `YYYY-MM-DD`.")
    audit: AuditReport | None = Field(description="The audit of the day; null while it was not audited.")
    seal: SealReport | None = Field(description="The seal of the day; null while it is not sealed.")
    reconciliations: list[ReconciliationReport] = Field(description="One for each provider.")
    dead_letters: DeadLettersReport = Field(description="The dead letters of the tenant, now.")
    created_at: Time = Field(description="The time of the report.")


async def report_of(ctx: Context, day: str, currency: str) -> Report:
    """Read everything about a day. Raises Unavailable."""
    audit, seal = await ctx.get(AUDITS, day), await ctx.get(SEALS, day)
    letters = await ctx.find(DEAD_LETTERS, Query({"status": "parked"}, order_by="parked_at", limit=SHOWN_LETTERS))
    oldest = letters[0]["parked_at"] if letters else None
    return Report(
        day=day,
        audit=None if audit is None else AuditReport.model_validate(audit),
        seal=None if seal is None or seal["status"] != "sealed" else SealReport.model_validate(seal),
        reconciliations=[await _reconciliation(ctx, provider, currency) for provider in PROVIDERS],
        dead_letters=DeadLettersReport(parked=len(letters), oldest_parked_at=oldest),
        created_at=ctx.now_text,
    )


async def _reconciliation(ctx: Context, provider: str, currency: str) -> ReconciliationReport:
    balance = await ctx.ledger.balance(ctx.tenant_id, clearing_account(provider, currency))
    page = await ctx.find(RECONCILIATIONS, Query({"provider": provider}, newest_first=True, limit=1))
    found = page[0] if page else None
    return ReconciliationReport(
        provider=provider,
        clearing_balance=money(balance, currency),
        reconciliation_id=found["id"] if found else None,
        since=found["since"] if found else None,
        to=found["until"] if found else None,
        matched=found["matched"] if found else 0,
        unmatched=found["unmatched"] if found else 0,
        automatic_share=_automatic_share(found) if found else None,
        oldest_unmatched_at=found["oldest_unmatched_at"] if found else None,
    )


def _automatic_share(found: ReconciliationDocument) -> float | None:
    items = found["items"]
    by_rules = sum(item["status"] == "matched" and item["rule"] != "manual" for item in items)
    return by_rules / len(items) if items else None
