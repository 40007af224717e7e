"""The states of payments and refunds, and the changes that are legal."""

from __future__ import annotations

from typing import Final

from shared.core.problems import Problem
from shared.records.payments import PaymentDocument, PaymentStatus, RefundDocument, RefundStatus

PAYMENT_CHANGES: Final[dict[PaymentStatus, frozenset[PaymentStatus]]] = {
    "created": frozenset({"authorized", "declined", "canceled", "expired"}),
    "authorized": frozenset({"capturing", "canceled", "expired"}),
    "capturing": frozenset({"processing", "settled", "failed"}),
    "processing": frozenset({"settled", "failed", "review"}),
    "review": frozenset({"settled", "failed"}),
    "declined": frozenset(),
    "settled": frozenset(),
    "failed": frozenset(),
    "canceled": frozenset(),
    "expired": frozenset(),
}
"""From each status to those that may follow it; none may follow a terminal one."""

REFUND_CHANGES: Final[dict[RefundStatus, frozenset[RefundStatus]]] = {
    "created": frozenset({"processing", "settled", "failed"}),
    "processing": frozenset({"settled", "failed"}),
    "settled": frozenset(),
    "failed": frozenset(),
}


def may_become(payment: PaymentDocument, status: PaymentStatus) -> bool:
    """Whether the change is legal now."""
    return status in PAYMENT_CHANGES[payment["status"]]


def require_change(payment: PaymentDocument, status: PaymentStatus) -> None:
    """Raise Problem `illegal_state` unless the change is legal now."""
    if not may_become(payment, status):
        raise Problem("illegal_state", f"A payment that is {payment['status']} does not become {status}.")


def is_final(payment: PaymentDocument) -> bool:
    """Whether the payment will stay as it is (but for its refunds)."""
    return not PAYMENT_CHANGES[payment["status"]]


def awaits_caller(payment: PaymentDocument) -> bool:
    """Whether the platform has nothing left to do by itself: terminal, or authorized for a manual capture."""
    return is_final(payment) or (payment["status"] == "authorized" and payment["capture"] == "manual")


def refund_may_become(refund: RefundDocument, status: RefundStatus) -> bool:
    """Whether the change is legal now."""
    return status in REFUND_CHANGES[refund["status"]]


def refund_is_final(refund: RefundDocument) -> bool:
    """Whether the refund will stay as it is."""
    return not REFUND_CHANGES[refund["status"]]
