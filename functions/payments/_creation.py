"""Requesting the hold of a payment from accounts."""

from __future__ import annotations

from events.payments.created import PaymentCreated
from functions.payments._payment import parties
from shared.records.payments import PaymentDocument


def created_fact(payment: PaymentDocument, attempt: int) -> PaymentCreated:
    """Return the fact that requests the hold from accounts. Each attempt publishes it again."""
    return PaymentCreated(
        **parties(payment),
        method=payment["method"],
        capture=payment["capture"],
        expires_at=payment["expires_at"],
        attempt=attempt,
    )
