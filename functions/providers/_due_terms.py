"""The terms of a PIX charge with a due date, in requests and responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.context.context import Context
from shared.core.business_days import day_begins, day_in_sao_paulo
from shared.core.clock import format_time
from shared.core.due_terms import (
    ALL,
    DEFAULT_VALID_DAYS,
    MAX_DAYS,
    MAX_DISCOUNTS,
    DatedDiscount,
    DueTerms,
    EarlyDiscount,
    Interest,
    InvalidTerms,
    Part,
    check_terms,
    last_day,
    payable,
    postponed_date,
)
from shared.core.money import Amount, Money, money
from shared.core.problems import Problem
from shared.http.document_number import DocumentNumber
from shared.http.models import Command, Name, NullIsDefault, Resource
from shared.ports.rail import Debtor, DueOrder
from shared.records.pix_charges import DebtorDocument, PixChargeDocument

_DATE: Final = "YYYY-MM-DD, the date in São Paulo"


def _checked_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("the value must be a date, such as 2026-12-31") from None


Day = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", max_length=10), AfterValidator(_checked_date),
    Field(json_schema_extra={"format": "date"}),
]  # fmt: skip
"""A date in a request."""
BasisPoints = Annotated[int, Field(ge=1, le=ALL)]
CountedDays = Annotated[Literal["calendar", "business"], NullIsDefault()]


class Portion(Command):
    """A part of the charge's amount: either an amount, or a share in basis points."""

    amount: Amount | None = Field(default=None, description="The amount, in the currency of the charge.")
    basis_points: BasisPoints | None = Field(
        default=None, description="The share of the charge's amount, in hundredths of a percent: 200 is 2 %."
    )

    def part(self) -> Part:
        """Return the part as it is stored."""
        if self.amount is not None:
            return {"kind": "amount", "value": self.amount.value}
        assert self.basis_points is not None, "require_portions has checked it"
        return {"kind": "percent", "value": self.basis_points}


class InterestTerms(Portion):
    """Interest after the due date. An amount is for each day."""

    per: Annotated[Literal["day", "month"], NullIsDefault()] = Field(
        default="day", description="The period of the share. A month has 30 calendar days."
    )
    days: CountedDays = Field(
        default="calendar", description="Which days count. Business days count only with `per` = `day`."
    )


class DiscountUntil(Portion):
    """A discount for a payment until a date."""

    until: Day = Field(description=f"The last day of the discount: {_DATE}. At the latest the due date.")


class DiscountPerDay(Portion):
    """A discount for each day that the payment is earlier than the due date."""

    days: CountedDays = Field(default="calendar", description="Which days count.")


class ChargeDebtor(Command):
    """Who owes the amount. Another person may pay it."""

    name: Name = Field(description="The full name, or the company's.")
    document: DocumentNumber = Field(description="The taxpayer number.")


ValidDays = Annotated[int, Field(ge=0, le=MAX_DAYS)]
Discounts = Annotated[list[DiscountUntil], Field(min_length=1, max_length=MAX_DISCOUNTS)]


class DueRequest(Command):
    """The due date of a charge, its debtor, and what changes the amount."""

    date: Day = Field(
        description=f"The due date: {_DATE}. When it is no business day in Brazil, the next one takes its place."
    )
    valid_days: Annotated[ValidDays, NullIsDefault()] = Field(
        default=DEFAULT_VALID_DAYS,
        description="For how many days after the due date it can be paid. A last day that is no business day is "
        "postponed to the next one.",
    )
    debtor: ChargeDebtor = Field(description="Who owes the amount.")
    fine: Portion | None = Field(default=None, description="What is added once after the due date (`multa`).")
    interest: InterestTerms | None = Field(default=None, description="What is added after the due date (`juros`).")
    rebate: Portion | None = Field(default=None, description="What is always deducted (`abatimento`).")
    discounts: Discounts | None = Field(
        default=None, description="What is deducted until dates (`desconto`); the one that ends first is given."
    )
    early_discount: DiscountPerDay | None = Field(
        default=None, description="What is deducted for each day of earlier payment, in the place of `discounts`."
    )


class DueRevision(Command):
    """The terms to change. A field that is absent or null stays as it is."""

    date: Day | None = Field(default=None, description="The new due date. Null changes nothing.")
    valid_days: ValidDays | None = Field(
        default=None, description="For how many days after the due date it can be paid. Null changes nothing."
    )
    fine: Portion | None = Field(default=None, description="The new fine. Null changes nothing.")
    interest: InterestTerms | None = Field(default=None, description="The new interest. Null changes nothing.")
    rebate: Portion | None = Field(default=None, description="The new rebate. Null changes nothing.")
    discounts: Discounts | None = Field(
        default=None, description="The new discounts; they replace `early_discount`, too. Null changes nothing."
    )
    early_discount: DiscountPerDay | None = Field(
        default=None, description="The new discount for each day; it replaces `discounts`, too. Null changes nothing."
    )


class DueNumber(Resource):
    """A taxpayer number of Brazil's Receita Federal."""

    type: Literal["cpf", "cnpj"] = Field(description="`cpf` for a person, `cnpj` for a company.")
    number: str = Field(description="The number without punctuation.")


class DueDebtor(Resource):
    """Who owes the amount of a charge."""

    name: str = Field(description="The full name, or the company's.")
    document: DueNumber = Field(description="The taxpayer number.")


class DuePortion(Resource):
    """A part of the charge's amount. One of the fields is null."""

    amount: Money | None = Field(description="The amount.")
    basis_points: int | None = Field(description="The share of the charge's amount, in hundredths of a percent.")


class DueInterest(DuePortion):
    """Interest after the due date."""

    per: Literal["day", "month"] = Field(description="The period. A month has 30 calendar days.")
    days: Literal["calendar", "business"] = Field(description="Which days count.")


class DueDiscount(DuePortion):
    """A discount for a payment until a date."""

    until: str = Field(description="The last day of the discount.")


class DueEarlyDiscount(DuePortion):
    """A discount for each day of earlier payment."""

    days: Literal["calendar", "business"] = Field(description="Which days count.")


class ChargeDue(Resource):
    """The due date of a charge, and what changes the amount."""

    date: str = Field(description="The due date: YYYY-MM-DD, the date in São Paulo.")
    postponed_date: str = Field(description="The due date, or the next business day when it is none.")
    valid_days: int = Field(description="For how many days after the due date it can be paid.")
    last_date: str = Field(description="The last day on which it can be paid.")
    debtor: DueDebtor | None = Field(description="Who owes the amount; null when the personal data was erased.")
    fine: DuePortion | None = Field(description="What is added once after the due date, or null.")
    interest: DueInterest | None = Field(description="What is added after the due date, or null.")
    rebate: DuePortion | None = Field(description="What is always deducted, or null.")
    discounts: list[DueDiscount] | None = Field(description="What is deducted until dates, or null.")
    early_discount: DueEarlyDiscount | None = Field(
        description="What is deducted for each day of earlier payment, or null."
    )
    amount_payable: Money | None = Field(
        description="What has to be paid today; what was paid, when it is `paid`; null when it cannot be paid any more."
    )


def terms_of_request(request: DueRequest) -> DueTerms:
    """Return the terms of a new charge as they are stored."""
    return {
        "date": request.date,
        "valid_days": request.valid_days,
        "fine": _portion(request.fine),
        "interest": _interest(request.interest),
        "rebate": _portion(request.rebate),
        "discounts": _dated(request.discounts),
        "early_discount": _early(request.early_discount),
    }


def due_order(request: DueRequest) -> DueOrder:
    """Return what the provider has to know of a new charge with a due date."""
    debtor = request.debtor
    return DueOrder(terms_of_request(request), Debtor(debtor.name, debtor.document.type, debtor.document.number))


def revised_terms(terms: DueTerms, revision: DueRevision) -> DueTerms:
    """Return the terms with the changes. Of the two kinds of discounts, a new one replaces the other."""
    discounts, early = terms["discounts"], terms["early_discount"]
    if revision.discounts is not None or revision.early_discount is not None:
        discounts, early = _dated(revision.discounts), _early(revision.early_discount)
    return {
        "date": revision.date or terms["date"],
        "valid_days": terms["valid_days"] if revision.valid_days is None else revision.valid_days,
        "fine": _portion(revision.fine) or terms["fine"],
        "interest": _interest(revision.interest) or terms["interest"],
        "rebate": _portion(revision.rebate) or terms["rebate"],
        "discounts": discounts,
        "early_discount": early,
    }


def require_portions(request: DueRequest | DueRevision, currency: str) -> None:
    """Raise Problem `validation_failed` unless each part of the terms is an amount or a share, and one of a supported
    kind; `currency_mismatch` when an amount is in another currency than the charge."""
    portions: list[tuple[str, Portion | None]] = [
        ("fine", request.fine),
        ("interest", request.interest),
        ("rebate", request.rebate),
        ("early_discount", request.early_discount),
        *((f"discounts/{place}", one) for place, one in enumerate(request.discounts or ())),
    ]
    for place, portion in portions:
        if portion is None:
            continue
        if (portion.amount is None) == (portion.basis_points is None):
            raise Problem.at("validation_failed", f"/due/{place}", "Send either `amount` or `basis_points`.")
        if portion.amount is not None and portion.amount.currency != currency:
            pointer = f"/due/{place}/amount/currency"
            raise Problem.at("currency_mismatch", pointer, f"The charge is in {currency}.")
    interest = request.interest
    if (
        interest is not None
        and interest.per == "month"
        and (interest.amount is not None or interest.days == "business")
    ):
        detail = "Interest by the month is a share (`basis_points`), and counts calendar days."
        raise Problem.at("validation_failed", "/due/interest", detail)


def require_terms(amount: int, terms: DueTerms, created: datetime, now: datetime, max_amount: int) -> str:
    """Return until when a charge of these terms can be paid (RFC 3339 in UTC).

    Raises Problem `validation_failed` when the terms contradict each other, or leave no day or nothing to pay.
    """
    if date.fromisoformat(terms["date"]) > day_in_sao_paulo(now) + timedelta(days=MAX_DAYS):
        detail = f"The due date is more than {MAX_DAYS} days from now."
        raise Problem.at("validation_failed", "/due/date", detail)
    try:
        check_terms(amount, terms, day_in_sao_paulo(created), max_amount)
    except InvalidTerms as error:
        text = str(error)
        detail = f"{text[0].upper()}{text[1:]}."
        raise Problem.at("validation_failed", f"/due/{error.field}", detail) from None
    end = last_day(terms)
    if end < day_in_sao_paulo(now):
        raise Problem.at("validation_failed", "/due/valid_days", f"The last day to pay, {end}, has passed.")
    return format_time(day_begins(end + timedelta(days=1)))


async def sealed_debtor(ctx: Context, debtor: ChargeDebtor) -> DebtorDocument:
    """Return a debtor as it is stored: name and number are sealed."""
    name, number = await ctx.secrets.seal([debtor.name, debtor.document.number], "payers")
    return {"name": name, "document_type": debtor.document.type, "document_number": number}


async def debtor_index(ctx: Context, debtor: ChargeDebtor) -> str:
    """Return the blind index by which the charges of a debtor are found."""
    return await ctx.secrets.taxpayer_index(debtor.document.type, debtor.document.number)


async def debtors_of(ctx: Context, charges: Sequence[PixChargeDocument]) -> dict[str, Debtor]:
    """Return the debtors in plain text by the ids of their charges. One call of the secrets port opens all of them."""
    found = {charge["id"]: debtor for charge in charges if (debtor := charge.get("debtor")) is not None}
    if not found:
        return {}
    sealed = [text for debtor in found.values() for text in (debtor["name"], debtor["document_number"])]
    opened = iter(await ctx.secrets.open(sealed))
    return {id: Debtor(next(opened), debtor["document_type"], next(opened)) for id, debtor in found.items()}


def due_resource(charge: PixChargeDocument, debtor: Debtor | None, status: str, now: datetime) -> ChargeDue | None:
    """Return the due date of a charge and what belongs to it, or None for an immediate charge."""
    terms = charge.get("due")
    if terms is None:
        return None
    amount, currency, paid = charge["amount"], charge["currency"], charge.get("amount_paid")
    if paid is None and status == "active":
        paid = payable(amount, terms, day_in_sao_paulo(now)).final
    early, interest = terms["early_discount"], terms["interest"]
    return ChargeDue(
        date=terms["date"],
        postponed_date=postponed_date(terms).isoformat(),
        valid_days=terms["valid_days"],
        last_date=last_day(terms).isoformat(),
        debtor=None
        if debtor is None
        else DueDebtor(name=debtor.name, document=DueNumber(type=debtor.document_type, number=debtor.document_number)),
        fine=None if terms["fine"] is None else DuePortion(**_shown(terms["fine"], currency)),
        interest=None
        if interest is None
        else DueInterest(**_shown(interest, currency), per=interest["per"], days=interest["days"]),
        rebate=None if terms["rebate"] is None else DuePortion(**_shown(terms["rebate"], currency)),
        discounts=[DueDiscount(**_shown(one, currency), until=one["until"]) for one in terms["discounts"]] or None,
        early_discount=None if early is None else DueEarlyDiscount(**_shown(early, currency), days=early["days"]),
        amount_payable=None if paid is None else money(paid, currency),
    )


def _portion(portion: Portion | None) -> Part | None:
    return None if portion is None else portion.part()


def _interest(interest: InterestTerms | None) -> Interest | None:
    return None if interest is None else {**interest.part(), "per": interest.per, "days": interest.days}


def _dated(discounts: Sequence[DiscountUntil] | None) -> list[DatedDiscount]:
    return [{**one.part(), "until": one.until} for one in discounts or ()]


def _early(discount: DiscountPerDay | None) -> EarlyDiscount | None:
    return None if discount is None else {**discount.part(), "days": discount.days}


def _shown(part: Part, currency: str) -> dict[str, Any]:
    is_amount = part["kind"] == "amount"
    return {
        "amount": money(part["value"], currency) if is_amount else None,
        "basis_points": None if is_amount else part["value"],
    }
