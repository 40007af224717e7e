"""The system accounts of a tenant's ledger, which it has in addition to its payment accounts.

A tenant has a set of them for each currency. Their ids are built from their kind, so that the id of a rail's clearing
account is known without a look-up: `sys_clearing_pix_brl`.
"""

from __future__ import annotations

from typing import Final, Literal

from shared.ports.documents import Collection, Document, NoChanges

SystemAccountKind = Literal["clearing", "fees", "suspense", "equity"]

PROVIDERS: Final = ("pix", "bank_transfer", "card")
HOME_CURRENCY: Final = "BRL"
_SYSTEM_PREFIX: Final = "sys_"


class SystemAccountDocument(Document):
    """A system account, created with its tenant. Only clearing accounts have a `provider`."""

    kind: SystemAccountKind
    provider: str | None
    currency: str
    created_at: str


SYSTEM_ACCOUNTS: Final = Collection(
    "system_accounts", owner="tenants", document=SystemAccountDocument, changes=NoChanges
)


def clearing_account(provider: str, currency: str) -> str:
    """Return the id of a rail's clearing account, which has the money between provider and tenant.

    Its balance is zero when the provider has paid out all that it has collected.
    """
    return f"{_SYSTEM_PREFIX}clearing_{provider}_{currency.lower()}"


def system_account(kind: Literal["fees", "suspense", "equity"], currency: str) -> str:
    """Return the id of the system account of this kind."""
    return f"{_SYSTEM_PREFIX}{kind}_{currency.lower()}"


def is_system_account(account_id: str) -> bool:
    """Return whether a ledger account is a system account and not a payment account."""
    return account_id.startswith(_SYSTEM_PREFIX)


def system_accounts(tenant_id: str, currency: str, created_at: str) -> list[SystemAccountDocument]:
    """Return the documents of the system accounts that a tenant has for a currency."""

    def document(id: str, kind: SystemAccountKind, provider: str | None) -> SystemAccountDocument:
        return {
            "id": id,
            "tenant_id": tenant_id,
            "version": 1,
            "kind": kind,
            "provider": provider,
            "currency": currency,
            "created_at": created_at,
        }

    clearing = [document(clearing_account(provider, currency), "clearing", provider) for provider in PROVIDERS]
    others = [document(system_account(kind, currency), kind, None) for kind in ("fees", "suspense", "equity")]
    return clearing + others
