"""POST /v1/settlement-files → bank.settlement_file_imported."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from pydantic import Field

from events.settlement_files import SettlementFileImported
from functions.providers._settlement_file_resource import SettlementFile, settlement_file_resource
from shared.context.context import Context
from shared.core.cnab240 import InvalidFile, Payment, masked_record, read_settlement_file
from shared.core.problems import FieldError, Problem
from shared.functions.decorators import http_function
from shared.http.models import Command
from shared.ports.documents import Query
from shared.records.settlement_files import SETTLEMENT_FILES, SettlementFileDocument, SettlementLineDocument
from shared.records.system_accounts import HOME_CURRENCY


class ImportSettlementFile(Command):
    """A settlement file of a bank."""

    content: str = Field(
        min_length=1, description="The whole file as text: a return file of payments, CNAB 240, one record a line."
    )


async def settlement_file_progress(ctx: Context, last: SettlementFile) -> tuple[SettlementFile, bool]:
    """Return the file as it is now, and whether it is applied."""
    file = await ctx.required(SETTLEMENT_FILES, last.id)
    return settlement_file_resource(file), file["status"] == "applied"


@http_function(
    "POST /v1/settlement-files",
    scope="operations:write",
    status=201,
    location="/v1/settlement-files/{result.id}",
    progress=settlement_file_progress,
    problems=("already_exists",),
)
async def import_settlement_file(command: ImportSettlementFile, ctx: Context) -> SettlementFile:
    """Import a settlement file of bank transfers.

    The whole file is checked first: counts, sums, numbers and dates. If anything is wrong nothing is imported, and the
    response has the line and column of each error (at most 100). A file is imported once: neither its content nor its
    number at the bank may come a second time (409). Its lines then settle, fail or return the payments with their
    references.
    """
    try:
        found = read_settlement_file(command.content)
    except InvalidFile as invalid:
        errors = [FieldError(str(error), pointer="/content") for error in invalid.errors]
        counted = "1 error" if len(errors) == 1 else f"{len(errors)} errors, the first"
        detail = f"The file is not imported; {counted} in {errors[0].detail}."
        raise Problem("validation_failed", detail, errors=errors) from None
    records = command.content.replace("\r\n", "\n").split("\n")
    number = f"{found.bank}/{found.agreement}/{found.sequence}"
    file: SettlementFileDocument = {
        "id": ctx.new_id("stf"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "status": "imported",
        "provider": "bank_transfer",
        "number": number,
        "digest": sha256("\n".join(records).encode()).hexdigest(),
        "bank": found.bank,
        "agreement": found.agreement,
        "sequence": found.sequence,
        "made_at": found.made_at,
        "currency": HOME_CURRENCY,
        "lines": [_line(payment, records) for payment in found.payments],
        "created_at": ctx.now_text,
        "applied_at": None,
    }
    await _refuse_known(ctx, "digest", file["digest"], "A file with the same content")
    await _refuse_known(ctx, "number", number, f"File {found.sequence} of this agreement")
    ctx.insert(SETTLEMENT_FILES, file)
    fact = SettlementFileImported(
        file_id=file["id"], bank=file["bank"], sequence=file["sequence"], lines=len(file["lines"])
    )
    ctx.emit(fact)
    return settlement_file_resource(file)


async def _refuse_known(ctx: Context, field: str, value: str, which: str) -> None:
    """Raise Problem `already_exists` with the id of a file that has this value. Concurrent imports are refused by the
    unique index."""
    known: Any = await ctx.find(SETTLEMENT_FILES, Query({field: value}, limit=1))
    if known:
        raise Problem("already_exists", f"{which} was imported before, as {known[0]['id']}. A file is imported once.")


def _line(payment: Payment, records: list[str]) -> SettlementLineDocument:
    return {
        "line": payment.line,
        "reference": payment.reference,
        "bank_reference": payment.bank_reference,
        "outcome": payment.outcome,
        "ordered": payment.ordered,
        "moved": payment.moved,
        "moved_on": None if payment.moved_on is None else payment.moved_on.isoformat(),
        "occurrences": list(payment.occurrences),
        "authentication": payment.authentication,
        "record": masked_record(records[payment.line - 1]),
        "result": "pending",
        "payment_id": None,
    }
