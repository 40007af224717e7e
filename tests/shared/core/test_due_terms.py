"""What has to be paid for a charge with a due date, on each day."""

from __future__ import annotations

import json
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.business_days import is_business_day
from shared.core.due_terms import DueTerms, InvalidTerms, check_terms, last_day, payable, postponed_date

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "pix_due_dates.json").read_text())["last_days"]
MAX = 999_999_999_999
DUE = "2026-12-10"
"""A Thursday."""


def terms(**fields: Any) -> DueTerms:
    """Return terms with these fields, and nothing else that changes the amount."""
    made: dict[str, Any] = {
        "date": DUE,
        "valid_days": 30,
        "fine": None,
        "interest": None,
        "rebate": None,
        "discounts": [],
        "early_discount": None,
        **fields,
    }
    return made  # type: ignore[return-value]


def percent(value: int, **more: Any) -> dict[str, Any]:
    return {"kind": "percent", "value": value, **more}


def fixed(value: int, **more: Any) -> dict[str, Any]:
    return {"kind": "amount", "value": value, **more}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["example"])
def test_the_examples_of_the_specification(vector: dict[str, Any]) -> None:
    """The postponed due date and the last day are those of the Banco Central's examples."""
    found = terms(date=vector["due"], valid_days=vector["valid_days"])
    assert (str(postponed_date(found)), str(last_day(found))) == (vector["postponed"], vector["last"])


@pytest.mark.parametrize(
    ("fields", "day", "parts"),
    [
        # The fine and the interest begin on the day after the due date.
        ({"fine": percent(200), "interest": percent(100, per="month", days="calendar")}, "2026-12-10", (0, 0, 0, 0)),
        ({"fine": percent(200), "interest": percent(100, per="month", days="calendar")}, "2026-12-11", (200, 3, 0, 0)),
        ({"fine": fixed(500), "interest": percent(100, per="month", days="calendar")}, "2027-01-09", (500, 100, 0, 0)),
        ({"interest": fixed(7, per="day", days="calendar")}, "2026-12-14", (0, 28, 0, 0)),
        # 11 December is a Friday, and 14 December a Monday.
        ({"interest": fixed(7, per="day", days="business")}, "2026-12-14", (0, 14, 0, 0)),
        ({"interest": percent(10, per="day", days="business")}, "2026-12-14", (0, 20, 0, 0)),
        ({"interest": percent(10, per="day", days="calendar")}, "2026-12-14", (0, 40, 0, 0)),
        # A due date on a Saturday is postponed to Monday: no fine and no interest on Monday, one day on Tuesday.
        ({"date": "2026-12-12", "fine": fixed(5)}, "2026-12-14", (0, 0, 0, 0)),
        (
            {"date": "2026-12-12", "fine": fixed(5), "interest": fixed(7, per="day", days="calendar")},
            "2026-12-15",
            (5, 7, 0, 0),
        ),
        ({"rebate": fixed(123)}, "2027-01-01", (0, 0, 123, 0)),
        ({"rebate": percent(1_050)}, "2026-12-01", (0, 0, 1_050, 0)),
        # Of several discounts, the one that ends first is given.
        ({"discounts": [fixed(300, until="2026-12-05"), fixed(500, until="2026-11-30")]}, "2026-11-30", (0, 0, 0, 500)),
        ({"discounts": [fixed(300, until="2026-12-05"), fixed(500, until="2026-11-30")]}, "2026-12-01", (0, 0, 0, 300)),
        ({"discounts": [fixed(300, until="2026-12-05"), fixed(500, until="2026-11-30")]}, "2026-12-06", (0, 0, 0, 0)),
        # A discount until the due date is postponed with it; one until another Saturday is not.
        ({"date": "2026-12-12", "discounts": [percent(100, until="2026-12-12")]}, "2026-12-14", (0, 0, 0, 100)),
        ({"date": "2026-12-14", "discounts": [percent(100, until="2026-12-12")]}, "2026-12-14", (0, 0, 0, 0)),
        ({"early_discount": fixed(10, days="calendar")}, "2026-12-04", (0, 0, 0, 60)),
        ({"early_discount": fixed(10, days="business")}, "2026-12-04", (0, 0, 0, 40)),
        ({"early_discount": percent(25, days="calendar")}, "2026-12-04", (0, 0, 0, 150)),
        ({"early_discount": percent(25, days="business")}, "2026-12-10", (0, 0, 0, 0)),
        ({"early_discount": percent(25, days="business")}, "2026-12-20", (0, 0, 0, 0)),
    ],
)
def test_the_parts_of_ten_thousand_centavos(fields: dict[str, Any], day: str, parts: tuple[int, ...]) -> None:
    """Fine, interest, rebate and discount of R$ 100.00 are what a person calculates by hand."""
    found = payable(10_000, terms(**fields), date.fromisoformat(day))
    assert (found.fine, found.interest, found.rebate, found.discount) == parts
    assert found.final == 10_000 + parts[0] + parts[1] - parts[2] - parts[3]


@pytest.mark.parametrize(("amount", "fine"), [(24, 0), (25, 1), (74, 1), (75, 2), (1, 0)])
def test_half_a_centavo_is_rounded_up(amount: int, fine: int) -> None:
    """A share is rounded to centavos, half a centavo upwards."""
    assert payable(amount, terms(fine=percent(200)), date(2026, 12, 11)).fine == fine


PARTS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("amount"), "value": st.integers(1, 2_000)}),
    st.fixed_dictionaries({"kind": st.just("percent"), "value": st.integers(1, 3_000)}),
)
COUNTED = st.sampled_from(["calendar", "business"])
INTEREST = st.one_of(
    st.builds(lambda part, days: {**part, "per": "day", "days": days}, PARTS, COUNTED),
    st.integers(1, 3_000).map(lambda value: percent(value, per="month", days="calendar")),
)
EARLY = st.builds(
    lambda kind, value, days: {"kind": kind, "value": value, "days": days},
    st.sampled_from(["amount", "percent"]),
    st.integers(1, 20),
    COUNTED,
)


@st.composite
def all_terms(draw: st.DrawFn) -> DueTerms:
    """Return terms that may have every part."""
    due = draw(st.dates(date(2026, 1, 1), date(2027, 12, 31)))
    kind = draw(st.sampled_from([fixed, percent]))
    early = draw(st.none() | EARLY)
    offsets = [] if early else draw(st.lists(st.integers(0, 60), max_size=3, unique=True))
    return terms(
        date=due.isoformat(),
        valid_days=draw(st.integers(0, 90)),
        fine=draw(st.none() | PARTS),
        interest=draw(st.none() | INTEREST),
        rebate=draw(st.none() | PARTS),
        discounts=[
            kind(draw(st.integers(1, 2_000)), until=(due - timedelta(days=days)).isoformat()) for days in offsets
        ],
        early_discount=early,
    )


AMOUNTS = st.integers(10_000, 10_000_000)


@given(AMOUNTS, all_terms(), st.integers(-60, 200))
def test_parts_are_in_their_days(amount: int, found: DueTerms, offset: int) -> None:
    """Until the postponed due date there is no fine and no interest, and after it no discount; no part is negative."""
    due = postponed_date(found)
    parts = payable(amount, found, due + timedelta(days=offset))
    assert min(parts) >= 0
    if offset <= 0:
        assert (parts.fine, parts.interest) == (0, 0)
    else:
        assert parts.discount == 0
    assert parts.final == amount + parts.fine + parts.interest - parts.rebate - parts.discount


@given(AMOUNTS, all_terms(), st.integers(1, 120))
def test_waiting_after_the_due_date_is_never_cheaper(amount: int, found: DueTerms, offset: int) -> None:
    """After the due date the amount never decreases from one day to the next."""
    day = postponed_date(found) + timedelta(days=offset)
    before = day - timedelta(days=1)
    if offset > 1 or not (found["discounts"] or found["early_discount"]):
        assert payable(amount, found, day).final >= payable(amount, found, before).final


@given(AMOUNTS, st.integers(1, 3_000), st.integers(0, 400))
def test_a_share_is_at_most_half_a_centavo_off(amount: int, value: int, days: int) -> None:
    """Interest by the month differs from the exact fraction by at most half a centavo, however many days pass."""
    found = terms(interest=percent(value, per="month", days="calendar"))
    exact = Fraction(amount * value * days, 10_000 * 30)
    assert abs(payable(amount, found, date.fromisoformat(DUE) + timedelta(days=days)).interest - exact) <= Fraction(
        1, 2
    )


@given(all_terms())
def test_the_last_day_is_a_business_day(found: DueTerms) -> None:
    """The last day is a business day, and not before the days of validity have passed."""
    assert is_business_day(last_day(found))
    assert last_day(found) >= postponed_date(found) + timedelta(days=found["valid_days"])


@given(st.integers(1, 20_000), all_terms(), st.integers(0, 90), st.integers(0, 200))
def test_checked_terms_leave_something_to_pay(amount: int, found: DueTerms, early: int, later: int) -> None:
    """Terms that were not refused have a positive amount on every day from the creation to the last day."""
    created = date.fromisoformat(found["date"]) - timedelta(days=early)
    try:
        check_terms(amount, found, created, MAX)
    except InvalidTerms:
        return
    assert 1 <= payable(amount, found, min(created + timedelta(days=later), last_day(found))).final <= MAX


@pytest.mark.parametrize(
    ("fields", "field", "why"),
    [
        ({"date": "2026-11-30"}, "date", "before"),
        ({"rebate": fixed(10_000)}, "rebate", "less than"),
        ({"rebate": percent(10_000)}, "rebate", "less than"),
        ({"discounts": [fixed(10_000, until=DUE)]}, "discounts", "less than"),
        ({"discounts": [fixed(1, until="2026-12-11")]}, "discounts", "after the due date"),
        ({"discounts": [fixed(1, until=DUE), fixed(2, until=DUE)]}, "discounts", "the same date"),
        ({"discounts": [fixed(1, until=DUE), percent(2, until="2026-12-09")]}, "discounts", "all are shares"),
        (
            {"discounts": [fixed(1, until=DUE)], "early_discount": fixed(1, days="calendar")},
            "early_discount",
            "not both",
        ),
        ({"early_discount": percent(10_000, days="calendar")}, "early_discount", "less than"),
        ({"early_discount": fixed(1_112, days="calendar")}, "discounts", "nothing would be left"),
        ({"rebate": fixed(5_000), "discounts": [percent(5_000, until=DUE)]}, "rebate", "nothing would be left"),
        ({"interest": fixed(MAX, per="day", days="calendar")}, "interest", "on the last day"),
    ],
)
def test_terms_that_are_refused(fields: dict[str, Any], field: str, why: str) -> None:
    """Terms that contradict each other, or leave nothing or too much to pay, are refused with the field and the
    reason."""
    with pytest.raises(InvalidTerms, match=why) as refused:
        check_terms(10_000, terms(**fields), date(2026, 12, 1), MAX)
    assert refused.value.field == field
