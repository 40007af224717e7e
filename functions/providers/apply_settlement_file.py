"""bank.settlement_file_imported → bank.settlement_file_applied: its lines give payments their outcomes."""

from __future__ import annotations

from events.settlement_files import SettlementFileApplied, SettlementFileImported
from functions.providers._rail_payment import apply_report
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.ports.rail_payments import RailReport
from shared.records.rail_payments import RAIL_PAYMENTS
from shared.records.settlement_files import SETTLEMENT_FILES, SettlementFileDocument, SettlementLineDocument


@event_function(SettlementFileImported)
async def apply_settlement_file(event: SettlementFileImported, ctx: Context) -> None:
    """Apply each line of a settlement file to the tenant's payment with its reference, as a report of the bank.

    Each line is a unit of work of its own, which can be repeated. The file is `applied` after the last one.
    """
    file = await ctx.referenced(SETTLEMENT_FILES, event.file_id, "/file_id")
    if file["status"] == "applied":
        return
    lines = [await _apply(ctx, file, line) for line in file["lines"]]
    ctx.update(SETTLEMENT_FILES, file, status="applied", lines=lines, applied_at=ctx.now_text)
    matched = sum(line["result"] == "matched" for line in lines)
    fact = SettlementFileApplied(
        file_id=file["id"],
        bank=file["bank"],
        sequence=file["sequence"],
        matched=matched,
        unmatched=len(lines) - matched,
    )
    ctx.emit(fact)


async def _apply(ctx: Context, file: SettlementFileDocument, line: SettlementLineDocument) -> SettlementLineDocument:
    # Only this tenant's payments are searched: a file reaches no other tenant, whatever references it has.
    where = {"rail": file["provider"], "reference": line["reference"]}
    found = await ctx.find(RAIL_PAYMENTS, Query(where, limit=1))
    if not found:
        ctx.log.warning("line %d of %s is no payment here", line["line"], file["id"])
        return {**line, "result": "unmatched"}
    payment_id = found[0]["id"]
    if line["outcome"] != "accepted":
        report = _report(file, line)

        async def apply(scope: Context) -> None:
            known = await scope.required(RAIL_PAYMENTS, payment_id)
            await apply_report(scope, known, report)

        # Ids that derive from a cause carry the time of the id at its end.
        cause_id = f"{file['id']}/{line['line']}/{payment_id}"
        await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, cause_id, apply, correlation_id=found[0]["correlation_id"])
    return {**line, "result": "matched", "payment_id": payment_id}


def _report(file: SettlementFileDocument, line: SettlementLineDocument) -> RailReport:
    """Return the line as a report. Its time is that of the import: a file has days only."""
    outcome = line["outcome"]
    codes = " ".join(line["occurrences"])
    return RailReport(
        reference=line["reference"],
        status="processing" if outcome == "accepted" else outcome,
        amount=line["moved"],
        code=codes if outcome in ("refused", "returned") else "",
        detail="The bank refused the transfer." if outcome == "refused" else "",
        at=None,
        report={"settlement_file": file["id"], "line": line["line"], "record": line["record"]},
    )
