"""GET /v1/settlement-files/{file_id}."""

from __future__ import annotations

from functions.providers._settlement_file_resource import SettlementFile, settlement_file_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.settlement_files import SETTLEMENT_FILES


@http_function("GET /v1/settlement-files/{file_id}", scope="operations:read")
async def get_settlement_file(file_id: str, ctx: Context) -> SettlementFile:
    """Retrieve a settlement file with its payments and what became of each."""
    return settlement_file_resource(await ctx.required(SETTLEMENT_FILES, file_id))
