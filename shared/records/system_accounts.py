"""Names of the accounts that a tenant's ledger has beside its payment accounts.

System accounts exist per tenant and currency. Their ids say what they are, so that a rail's clearing account is
known without a look-up: `sys_clearing_pix_brl`.
"""

from __future__ import annotations

from typing import Final, Literal

from shared.ports.documents import Collection, Document, NoChanges

SystemAccountKind = Literal["clearing", "fees", "suspense", "equity"]

PROVIDERS: Final = ("pix", "bank_transfer", "card")
HOME_CURRENCY: Final = "BRL"
_SYSTEM_PREFIX: Final = "sys_"


class SystemAccountDocument(Document):
    """A system account of a tenant; made with it. `provider` is set for clearing accounts."""

    kind: SystemAccountKind
    provider: str | None
    currency: str
    created_at: str


SYSTEM_ACCOUNTS: Final = Collection(
    "system_accounts", owner="tenants", document=SystemAccountDocument, changes=NoChanges
)


def clearing_account(provider: str, currency: str) -> str:
    """The ledger account on which a rail's money stands between it and the tenant; it must come to zero."""
    return f"{_SYSTEM_PREFIX}clearing_{provider}_{currency.lower()}"


def system_account(kind: Literal["fees", "suspense", "equity"], currency: str) -> str:
    """The ledger account of this kind."""
    return f"{_SYSTEM_PREFIX}{kind}_{currency.lower()}"


def is_system_account(account_id: str) -> bool:
    """Whether a ledger account is the tenant's own rather than a payment account."""
    return account_id.startswith(_SYSTEM_PREFIX)


def system_accounts(tenant_id: str, currency: str, created_at: str) -> list[SystemAccountDocument]:
    """The system accounts that a tenant needs for a currency."""

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
