"""A reference model of the platform in plain Python, without stores, events or imports of Lastro.

It gets each accepted command and each event that a consumer has applied, by name and data, and computes the expected
state from the rules of the design (domains, accounts, ledger).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ENDED = frozenset({"declined", "settled", "failed", "canceled", "expired"})
SAGA_ATTEMPTS = 10


@dataclass
class Book:
    """The posted and held amounts and the overdraft limit of an account, its block, and its limit for a day.

    `used` is what is counted against the limit, by the day.
    """

    posted: int = 0
    held: int = 0
    overdraft: int = 0
    block: str | None = None
    per_day: int | None = None
    used: dict[int, int] = field(default_factory=dict)

    @property
    def available(self) -> int:
        return self.posted - self.held + self.overdraft


@dataclass
class Order:
    """A payment or refund."""

    payer: str
    payee: str
    amount: int
    manual: bool = False
    payment: str | None = None
    status: str = "created"
    capture: int = 0
    attempt: int = 1
    deadline: float = 0.0


@dataclass
class HoldRequest:
    """The hold request of a payment or refund."""

    account: str
    amount: int
    status: str
    counted_on: int | None = None


@dataclass
class Reference:
    """The expected books."""

    books: dict[str, Book] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    holds: dict[str, HoldRequest] = field(default_factory=dict)
    entries: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """The transfer of each cause: (debited, credited, amount)."""
    refused: set[str] = field(default_factory=set)
    deposits: dict[str, str] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    now: float = 0.0
    suspended: bool = False
    """Whether the owner of all accounts is suspended."""
    deposited_to: dict[str, str] = field(default_factory=dict)
    once_blocked: set[str] = field(default_factory=set)
    """The accounts that were blocked for all at some time."""
    """The account of each deposit."""

    @property
    def day(self) -> int:
        """The number of the day in São Paulo, where a story begins at 21:00."""
        return int((self.now + 21 * 3600) // (24 * 3600))

    # Accepted commands

    def opened(self, account: str, overdraft: int) -> None:
        self.books[account] = Book(overdraft=overdraft)

    def asked(self, id: str, payer: str, payee: str, amount: int, *, manual: bool) -> None:
        self.orders[id] = Order(payer, payee, amount, manual)

    def captured(self, id: str, amount: int) -> None:
        order = self.orders[id]
        assert order.status == "authorized"
        self._capture(order, amount)

    def canceled(self, id: str) -> None:
        order = self.orders[id]
        assert order.status in ("created", "authorized")
        order.status = "canceled"

    def refunded(self, id: str, payment: str, amount: int) -> None:
        paid = self.orders[payment]
        assert 0 < amount <= self.refundable(payment)
        self.orders[id] = Order(paid.payee, paid.payer, amount, payment=payment, deadline=self.now + 300)

    def refundable(self, payment: str) -> int:
        """Return the refundable rest of a settled payment. Refunds that have not failed count as refunded."""
        paid = self.orders[payment]
        given = sum(o.amount for o in self.orders.values() if o.payment == payment and o.status != "failed")
        return paid.capture - given if paid.status == "settled" else 0

    # Events that a consumer has processed

    def applied(self, consumer: str, event_id: str, data: dict[str, Any]) -> None:
        """Apply an event of a consumer. The second time, it changes nothing."""
        if (consumer, event_id) in self.seen:
            return
        self.seen.add((consumer, event_id))
        rule = getattr(self, "_" + consumer.partition("/")[2], None)
        if rule is not None:
            rule(data)

    def _hold_funds(self, data: dict[str, Any]) -> None:
        cause = data.get("refund_id") or data["payment_id"]
        if cause in self.holds:
            return
        account, amount = data["payer_account_id"], data["amount"]["value"]
        book, payee = self.books[account], self.books[data["payee_account_id"]]
        is_refund = "refund_id" in data
        counted_on = None if is_refund or book.per_day is None else self.day
        used = 0 if counted_on is None else book.used.get(counted_on, 0) + amount
        if (
            book.block is not None
            or payee.block == "all"
            or (self.suspended and not is_refund)
            or book.available < amount
            or (book.per_day is not None and used > book.per_day)
        ):
            self.holds[cause] = HoldRequest(account, 0, "refused")
            return
        book.held += amount
        if counted_on is not None:
            book.used[counted_on] = used
        self.holds[cause] = HoldRequest(account, amount, "active", counted_on)

    def _give_back(self, hold: HoldRequest, amount: int) -> None:
        if hold.counted_on is not None:
            self.books[hold.account].used[hold.counted_on] -= amount

    def _release_funds(self, data: dict[str, Any]) -> None:
        cause = data.get("refund_id") or data["payment_id"]
        hold = self.holds.setdefault(cause, HoldRequest(data["payer_account_id"], 0, "released"))
        if hold.status == "active":
            self.books[hold.account].held -= hold.amount
            self._give_back(hold, hold.amount)
            hold.status = "released"

    def _authorize(self, data: dict[str, Any]) -> None:
        order = self.orders[data["cause_id"]]
        if order.status == "created" and self.books[order.payee].block == "all":
            order.status = "declined"
        elif order.status == "created":
            order.status = "authorized"
            if not order.manual:
                self._capture(order, order.amount)

    def _capture(self, order: Order, amount: int) -> None:
        order.status, order.capture = "capturing", amount
        order.attempt, order.deadline = 1, self.now + 300

    def _request_refund_posting(self, data: dict[str, Any]) -> None:
        order = self.orders[data["cause_id"]]
        if order.status == "created" and self.books[order.payee].block == "all":
            order.status = "failed"
        elif order.status == "created":
            order.status, order.attempt = "processing", 1

    def _decline(self, data: dict[str, Any]) -> None:
        order = self.orders[data["cause_id"]]
        if order.status == "created":
            order.status = "declined"

    def _expire(self, data: dict[str, Any]) -> None:
        order = self.orders[data["payment_id"]]
        if order.status in ("created", "authorized"):
            order.status = "expired"

    def _post_transfer(self, data: dict[str, Any]) -> None:
        if "capture_amount" in data:
            cause, amount, late = data["payment_id"], data["capture_amount"]["value"], True
            debited, credited = data["payer_account_id"], data["payee_account_id"]
        elif "deposit_id" in data:
            cause, amount, late = data["deposit_id"], data["amount"]["value"], False
            debited, credited = data["clearing_account_id"], data["account_id"]
        else:
            cause, amount, late = data["refund_id"], data["amount"]["value"], True
            debited, credited = data["payer_account_id"], data["payee_account_id"]
        if cause in self.entries or cause in self.refused:
            return
        if late and self.now > self.orders[cause].deadline:
            self.refused.add(cause)
        else:
            self.entries[cause] = (debited, credited, amount)

    def _apply_transfer(self, data: dict[str, Any]) -> None:
        cause = data["cause_id"]
        debited, credited, amount = self.entries[cause]
        hold = self.holds.get(cause)
        if hold is not None:
            assert hold.status == "active"
            self.books[hold.account].held -= hold.amount
            self._give_back(hold, hold.amount - amount)
            hold.status = "captured"
        for account, change in ((debited, -amount), (credited, amount)):
            if account in self.books:
                self.books[account].posted += change

    def _settle(self, data: dict[str, Any]) -> None:
        self.orders[data["cause_id"]].status = "settled"

    def _settle_refund(self, data: dict[str, Any]) -> None:
        self.orders[data["cause_id"]].status = "settled"

    def _fail(self, data: dict[str, Any]) -> None:
        self.orders[data["cause_id"]].status = "failed"

    def _fail_refund(self, data: dict[str, Any]) -> None:
        self.orders[data["cause_id"]].status = "failed"

    def _request_charge(self, data: dict[str, Any]) -> None:
        deposit = data.get("deposit_id") or data["saga_id"]
        if self.deposits.get(deposit) == "created" and self.books[self.deposited_to[deposit]].block == "all":
            self.deposits[deposit] = "failed"

    def _settle_deposit(self, data: dict[str, Any]) -> None:
        # Others are payments that went to the suspense account.
        if data["cause_id"] in self.deposits:
            self.deposits[data["cause_id"]] = "settled"

    def _request_capture(self, data: dict[str, Any]) -> None:
        order = self.orders[data["saga_id"]]
        if (order.status, order.attempt) != (data["step"], data["attempt"]):
            return
        order.attempt += 1
        if order.status == "created" and order.payment is None and order.attempt > SAGA_ATTEMPTS:
            order.status = "expired"

    # The expected state

    def ledger_balance(self, account: str) -> int:
        """Return credits less debits of an account."""
        return sum(
            (amount if credited == account else 0) - (amount if debited == account else 0)
            for debited, credited, amount in self.entries.values()
        )
