"""What has to be paid for a charge with a due date, on a given day.

The rules are those of the charges with a due date (`cobv`) of the API Pix of Banco Central do Brasil:

- A due date that is no business day is postponed to the next one. The fine, the interest, the discount for early
  payment and the days of validity count from the postponed date.
- The charge can be paid until `valid_days` calendar days after it. When the last one is no business day, it is
  postponed, too.

The API Pix does not say how parts are calculated and rounded. Here each part is calculated from the original amount,
and rounded to centavos by itself, half a centavo upwards; a month of interest has 30 days (docs/decisions/0048).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, Literal, NamedTuple

from typing_extensions import TypedDict

from shared.core.business_days import business_days_between, next_business_day

DEFAULT_VALID_DAYS: Final = 30
"""For how many days after the due date a charge can be paid that does not say it."""
MAX_DAYS: Final = 1_827
"""The most days that are accepted from now to a due date, and from there to the last day: five years, after which debts
are barred by time (Código Civil, article 206)."""
MAX_DISCOUNTS: Final = 3
"""The most dates of discounts in one charge."""
ALL: Final = 10_000
"""The whole, in basis points: 1 is 0.01 %."""
MONTH_DAYS: Final = 30
"""The days of a month of interest."""

Days = Literal["calendar", "business"]
"""Which days are counted: all, or business days only."""


class Part(TypedDict):
    """A part of the original amount: `amount` in minor units, or `percent` in basis points."""

    kind: Literal["amount", "percent"]
    value: int


class Interest(Part):
    """Interest for each day, or for a month of 30 calendar days, after the due date."""

    per: Literal["day", "month"]
    days: Days


class DatedDiscount(Part):
    """A discount for a payment until a date, which is included (YYYY-MM-DD)."""

    until: str


class EarlyDiscount(Part):
    """A discount for each day that the payment is earlier than the due date."""

    days: Days


class DueTerms(TypedDict):
    """The terms of a charge with a due date, without its amount. `date` is the due date (YYYY-MM-DD)."""

    date: str
    valid_days: int
    fine: Part | None
    interest: Interest | None
    rebate: Part | None
    discounts: list[DatedDiscount]
    early_discount: EarlyDiscount | None


class Payable(NamedTuple):
    """What has to be paid, and its parts, in minor units."""

    original: int
    fine: int
    interest: int
    rebate: int
    discount: int

    @property
    def final(self) -> int:
        """The amount to pay."""
        return self.original + self.fine + self.interest - self.rebate - self.discount


class InvalidTerms(ValueError):
    """Terms contradict each other. `field` is the one to change: `date`, `valid_days`, `rebate` and so on."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


def postponed_date(terms: DueTerms) -> date:
    """Return the due date, or the next business day when it is none."""
    return next_business_day(date.fromisoformat(terms["date"]))


def last_day(terms: DueTerms) -> date:
    """Return the last day on which the charge can be paid."""
    return last_payable_day(date.fromisoformat(terms["date"]), terms["valid_days"])


def last_payable_day(due: date, valid_days: int) -> date:
    """Return the last day on which a charge can be paid that is valid for so many days after its due date."""
    return next_business_day(next_business_day(due) + timedelta(days=valid_days))


def payable(amount: int, terms: DueTerms, day: date) -> Payable:
    """Return what has to be paid on a day for an original amount in minor units."""
    due = postponed_date(terms)
    fine = interest = 0
    if day > due:
        fine = 0 if terms["fine"] is None else _share(terms["fine"], amount)
        interest = 0 if terms["interest"] is None else _interest(terms["interest"], amount, due, day)
    rebate = 0 if terms["rebate"] is None else _share(terms["rebate"], amount)
    return Payable(amount, fine, interest, rebate, _discount(terms, amount, due, day))


def check_terms(amount: int, terms: DueTerms, created: date, max_amount: int) -> None:
    """Raise InvalidTerms unless the terms of a charge that is created on a day have an amount to pay on each day.

    `max_amount` is the greatest amount of a payment, in minor units.
    """
    if date.fromisoformat(terms["date"]) < created:
        raise InvalidTerms("date", "the due date is before the charge's creation")
    if terms["discounts"] and terms["early_discount"] is not None:
        raise InvalidTerms("early_discount", "a charge has discounts until dates, or a discount for each day, not both")
    _check_dates(terms)
    for field, part in _reductions(terms):
        if part["value"] >= (amount if part["kind"] == "amount" else ALL):
            raise InvalidTerms(field, "it must be less than the amount of the charge")
    # Between these days the discount does not change, or becomes smaller with each day.
    days = [created, *(max(created, date.fromisoformat(one["until"])) for one in terms["discounts"])]
    if any(payable(amount, terms, day).final < 1 for day in days):
        raise InvalidTerms("rebate" if terms["rebate"] else "discounts", "nothing would be left to pay")
    if payable(amount, terms, last_day(terms)).final > max_amount:
        raise InvalidTerms("interest", f"more than {max_amount} minor units would have to be paid on the last day")


def _check_dates(terms: DueTerms) -> None:
    dates = [one["until"] for one in terms["discounts"]]
    if len(set(dates)) < len(dates):
        raise InvalidTerms("discounts", "two discounts have the same date")
    if len({one["kind"] for one in terms["discounts"]}) > 1:
        raise InvalidTerms("discounts", "all discounts are amounts, or all are shares of the amount")
    if any(until > terms["date"] for until in dates):
        raise InvalidTerms("discounts", "a discount cannot end after the due date")


def _reductions(terms: DueTerms) -> Iterator[tuple[str, Part]]:
    if terms["rebate"] is not None:
        yield "rebate", terms["rebate"]
    for discount in terms["discounts"]:
        yield "discounts", discount
    if terms["early_discount"] is not None:
        yield "early_discount", terms["early_discount"]


def _share(part: Part, amount: int, times: int = 1, divisor: int = 1) -> int:
    """Return a part of the amount, `times` times and divided by `divisor`, rounded half up."""
    whole = part["value"] * times
    if part["kind"] == "percent":
        whole, divisor = whole * amount, divisor * ALL
    return (2 * whole + divisor) // (2 * divisor)


def _interest(interest: Interest, amount: int, due: date, day: date) -> int:
    days = (day - due).days if interest["days"] == "calendar" else business_days_between(due, day)
    return _share(interest, amount, days, MONTH_DAYS if interest["per"] == "month" else 1)


def _discount(terms: DueTerms, amount: int, due: date, day: date) -> int:
    early = terms["early_discount"]
    if early is not None:
        days = (due - day).days if early["days"] == "calendar" else business_days_between(day, due)
        return _share(early, amount, max(0, days))
    # A discount until the due date is postponed with it.
    ends = {one["until"]: due if one["until"] == terms["date"] else _day(one) for one in terms["discounts"]}
    open_ones = [one for one in terms["discounts"] if day <= ends[one["until"]]]
    return _share(min(open_ones, key=_day), amount) if open_ones else 0


def _day(discount: DatedDiscount) -> date:
    return date.fromisoformat(discount["until"])
