"""A statement as CSV (RFC 4180): a header line, and one record for each line."""

from __future__ import annotations

import csv
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from io import StringIO
from typing import Final
from unicodedata import category, normalize

from functions.statements._period import Period, pages_of
from shared.context.context import Context
from shared.core.money import decimal_text
from shared.records.statement_lines import LineDocument

COLUMNS: Final = (
    "id",
    "account_id",
    "recorded_at",
    "direction",
    "amount",
    "balance_after",
    "currency",
    "transfer_id",
    "payment_id",
    "counterparty_account_id",
    "description",
)
_FORMULA: Final = frozenset("=+-@")
"""A spreadsheet runs a cell that begins with one of these as a formula."""


async def csv_of(ctx: Context, period: Period) -> AsyncGenerator[bytes, None]:
    """Yield the file in pieces. Amounts are decimal numbers with a point; a value that is null is empty."""
    yield _records([COLUMNS])
    async with aclosing(pages_of(ctx, period)) as pages:
        async for page in pages:
            yield _records([_cells(line) for line in page])


def _records(rows: Sequence[Sequence[str]]) -> bytes:
    text = StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cells(line: LineDocument) -> Sequence[str]:
    currency = line["currency"]
    return (
        line["line_id"],
        line["account_id"],
        line["recorded_at"],
        line["direction"],
        decimal_text(line["amount"], currency),
        decimal_text(line["balance_after"], currency),
        currency,
        line["transfer_id"],
        line["payment_id"] or "",
        line["counterparty_account_id"] or "",
        _text(line["description"] or ""),
    )


def _text(text: str) -> str:
    """Return a client's text as a cell that no spreadsheet runs: an apostrophe before it marks it as text (OWASP, CSV
    injection).

    Some programs ignore space and invisible characters before a formula, and some accept wide and small forms of its
    first character; NFKC maps these to the usual ones.
    """
    first = text[:1]
    if first.isalnum():
        return text
    if first in ("\t", "\r"):
        return f"'{text}"
    begins = next((character for character in text if category(character)[0] not in "CZ"), "")
    return f"'{text}" if normalize("NFKC", begins)[:1] in _FORMULA else text
