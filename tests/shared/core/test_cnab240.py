"""Reading settlement files (CNAB 240): what is read, and the line and column of each error."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.cnab240 import MAX_ERRORS, InvalidFile, Payment, read_settlement_file
from tests.cnab import REFERENCE, file_header, payment, record, settlement, text_of


def errors(lines: list[str]) -> list[tuple[int, int]]:
    """Return the line and column of each error of a file."""
    with pytest.raises(InvalidFile) as refused:
        read_settlement_file(text_of(lines))
    assert str(refused.value).splitlines() == [str(error) for error in refused.value.errors]
    return [(error.line, error.column) for error in refused.value.errors]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_is_read(end: str) -> None:
    """The header, and of each payment the reference, amounts, day, occurrences and authentication are read; the segment
    B is not."""
    b = record("0001", "3", c9="00002", c14="B", c18="1", c19="00052998224725")
    z = record("0001", "3", c9="00003", c14="Z", c15="A1B2C3")
    found = read_settlement_file(text_of(settlement(payment(1), b, z), end))
    assert (found.bank, found.agreement, found.sequence) == ("341", "AGREEMENT 1", 7)
    assert found.made_at == "2026-11-26T23:15:00.000000Z"
    day = date(2026, 11, 26)
    assert found.payments == (Payment(3, REFERENCE, "BANK 1", "settled", 1050, 1050, day, ("00",), "A1B2C3"),)


@pytest.mark.parametrize(
    ("column", "text", "outcome"),
    [
        ("c231", "00", "settled"),
        ("c231", "03", "settled"),
        ("c231", "00ZA", "settled"),
        ("c231", "BD", "accepted"),
        ("c231", "AG", "refused"),
        ("c231", "BDAG", "refused"),
        ("c231", "01", "refused"),
        ("c15", "3", "returned"),
    ],
)
def test_the_occurrences_decide_the_outcome(column: str, text: str, outcome: str) -> None:
    """A payment was made with 00 or 03, is in progress with BD, came back by a reversal, and is refused otherwise; only
    what was moved has an amount and a day."""
    line = payment(1, REFERENCE, 1050, **{column: text})
    (found,) = read_settlement_file(text_of(settlement(line))).payments
    assert found.outcome == outcome
    assert (found.moved, found.moved_on is not None) == (
        (1050, True) if outcome in ("settled", "returned") else (0, False)
    )


def test_a_refused_payment_needs_no_day_of_payment() -> None:
    """The day and the amount that were moved are zero in a refused payment."""
    (found,) = read_settlement_file(text_of(settlement(payment(1, c155="0" * 8, c163="0" * 15, c231="AGAL")))).payments
    assert (found.occurrences, found.moved, found.moved_on) == (("AG", "AL"), 0, None)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], [(1, 1)]),
        ([""], [(1, 1)]),
        (["x" * 239], [(1, 240)]),
        (["x" * 241], [(1, 241)]),
        ([record("0001", "1")], [(1, 8)]),
        (settlement(payment(1), c143="1"), [(1, 143)]),
        (settlement(payment(1), c144="31022026"), [(1, 144)]),
        (settlement(payment(1), c152="256000"), [(1, 144)]),
        (settlement(payment(1), c158="000000"), [(1, 158)]),
        (settlement(payment(1), c158="00000x"), [(1, 158)]),
        (settlement(payment(1), c33=" " * 20), [(1, 33)]),
        (settlement(payment(1), c4="0001"), [(1, 4)]),
        (settlement(payment(2)), [(3, 9)]),
        (settlement(payment(1, c1="001")), [(3, 1)]),
        (settlement(payment(1, c4="0002")), [(3, 4)]),
        (settlement(payment(1, c14="J")), [(3, 14)]),
        (settlement(record("0001", "3", c9="00001", c14="B")), [(3, 14)]),
        (settlement(payment(1), *[record("0001", "3", c9=f"0000{n}", c14="Z") for n in (2, 3)]), [(5, 14)]),
        (settlement(payment(1, reference=" " * 20)), [(3, 74)]),
        (settlement(payment(1, reference="ÁBC")), [(3, 74)]),
        (settlement(payment(1, c94="00000000")), [(3, 94)]),
        (settlement(payment(1, c102="USD")), [(3, 102)]),
        (settlement(payment(1, centavos=0, c163=f"{1:015d}")), [(3, 120)]),
        (settlement(payment(1, c155="00000000")), [(3, 155)]),
        (settlement(payment(1, c163="0" * 15)), [(3, 163)]),
        (settlement(payment(1, c163=" " * 15)), [(3, 163)]),
        (settlement(payment(1, c231="  ")), [(3, 231)]),
        (settlement(payment(1, c231="0a")), [(3, 231)]),
        (settlement(payment(1), total=1051), [(4, 24)]),
        ([*settlement(payment(1)), file_header()], [(6, 1)]),
        (settlement(payment(1))[:-1], [(5, 1)]),
        (settlement(payment(1))[:-2], [(4, 1)]),
        ([file_header(), record("9999", "9", c18="000000", c24="000002")], [(2, 8)]),
    ],
)
def test_an_error_has_its_line_and_column(lines: list[str], found: list[tuple[int, int]]) -> None:
    """Each rule that a file breaks is reported with the line and the column of the field."""
    assert errors(lines) == found


@pytest.mark.parametrize(
    ("line", "column", "value"),
    [(3, 18, "000004"), (3, 24, "x" * 18), (4, 18, "000002"), (4, 24, "000004"), (4, 1, "001"), (4, 4, "9998")],
)
def test_the_trailers_are_checked(line: int, column: int, value: str) -> None:
    """The counts and sums of both trailers must be those of the file."""
    lines = settlement(payment(1))
    columns = list(lines[line])
    columns[column - 1 : column - 1 + len(value)] = value
    lines[line] = "".join(columns)
    assert errors(lines)[0] == (line + 1, column)


def test_the_form_and_the_operation_of_a_batch_are_those_of_transfers() -> None:
    """A batch of boletos (form 30) or of debits is not a batch of transfers."""
    lines = settlement(payment(1))
    lines[1] = record("0001", "1", c9="D", c10="20", c12="30")
    assert errors(lines) == [(2, 9), (2, 12)]


def test_all_errors_are_reported_up_to_a_bound() -> None:
    """The errors of all lines are reported together, in the order of the lines, and at most a hundred."""
    many = [payment(number, c94="00000000") for number in range(1, 3)]
    assert errors(settlement(*many)) == [(3, 94), (4, 94)]
    assert len(errors(settlement(*[payment(number, c94="x") for number in range(1, 300)]))) == MAX_ERRORS


def test_several_batches_are_read() -> None:
    """Payments of several batches are read in the order of the file."""
    first = settlement(payment(1))
    second = [line.replace("3410001", "3410002", 1) for line in settlement(payment(1, "OTHER", 7))[1:4]]
    trailer = record("9999", "9", c18="000002", c24="000008")
    found = read_settlement_file(text_of([*first[:4], *second, trailer]))
    assert [(one.reference, one.ordered, one.line) for one in found.payments] == [(REFERENCE, 1050, 3), ("OTHER", 7, 6)]


@given(st.lists(st.tuples(st.from_regex(r"[A-Z0-9]{1,20}", fullmatch=True), st.integers(1, 10**15 - 1)), max_size=20))
def test_what_is_written_is_read(payments: list[tuple[str, int]]) -> None:
    """Every payment of a file is read with its reference and amount, whatever they are."""
    lines = [payment(number, reference, centavos) for number, (reference, centavos) in enumerate(payments, 1)]
    found = read_settlement_file(text_of(settlement(*lines)))
    assert [(one.reference, one.moved) for one in found.payments] == payments


@given(st.integers(0, 5 * 242 - 1), st.characters(codec="latin-1"))
def test_a_damaged_file_is_read_or_refused_with_places_inside_it(place: int, character: str) -> None:
    """A file with one other character is either read, or refused with lines and columns that it has; never anything
    else."""
    text = text_of(settlement(payment(1)))
    damaged = text[:place] + character + text[place + 1 :]
    lines = damaged.count("\n") + 1
    assert all(1 <= line <= lines + 1 and 1 <= column <= 241 for line, column in places(damaged))


def places(text: str) -> list[tuple[int, int]]:
    """Return the line and column of each error, or nothing for a file with one payment."""
    try:
        found = read_settlement_file(text)
    except InvalidFile as refused:
        return [(one.line, one.column) for one in refused.errors]
    assert len(found.payments) == 1
    return []
