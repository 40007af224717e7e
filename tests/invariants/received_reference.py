"""A reference model of money that is received by PIX: which payments of a code its account must have, from what was
asked for and the provider's own books.

It imports nothing of the platform. It is compared when nothing is in progress.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Final, Literal, NamedTuple

SAO_PAULO: Final = timezone(timedelta(hours=-3))
HOLIDAYS: Final = frozenset({date(2026, 1, 1), date(2026, 2, 16), date(2026, 2, 17), date(2026, 4, 3)})
"""The holidays of banks in the months in which a story may take place."""
MARGIN: Final = timedelta(minutes=2)
"""By how much the platform's and the provider's end of a charge may differ."""
Kind = Literal["deposit", "charge", "due", "static"]


class Terms(NamedTuple):
    """What a charge with a due date adds and deducts, in centavos."""

    due_date: date
    valid_days: int
    fine: int
    interest: int
    """For each calendar day after the due date."""
    rebate: int

    def payable(self, amount: int, day: date) -> int:
        """Return what is to be paid on a day in São Paulo."""
        due = _business_day(self.due_date)
        late = self.fine + self.interest * (day - due).days if day > due else 0
        return amount + late - self.rebate

    def last_day(self) -> date:
        """Return the last day on which it can be paid."""
        return _business_day(_business_day(self.due_date) + timedelta(days=self.valid_days))


def _business_day(day: date) -> date:
    while day.weekday() >= 5 or day in HOLIDAYS:
        day += timedelta(days=1)
    return day


def today(now: datetime) -> date:
    """Return the date in São Paulo at a time."""
    return now.astimezone(SAO_PAULO).date()


@dataclass
class Code:
    """What strangers may pay: the charge of a deposit, a charge, or a static code."""

    kind: Kind
    account: str
    amounts: set[int]
    """The amounts of which one pays it: several after a change whose answer was lost; none when the payer chooses."""
    ends: datetime | None = None
    """Until when an immediate charge can be paid."""
    terms: Terms | None = None
    is_removed: bool = False
    is_unsure: bool = False
    """Whether the answer to a change or a removal was lost."""

    def payable(self, now: datetime) -> int | None:
        """Return what is to be paid now, or None when the payer chooses."""
        if not self.amounts:
            return None
        amount = max(self.amounts)
        return amount if self.terms is None else self.terms.payable(amount, today(now))


class Paid(NamedTuple):
    """A payment that the provider has received."""

    id: str
    code: str
    """The provider's id of the code."""
    amount: int
    at: datetime


class Returned(NamedTuple):
    """A return in the provider's books: the amount, and whether it was made."""

    amount: int
    is_made: bool


@dataclass
class ReceivedReference:
    """The codes that were made, by the provider's ids, and what was asked for."""

    codes: dict[str, Code] = field(default_factory=dict)
    deposits: dict[str, Code] = field(default_factory=dict)
    """The charges of the deposits, by the deposits' ids."""
    returns: dict[str, int | None] = field(default_factory=dict)
    """The amount of each return that was accepted; None for all that was left."""
    blocked: set[str] = field(default_factory=set)
    """The accounts that were once blocked for what is received."""

    def may_credit(self, paid: Paid) -> bool:
        """Return whether the account of a code may have this payment."""
        code = self.codes[paid.code]
        if code.is_removed and not code.is_unsure:
            return False
        return self._has_amount(code, paid) and self._is_in_time(code, paid, MARGIN)

    def must_credit(self, paid: Paid) -> bool:
        """Return whether the account of a code must have this payment, or another one of a code that is paid once."""
        code = self.codes[paid.code]
        is_sure = not code.is_unsure and code.account not in self.blocked and code.kind != "deposit"
        return is_sure and self.may_credit(paid) and self._is_in_time(code, paid, -MARGIN)

    @staticmethod
    def _has_amount(code: Code, paid: Paid) -> bool:
        if not code.amounts:
            return True
        if code.terms is None:
            return paid.amount in code.amounts
        return paid.amount in {code.terms.payable(amount, today(paid.at)) for amount in code.amounts}

    @staticmethod
    def _is_in_time(code: Code, paid: Paid, margin: timedelta) -> bool:
        if code.terms is not None:
            return today(paid.at - margin) <= code.terms.last_day()
        return code.ends is None or paid.at < code.ends + margin

    def check_credits(self, payments: dict[str, Paid], credited: dict[str, str]) -> set[str]:
        """Check which payments are on accounts, and return the codes that are paid. `credited` is the account of each
        payment; suspense is one, too."""
        assert credited.keys() == payments.keys(), "each payment becomes one deposit"
        of_codes: dict[str, list[Paid]] = {}
        for paid in payments.values():
            code = self.codes[paid.code]
            if credited[paid.id] == code.account:
                assert self.may_credit(paid), (paid, code)
                of_codes.setdefault(paid.code, []).append(paid)
            else:
                assert credited[paid.id] == "sys_suspense_brl", (paid, credited[paid.id])
        for paid in payments.values():
            code, credits = self.codes[paid.code], of_codes.get(paid.code, [])
            assert code.kind == "static" or len(credits) <= 1, (code, credits)
            if self.must_credit(paid):
                assert paid in credits if code.kind == "static" else credits, (paid, code)
        return set(of_codes)
