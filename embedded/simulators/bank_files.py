"""The settlement file of a simulated partner bank: a return file in the format CNAB 240 (shared/core/cnab240.py)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Final

from embedded.simulators.bank_model import SimulatedTransfer
from shared.core.clock import parse_time
from shared.core.cnab240 import CREDIT, RETURN_FILE, REVERSAL, WIDTH

BANK: Final = "999"
AGREEMENT: Final = "LASTRO0001"
_BRASILIA: Final = timezone(timedelta(hours=-3))
_TED: Final = "41"
_SUPPLIERS: Final = "20"
_MADE: Final = "00"
_REFUSED: Final = "AG"
"""The occurrence of a refused transfer: the account is not valid (G059)."""


def settlement_file(transfers: Iterable[SimulatedTransfer], sequence: int, made_at: datetime) -> str:
    """Return a file with one batch: the outcome of each transfer, for a returned one first its settlement."""
    lines = [_header(sequence, made_at), _record("0001", "1", {9: CREDIT, 10: _SUPPLIERS, 12: _TED, 14: "045"})]
    total = 0
    for transfer in transfers:
        for movement, occurrence in _movements(transfer):
            number = len(lines) - 1
            total += transfer.order["amount"]["value"]
            lines.append(_segment_a(number, transfer, movement, occurrence))
    count = len(lines)
    lines.append(_record("0001", "5", {18: f"{count:06d}", 24: f"{total:018d}"}))
    lines.append(_record("9999", "9", {18: "000001", 24: f"{count + 2:06d}"}))
    return "".join(f"{line}\r\n" for line in lines)


def _movements(transfer: SimulatedTransfer) -> list[tuple[str, str]]:
    if transfer.status == "REJECTED":
        return [("0", _REFUSED)]
    settled = [("0", _MADE)] if transfer.status in ("SETTLED", "RETURNED") else [("0", "BD")]
    return [*settled, (REVERSAL, _MADE)] if transfer.status == "RETURNED" else settled


def _header(sequence: int, made_at: datetime) -> str:
    fields = {18: "2", 19: "0" * 14, 33: AGREEMENT.ljust(20), 103: "BANCO SIMULADO", 143: RETURN_FILE}
    return _record(
        "0000",
        "0",
        {**fields, 144: f"{made_at.astimezone(_BRASILIA):%d%m%Y%H%M%S}", 158: f"{sequence:06d}", 164: "103"},
    )


def _segment_a(number: int, transfer: SimulatedTransfer, movement: str, occurrence: str) -> str:
    moved = occurrence == _MADE
    day = f"{parse_time(transfer.updated_at):%d%m%Y}"
    fields = {
        9: f"{number:05d}",
        14: "A",
        15: movement,
        16: "00",
        18: "018",
        74: transfer.reference,
        94: day,
        102: "BRL",
        105: "0" * 15,
        120: f"{transfer.order['amount']['value']:015d}",
        135: transfer.id,
        155: day if moved else "0" * 8,
        163: f"{transfer.amount if moved else 0:015d}",
        231: occurrence,
    }
    return _record("0001", "3", fields)


def _record(batch: str, kind: str, fields: dict[int, str]) -> str:
    """Return a record with texts at their first columns, counted from 1."""
    record = list(f"{BANK}{batch}{kind}".ljust(WIDTH))
    for column, text in fields.items():
        record[column - 1 : column - 1 + len(text)] = text
    return "".join(record)
