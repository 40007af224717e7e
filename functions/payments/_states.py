"""The statuses of payments and refunds, and the legal changes between them."""

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
"""The statuses that may follow each status. A status that none may follow is terminal."""

REFUND_CHANGES: Final[dict[RefundStatus, frozenset[RefundStatus]]] = {
    "created": frozenset({"processing", "settled", "failed"}),
    "processing": frozenset({"settled", "failed"}),
    "settled": frozenset(),
    "failed": frozenset(),
}


def may_change_to(payment: PaymentDocument, status: PaymentStatus) -> bool:
    """Return whether the payment may change to the status."""
    return status in PAYMENT_CHANGES[payment["status"]]


def require_change(payment: PaymentDocument, status: PaymentStatus) -> None:
    """Raise Problem `illegal_state` unless the payment may change to the status."""
    if not may_change_to(payment, status):
        raise Problem("illegal_state", f"The payment is {payment['status']}; it cannot change to {status}.")


def is_final(payment: PaymentDocument) -> bool:
    """Return whether the payment's status is terminal. Refunds may still change its amounts."""
    return not PAYMENT_CHANGES[payment["status"]]


def awaits_caller(payment: PaymentDocument) -> bool:
    """Return whether the next step is the caller's: the payment is terminal, authorized for a manual capture, or in
    review."""
    return (
        is_final(payment)
        or (payment["status"] == "authorized" and payment["capture"] == "manual")
        or payment["status"] == "review"
    )


def refund_may_change_to(refund: RefundDocument, status: RefundStatus) -> bool:
    """Return whether the refund may change to the status."""
    return status in REFUND_CHANGES[refund["status"]]


def refund_is_final(refund: RefundDocument) -> bool:
    """Return whether the refund's status is terminal."""
    return not REFUND_CHANGES[refund["status"]]
