"""Every event type of the platform, by name."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from events import (
    accounts,
    cards,
    charges,
    dead_letters,
    deposits,
    fraud_reports,
    holds,
    ledger,
    notifications,
    rail_payments,
    reconciliations,
    refunds,
    returns,
    settlement_files,
    statements,
    sweeps,
    tenants,
    users,
    webhooks,
)
from events.payments import (
    authorized,
    canceled,
    capture_requested,
    created,
    declined,
    expired,
    failed,
    posting_requested,
    returned,
    review_opened,
    settled,
    submitted,
)
from shared.core.envelope import Event

_MODULES: tuple[ModuleType, ...] = (
    created,
    authorized,
    declined,
    capture_requested,
    submitted,
    posting_requested,
    review_opened,
    settled,
    returned,
    failed,
    canceled,
    expired,
    refunds,
    ledger,
    accounts,
    holds,
    users,
    statements,
    deposits,
    charges,
    rail_payments,
    cards,
    returns,
    fraud_reports,
    reconciliations,
    settlement_files,
    tenants,
    sweeps,
    dead_letters,
    webhooks,
    notifications,
)


def _published(module: ModuleType) -> Iterator[type[Event]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Event) and value.__module__ == module.__name__:
            name = getattr(value, "type", None)
            if name is not None and name.startswith("lastro."):
                yield value


CATALOGUE: dict[str, type[Event]] = {model.type: model for module in _MODULES for model in _published(module)}
"""The model of each published type. The ticks of schedules are Knative's type and are not listed."""
