"""How accounts are asked to hold a payment's amount."""

from __future__ import annotations

from events.payments.created import PaymentCreated
from functions.payments._payment import parties
from shared.records.payments import PaymentDocument


def created_fact(payment: PaymentDocument, attempt: int) -> PaymentCreated:
    """Asks accounts to hold the amount; again with each attempt."""
    return PaymentCreated(
        **parties(payment),
        method=payment["method"],
        capture=payment["capture"],
        expires_at=payment["expires_at"],
        attempt=attempt,
    )
