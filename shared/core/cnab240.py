"""Settlement files: a subset of the return file of payments in the format CNAB 240 of FEBRABAN.

| record | type (column 8) | read from it |
|---|---|---|
| file header | 0 | bank, agreement, date and time, sequence number of the file |
| batch header | 1 | operation, form of payment |
| segment A | 3 | one payment: our reference, amounts, dates, occurrences |
| segment B | 3 | nothing: it has data of the receiver |
| segment Z | 3 | the bank's authentication of the payment |
| batch trailer | 5 | number of records, sum of the amounts |
| file trailer | 9 | number of batches, number of records |

A record is a line of 240 characters. Columns count from 1, as in FEBRABAN's layout ("Layout Padrão FEBRABAN 240
posições", part "Pagamento através de crédito em conta, cheque, OP, DOC, TED"); the codes such as G059 are its names of
fields. docs/bank-transfer.md lists the columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Final, Literal, NamedTuple

from shared.core.clock import format_time

WIDTH: Final = 240
_BRASILIA: Final = timezone(timedelta(hours=-3), "America/Sao_Paulo")
MAX_ERRORS: Final = 100
"""Beyond this number of errors, reading ends."""
Outcome = Literal["accepted", "settled", "refused", "returned"]
"""`accepted`: the bank has the payment. `settled`: it was made. `refused`: it was not, and will not be. `returned`: it
was made, and the money came back."""

RETURN_FILE: Final = "2"
CREDIT: Final = "C"
TRANSFER_FORMS: Final[Mapping[str, str]] = {
    "01": "credit to an account at the same bank",
    "03": "DOC or TED",
    "41": "TED to another holder",
    "43": "TED to the same holder",
}
"""The forms of payment (G029) that are transfers to accounts."""
MADE: Final = frozenset({"00", "03"})
"""The occurrences (G059) of a payment that was made."""
IN_PROGRESS: Final = frozenset({"BD", "BE", "ZA"})
"""The occurrences of a payment that the bank has: it was included or changed, or its account was replaced."""
REVERSAL: Final = "3"
"""The type of movement (G060) of a payment whose money came back."""


class LineError(NamedTuple):
    """One error of a file. `line` and `column` count from 1."""

    line: int
    column: int
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.detail}"


class InvalidFile(ValueError):
    """A file is not a settlement file. `errors` has one to MAX_ERRORS errors, in the order of the lines."""

    def __init__(self, errors: list[LineError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


class Payment(NamedTuple):
    """One payment of a settlement file: a segment A, with the authentication of its segment Z."""

    line: int
    reference: str
    """The number that the company gave to the payment (G064), without spaces."""
    bank_reference: str
    """The number that the bank gave to it (G043), without spaces; it may be empty."""
    outcome: Outcome
    ordered: int
    """The ordered amount, in centavos."""
    moved: int
    """The amount that was moved, in centavos; 0 unless it was settled or returned."""
    moved_on: date | None
    """The day on which it was moved; None unless it was settled or returned."""
    occurrences: tuple[str, ...]
    """The bank's codes (G059), of two characters each."""
    authentication: str | None
    """The bank's proof of the payment, from the segment Z."""


class SettlementFile(NamedTuple):
    """A settlement file. `sequence` is its number (G018), which the bank raises by one with each file of an
    agreement."""

    bank: str
    agreement: str
    sequence: int
    made_at: str
    """When the bank made the file (RFC 3339 in UTC, microseconds). A file has the time of Brasília."""
    payments: tuple[Payment, ...]


class _Columns(NamedTuple):
    first: int
    last: int


_BANK: Final = _Columns(1, 3)
_BATCH: Final = _Columns(4, 7)
_TYPE: Final = _Columns(8, 8)
_NUMBER: Final = _Columns(9, 13)
_SEGMENT: Final = _Columns(14, 14)
_OCCURRENCES: Final = _Columns(231, 240)
_PERSONAL: Final = (_Columns(24, 73), _Columns(178, 217))
"""The columns of a segment A that describe the receiver: branch, account, name, and free text."""


def read_settlement_file(text: str) -> SettlementFile:
    """Return the payments of a settlement file. Lines end with LF or CR LF.

    Raises InvalidFile, with the line and the column of each error.
    """
    return _Reader(text).read()


def masked_record(record: str) -> str:
    """Return a segment A with `*` for what describes the receiver: the account, the name and the free text."""
    for columns in _PERSONAL:
        record = record[: columns.first - 1] + "*" * (columns.last - columns.first + 1) + record[columns.last :]
    return record


class _Reader:
    """Reads a file, line by line. An error does not end the reading unless the structure is lost."""

    def __init__(self, text: str) -> None:
        self._lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        self._place = 0
        self._errors: list[LineError] = []
        self._payments: list[Payment] = []

    def read(self) -> SettlementFile:
        try:
            header = self._file_header()
            batches = 0
            while self._type() == "1":
                batches += 1
                self._batch(batches)
            self._file_trailer(batches)
        except _LostStructure:
            raise InvalidFile(self._errors) from None
        if self._errors:
            raise InvalidFile(self._errors)
        return header._replace(payments=tuple(self._payments))

    # Records

    def _file_header(self) -> SettlementFile:
        self._expect("0", "the file header")
        self._constant(_BATCH, "0000", "the file header has the batch 0000")
        kind = self._text(_Columns(143, 143))
        if kind != RETURN_FILE:
            self._fail(143, f"a settlement file is a return, 2, and not {kind!r}")
        made_at = self._moment(_Columns(144, 157))
        header = SettlementFile(
            bank=self._digits(_BANK),
            agreement=self._filled(_Columns(33, 52), "the agreement"),
            sequence=self._positive(_Columns(158, 163), "the sequence number of the file"),
            made_at="" if made_at is None else format_time(made_at.replace(tzinfo=_BRASILIA)),
            payments=(),
        )
        self._bank = header.bank
        self._place += 1
        return header

    def _batch(self, number: int) -> None:
        first = self._place
        self._begin_record(number)
        self._constant(_Columns(9, 9), CREDIT, "the operation of a batch of payments is C")
        form = self._text(_Columns(12, 13))
        if form not in TRANSFER_FORMS:
            known = ", ".join(TRANSFER_FORMS)
            self._fail(12, f"the form of payment {form!r} is not a transfer to an account ({known})")
        self._place += 1
        total, details = 0, 0
        before = ""
        while self._type() == "3":
            details += 1
            self._begin_record(number)
            self._constant(_NUMBER, f"{details:05d}", f"the record has the number {details:05d} in its batch")
            segment = self._text(_SEGMENT)
            if segment == "A":
                total += self._segment_a()
            elif segment not in ("B", "Z"):
                self._fail(_SEGMENT.first, f"the segment {segment!r} is not of a transfer (A, B, Z)")
            elif before not in (("A",) if segment == "B" else ("A", "B")):
                self._fail(_SEGMENT.first, f"a segment {segment} follows its segment A")
            elif segment == "Z":
                self._segment_z()
            before = segment
            self._place += 1
        self._batch_trailer(number, self._place - first + 1, total)

    def _segment_a(self) -> int:
        """Read a payment, and return its ordered amount."""
        reference = self._filled(_Columns(74, 93), "the reference of the payment")
        self._day(_Columns(94, 101), "the day of the payment")
        currency = self._text(_Columns(102, 104))
        if currency not in ("BRL", "REA"):
            self._fail(102, f"the currency is BRL, and not {currency!r}")
        ordered = self._positive(_Columns(120, 134), "the amount")
        occurrences = self._occurrences()
        outcome = _outcome(self._text(_Columns(15, 15)), occurrences)
        moved, moved_on = 0, None
        if outcome in ("settled", "returned"):
            moved_on = self._day(_Columns(155, 162), "the day on which the amount was moved")
            moved = self._positive(_Columns(163, 177), "the amount that was moved")
        self._payments.append(
            Payment(
                line=self._place + 1,
                reference=reference,
                bank_reference=self._text(_Columns(135, 154)).strip(),
                outcome=outcome,
                ordered=ordered,
                moved=moved,
                moved_on=moved_on,
                occurrences=occurrences,
                authentication=None,
            )
        )
        return ordered

    def _segment_z(self) -> None:
        authentication = self._text(_Columns(15, 78)).strip()
        self._payments[-1] = self._payments[-1]._replace(authentication=authentication or None)

    def _batch_trailer(self, number: int, records: int, total: int) -> None:
        self._expect("5", f"a detail or the trailer of the batch {number:04d}")
        self._begin_record(number)
        self._count(_Columns(18, 23), records, "records of the batch")
        stated = self._number(_Columns(24, 41))
        if stated != total:
            self._fail(24, f"the sum of the amounts is {total}, and the trailer says {stated}")
        self._place += 1

    def _file_trailer(self, batches: int) -> None:
        self._expect("9", "a batch header or the file trailer")
        self._constant(_BANK, self._bank, f"all records have the bank {self._bank}")
        self._constant(_BATCH, "9999", "the file trailer has the batch 9999")
        self._count(_Columns(18, 23), batches, "batches")
        self._count(_Columns(24, 29), self._place + 1, "records of the file")
        if batches == 0:
            self._fail(_TYPE.first, "the file has no batch")
        self._place += 1
        if self._place < len(self._lines):
            self._fail(1, "the file trailer is the last record")

    # Fields

    def _type(self) -> str:
        """Return the type of the record at the present place, or nothing after the last one."""
        return self._text(_TYPE) if self._place < len(self._lines) else ""

    def _expect(self, kind: str, name: str) -> None:
        """Check that there is a record of a type. Without it, the rest of the file cannot be read."""
        if self._place >= len(self._lines):
            self._fail(1, f"the file ends, and {name} is missing")
            raise _LostStructure
        self._check_width()
        if self._text(_TYPE) != kind:
            self._fail(_TYPE.first, f"this is not {name}: the type of the record is {self._text(_TYPE)!r}")
            raise _LostStructure

    def _begin_record(self, batch: int) -> None:
        self._check_width()
        self._constant(_BANK, self._bank, f"all records have the bank {self._bank}")
        self._constant(_BATCH, f"{batch:04d}", f"the record belongs to the batch {batch:04d}")

    def _check_width(self) -> None:
        line = self._lines[self._place]
        if len(line) != WIDTH:
            self._fail(min(len(line), WIDTH) + 1, f"a record has {WIDTH} characters, and this one has {len(line)}")
            raise _LostStructure

    def _text(self, columns: _Columns) -> str:
        return self._lines[self._place][columns.first - 1 : columns.last]

    def _filled(self, columns: _Columns, name: str) -> str:
        text = self._text(columns).strip()
        if not text or not text.isascii() or not text.isprintable():
            self._fail(columns.first, f"{name} is missing or has characters that are not ASCII")
        return text

    def _constant(self, columns: _Columns, value: str, rule: str) -> None:
        found = self._text(columns)
        if found != value:
            self._fail(columns.first, f"{rule}, and here is {found!r}")

    def _digits(self, columns: _Columns) -> str:
        text = self._text(columns)
        if not re.fullmatch(r"[0-9]+", text):
            self._fail(columns.first, f"here are {columns.last - columns.first + 1} digits, and not {text!r}")
        return text

    def _number(self, columns: _Columns) -> int:
        text = self._digits(columns)
        return int(text) if re.fullmatch(r"[0-9]+", text) else 0

    def _positive(self, columns: _Columns, name: str) -> int:
        errors = len(self._errors)
        number = self._number(columns)
        if number == 0 and len(self._errors) == errors:
            self._fail(columns.first, f"{name} is zero")
        return number

    def _count(self, columns: _Columns, count: int, what: str) -> None:
        errors = len(self._errors)
        stated = self._number(columns)
        if stated != count and len(self._errors) == errors:
            self._fail(columns.first, f"the number of {what} is {count}, and the trailer says {stated}")

    def _day(self, columns: _Columns, name: str) -> date | None:
        found = self._parsed(columns, "%d%m%Y", f"{name} is a date, DDMMYYYY")
        return None if found is None else found.date()

    def _moment(self, columns: _Columns) -> datetime | None:
        return self._parsed(columns, "%d%m%Y%H%M%S", "the file was made at a date and a time, DDMMYYYYHHMMSS")

    def _parsed(self, columns: _Columns, form: str, rule: str) -> datetime | None:
        text = self._text(columns)
        try:
            # strptime accepts spaces in place of digits.
            return datetime.strptime(text.replace(" ", "x"), form)  # noqa: DTZ007 - a day, or a time of Brasília
        except ValueError:
            self._fail(columns.first, f"{rule}, and not {text!r}")
            return None

    def _occurrences(self) -> tuple[str, ...]:
        text = self._text(_OCCURRENCES).rstrip()
        codes = tuple(text[place : place + 2] for place in range(0, len(text), 2))
        if not codes or any(re.fullmatch(r"[0-9A-Z]{2}", code) is None for code in codes):
            self._fail(_OCCURRENCES.first, f"one to five occurrences of two characters are here, and not {text!r}")
            return ()
        return codes

    def _fail(self, column: int, detail: str) -> None:
        self._errors.append(LineError(self._place + 1, column, detail))
        if len(self._errors) >= MAX_ERRORS:
            raise _LostStructure


class _LostStructure(Exception):
    """The rest of the file cannot be read, or has too many errors."""


def _outcome(movement: str, occurrences: tuple[str, ...]) -> Outcome:
    if movement == REVERSAL:
        return "returned"
    if MADE & set(occurrences):
        return "settled"
    return "accepted" if set(occurrences) <= IN_PROGRESS else "refused"
