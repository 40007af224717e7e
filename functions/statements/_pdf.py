"""A statement as a PDF for people in Brazil: pages of A4 in Portuguese, with the totals of each page.

reportlab keeps the pages in memory until the document is complete, so its number of lines has a bound
(LASTRO_STATEMENT_PDF_LINES).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Final
from unicodedata import category, normalize
from zoneinfo import ZoneInfo

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from functions.statements._period import Period, Totals, pages_of
from shared.context.context import Context
from shared.core.clock import parse_time
from shared.core.money import decimal_text
from shared.core.problems import Problem
from shared.records.statement_lines import LineDocument

LINES_ON_A_PAGE: Final = 28
_ZONE: Final = ZoneInfo("America/Sao_Paulo")
_WIDTH, _HEIGHT = A4
_LEFT, _RIGHT = 18 * mm, _WIDTH - 18 * mm
_DEBIT_AT, _CREDIT_AT, _BALANCE_AT = _LEFT + 116 * mm, _LEFT + 145 * mm, _RIGHT
_TEXT_AT: Final = _LEFT + 27 * mm
_TEXT_WIDTH: Final = _DEBIT_AT - _TEXT_AT - 24 * mm
_TABLE_TOP: Final = _HEIGHT - 67 * mm
_LINE: Final = 7 * mm
_PLAIN, _BOLD = "Helvetica", "Helvetica-Bold"
_INK, _PALE, _RULE = HexColor(0x1A1A1A), HexColor(0x6B6B6B), HexColor(0xC9C9C9)


async def pdf_of(ctx: Context, period: Period) -> bytes:
    """Return the file. Pages are laid out in another thread, so that other requests are answered meanwhile.

    Raises Problem `malformed_request` when the period has more lines than a PDF may have, and as `pages_of` does.
    """
    limit = ctx.statement_pdf_lines
    if period.lines > limit:
        raise Problem.parameter(
            "malformed_request",
            "from",
            f"The period has {period.lines} lines and a PDF has at most {limit}. Choose a shorter period, or another "
            "format: text/csv and application/x-ofx have no limit.",
        )
    document = _Document(period)
    waiting: list[LineDocument] = []
    async for page in pages_of(ctx, period):
        waiting += page
        complete = len(waiting) - len(waiting) % LINES_ON_A_PAGE
        await asyncio.to_thread(document.add, waiting[:complete])
        waiting = waiting[complete:]
    await asyncio.to_thread(document.add, waiting)
    return await asyncio.to_thread(document.finish)


class _Document:
    """The pages of a statement. The same period makes the same bytes: a PDF's own times and ids are left out."""

    def __init__(self, period: Period) -> None:
        self._period = period
        self._currency = period.account["currency"]
        self._buffer = BytesIO()
        self._canvas = Canvas(self._buffer, pagesize=A4, invariant=1, pageCompression=1, lang="pt-BR")
        self._canvas.setTitle(f"Extrato da conta {period.account['id']}")
        self._canvas.setAuthor("Lastro")
        self._pages = max(1, -(-period.lines // LINES_ON_A_PAGE))
        self._page = 0
        self._balance = period.opening
        self._totals = Totals()

    def add(self, lines: Sequence[LineDocument]) -> None:
        """Add lines: whole pages, or the last one."""
        for start in range(0, len(lines), LINES_ON_A_PAGE):
            self._add_page(lines[start : start + LINES_ON_A_PAGE])

    def finish(self) -> bytes:
        """Return the document. Without lines it has one page."""
        if not self._page:
            self._add_page(())
        self._canvas.save()
        return self._buffer.getvalue()

    def _add_page(self, lines: Sequence[LineDocument]) -> None:
        self._page += 1
        self._head()
        y = _TABLE_TOP
        self._row(y, "", "Saldo inicial" if self._page == 1 else "Saldo transportado", balance=self._balance, bold=True)
        for line in lines:
            y -= _LINE
            self._line(y, line)
        if lines:
            self._balance = lines[-1]["balance_after"]
        on_page = Totals().plus(lines)
        self._totals = self._totals.plus(lines)
        y -= _LINE
        self._rule(y + 3.4 * mm)
        self._row(y, "", "Totais da página", on_page, self._balance, bold=True)
        if self._page == self._pages:
            y -= _LINE
            self._row(y, "", "Totais do período e saldo final", self._totals, self._period.closing, bold=True)
        self._foot()
        self._canvas.showPage()

    def _head(self) -> None:
        canvas, period = self._canvas, self._period
        canvas.setFillColor(_INK)
        canvas.setFont(_BOLD, 16)
        canvas.drawString(_LEFT, _HEIGHT - 24 * mm, "Extrato de conta")
        canvas.setFont(_PLAIN, 9)
        canvas.drawRightString(_RIGHT, _HEIGHT - 24 * mm, "Lastro")
        facts = (
            ("Conta", period.account["id"]),
            ("Moeda", self._currency),
            ("Período", f"{_moment(period.begins_at)} a {_moment(period.ends_at)} (horário de Brasília)"),
            ("Saldo inicial", _amount(period.opening, self._currency)),
            ("Saldo final", _amount(period.closing, self._currency)),
        )
        for number, (name, value) in enumerate(facts):
            y = _HEIGHT - 32 * mm - number * 4.6 * mm
            canvas.setFillColor(_PALE)
            canvas.drawString(_LEFT, y, name)
            canvas.setFillColor(_INK)
            canvas.drawString(_TEXT_AT, y, value)
        canvas.setFont(_BOLD, 8)
        y = _TABLE_TOP + _LINE
        canvas.drawString(_LEFT, y, "Data e hora")
        canvas.drawString(_TEXT_AT, y, "Lançamento")
        for x, title in ((_DEBIT_AT, "Débito"), (_CREDIT_AT, "Crédito"), (_BALANCE_AT, "Saldo")):
            canvas.drawRightString(x, y, title)
        self._rule(y - 1.6 * mm)

    def _line(self, y: float, line: LineDocument) -> None:
        amount = line["amount"]
        moved = Totals(amount, 0) if line["direction"] == "debit" else Totals(0, amount)
        default = "Pagamento" if line["payment_id"] else "Depósito"
        self._row(y, _moment(line["recorded_at"]), line["description"] or default, moved, line["balance_after"])
        canvas = self._canvas
        canvas.setFont(_PLAIN, 6)
        canvas.setFillColor(_PALE)
        canvas.drawString(_TEXT_AT, y - 2.6 * mm, line["payment_id"] or line["transfer_id"])

    def _row(
        self, y: float, when: str, text: str, moved: Totals | None = None, balance: int = 0, *, bold: bool = False
    ) -> None:
        canvas, currency = self._canvas, self._currency
        font = _BOLD if bold else _PLAIN
        canvas.setFont(font, 8)
        canvas.setFillColor(_INK)
        canvas.drawString(_LEFT, y, when)
        canvas.drawString(_TEXT_AT, y, _fitted(text, font))
        if moved is not None:
            for x, value in ((_DEBIT_AT, moved.debits), (_CREDIT_AT, moved.credits)):
                if value or bold:
                    canvas.drawRightString(x, y, _amount(value, currency))
        canvas.drawRightString(_BALANCE_AT, y, _amount(balance, currency))

    def _rule(self, y: float) -> None:
        self._canvas.setStrokeColor(_RULE)
        self._canvas.setLineWidth(0.5)
        self._canvas.line(_LEFT, y, _RIGHT, y)

    def _foot(self) -> None:
        self._canvas.setFont(_PLAIN, 7)
        self._canvas.setFillColor(_PALE)
        self._canvas.drawString(_LEFT, 12 * mm, f"Conta {self._period.account['id']}")
        self._canvas.drawRightString(_RIGHT, 12 * mm, f"Página {self._page} de {self._pages}")


def _moment(text: str) -> str:
    """Return a time as it is written in Brazil, by the clock of Brasília."""
    time: datetime = parse_time(text).astimezone(_ZONE)
    return f"{time:%d/%m/%Y %H:%M}"


def _amount(minor_units: int, currency: str) -> str:
    """Return an amount as it is written in Brazil: `-1.234,50`."""
    whole, _, fraction = decimal_text(minor_units, currency).partition(".")
    grouped = f"{int(whole):,}".replace(",", ".")
    if int(whole) == 0 and minor_units < 0:
        grouped = f"-{grouped}"
    return f"{grouped},{fraction}" if fraction else grouped


def _printable(character: str) -> str:
    """Return a character as the standard fonts of a PDF can show it: those of Windows-1252 as they are, and any other
    by its number in Unicode, such as `[U+1F600]`.

    Control characters are shown as a space. Characters that have no picture of their own, such as a variation selector,
    are left out.
    """
    kind = category(character)
    if kind == "Cc":
        return " "
    try:
        character.encode("cp1252")
    except UnicodeEncodeError:
        is_invisible = kind == "Cf" or "\ufe00" <= character <= "\ufe0f"
        return "" if is_invisible else f"[U+{ord(character):04X}]"
    return character


def _fitted(text: str, font: str) -> str:
    """Return a text that fits into its column, with an ellipsis where it is cut."""
    shown = "".join(map(_printable, normalize("NFC", text)))
    if stringWidth(shown, font, 8) <= _TEXT_WIDTH:
        return shown
    while shown and stringWidth(f"{shown}…", font, 8) > _TEXT_WIDTH:
        shown = shown[:-1]
    return f"{shown.rstrip()}…"
