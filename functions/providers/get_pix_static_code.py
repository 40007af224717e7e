"""GET /v1/pix/static-codes/{code_txid}."""

from __future__ import annotations

from functions.providers._static_code import find_static_code
from functions.providers._static_code_resource import StaticCode, static_code_resource
from shared.context.context import Context
from shared.functions.decorators import http_function


@http_function("GET /v1/pix/static-codes/{code_txid}", scope="pix:read")
async def get_pix_static_code(code_txid: str, ctx: Context) -> StaticCode:
    """Retrieve a static PIX code."""
    return static_code_resource(await find_static_code(ctx, code_txid))
