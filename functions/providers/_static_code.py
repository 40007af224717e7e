"""The ids of static PIX codes, and the deposits that their payments become."""

from __future__ import annotations

import string
from typing import Final

from shared.context.context import Context
from shared.core.problems import Problem
from shared.records.pix_static_codes import STATIC_CODES, StaticCodeDocument

PROVIDER: Final = "pix"
MAX_TXID: Final = 25
"""The length of the txid in a static code (Manual de Padrões para Iniciação do Pix)."""
_DIGITS: Final = string.digits + string.ascii_uppercase


def code_id(ctx: Context, txid: str) -> str:
    """Return the txid that the code has which the tenant knows by `txid`: 25 digits and capital letters.

    All tenants share the receiver's key, so the txid of a payment must name the tenant's code (docs/decisions/0032).
    """
    return _short(ctx.derived_id("chg", f"{txid}/", "static code"))


def new_txid(ctx: Context) -> str:
    """Return a txid for a code whose request has none."""
    return _short(ctx.new_id("chg"))


def is_code_id(reference: str) -> bool:
    """Return whether a charge's id at the provider is that of a static code: those of charges are longer."""
    return len(reference) == MAX_TXID


def received_deposit_id(ctx: Context, first_deposit_id: str, payment_id: str) -> str:
    """Return the id of the deposit of one payment of a code. Each payment has its own; `first_deposit_id` is the one
    that is stored with the code."""
    return ctx.derived_id("dep", first_deposit_id, f"received/{payment_id}")


async def find_static_code(ctx: Context, txid: str) -> StaticCodeDocument:
    """Return the tenant's static code of this txid. Raises Problem `not_found`."""
    code = await ctx.get(STATIC_CODES, code_id(ctx, txid))
    if code is None:
        raise Problem("not_found", "There is no such static PIX code.")
    return code


def _short(id: str) -> str:
    """Return the 128 bits of an id in base 36."""
    number, written = int(id.partition("_")[2], 16), ""
    for _ in range(MAX_TXID):
        number, digit = divmod(number, len(_DIGITS))
        written = _DIGITS[digit] + written
    return written
