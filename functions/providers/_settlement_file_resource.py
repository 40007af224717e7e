"""The settlement file resource of the HTTP API."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.core.money import Money, money
from shared.http.models import CreatedAt, Resource, Time
from shared.records.settlement_files import (
    SettlementFileDocument,
    SettlementFileStatus,
    SettlementLineDocument,
    SettlementOutcome,
    SettlementResult,
)


class SettlementLine(Resource):
    """One payment of a settlement file."""

    line: int = Field(description="The number of the line in the file, from 1.")
    reference: str = Field(description="Our reference of the payment (G064).")
    bank_reference: str = Field(description="The bank's reference of the payment (G043); it may be empty.")
    outcome: SettlementOutcome = Field(
        description="`accepted`: the bank has the payment. `settled`: it was made. `refused`: it will not be. "
        "`returned`: the receiving bank has sent the money back."
    )
    ordered: Money = Field(description="The ordered amount.")
    moved: Money = Field(description="The amount that was moved; 0 unless it was settled or returned.")
    moved_on: Annotated[str, Field(json_schema_extra={"format": "date"})] | None = Field(
        description="The day on which it was moved, or null."
    )
    occurrences: list[str] = Field(description="The bank's codes (G059).")
    authentication: str | None = Field(description="The bank's proof of the payment (segment Z), or null.")
    result: SettlementResult = Field(
        description="`pending`: the line is not applied yet. `matched`: a payment has this reference. `unmatched`: "
        "none has; a reconciliation lists the line."
    )
    payment_id: str | None = Field(description="The payment with this reference, or null.")


class SettlementFile(Resource):
    """A settlement file of a bank."""

    id: str = Field(description="The file's id, `stf_…`.")
    status: SettlementFileStatus = Field(
        description="`imported`: it is stored whole. `applied`: its payments have their outcomes."
    )
    bank: str = Field(description="The bank's code (COMPE).")
    agreement: str = Field(description="The agreement with the bank (G007).")
    sequence: int = Field(description="The number of the file at the bank (G018).")
    made_at: Time = Field(description="When the bank made the file.")
    digest: str = Field(description="The SHA-256 of the content in hexadecimal, with LF at the ends of lines.")
    lines: list[SettlementLine] = Field(description="The payments, in the order of the file.")
    created_at: CreatedAt
    applied_at: Time | None = Field(description="When the payments had their outcomes, or null.")


def settlement_file_resource(file: SettlementFileDocument) -> SettlementFile:
    """Return the resource of a settlement file."""
    return SettlementFile(
        id=file["id"],
        status=file["status"],
        bank=file["bank"],
        agreement=file["agreement"],
        sequence=file["sequence"],
        made_at=file["made_at"],
        digest=file["digest"],
        lines=[_line(line, file["currency"]) for line in file["lines"]],
        created_at=file["created_at"],
        applied_at=file["applied_at"],
    )


def _line(line: SettlementLineDocument, currency: str) -> SettlementLine:
    return SettlementLine(
        line=line["line"],
        reference=line["reference"],
        bank_reference=line["bank_reference"],
        outcome=line["outcome"],
        ordered=money(line["ordered"], currency),
        moved=money(line["moved"], currency),
        moved_on=line["moved_on"],
        occurrences=line["occurrences"],
        authentication=line["authentication"],
        result=line["result"],
        payment_id=line["payment_id"],
    )
