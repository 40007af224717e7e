"""The catalogue of all collections, with which a store is opened.

Only the owner of a collection writes it: a domain, or the HTTP runtime for stored responses. From this list, a store
creates its tables and indexes before the first request. `shared.records.validators` has the JSON Schemas.
"""

from __future__ import annotations

from typing import Any, Final

from shared.ports.documents import Collection
from shared.records.accounts import ACCOUNTS, HOLDS, USAGES
from shared.records.audits import AUDITS
from shared.records.card_payments import CARD_EVENTS, CARD_PAYMENTS, CARD_REFUNDS
from shared.records.charges import CHARGES, RECEIPTS
from shared.records.dead_letters import DEAD_LETTERS
from shared.records.deposits import DEPOSITS
from shared.records.fraud_reports import FRAUD_REPORTS
from shared.records.idempotency import IDEMPOTENCY
from shared.records.ledger_seals import SEAL_PAGES, SEALS
from shared.records.notifications import NOTIFICATION_PREFERENCES, NOTIFICATION_REGISTRIES, NOTIFICATIONS
from shared.records.payments import PAYMENTS, REFUNDS
from shared.records.pix_charges import PIX_CHARGES
from shared.records.pix_static_codes import STATIC_CODES
from shared.records.provider_cursors import PROVIDER_CURSORS
from shared.records.rail_payments import LOOK_UPS, RAIL_PAYMENTS, RAIL_REFERENCES, RAIL_RETURNS
from shared.records.reconciliations import MATCHED_MOVEMENTS, RECONCILIATIONS
from shared.records.returns import RETURNS
from shared.records.settlement_files import SETTLEMENT_FILES
from shared.records.statement_lines import LINES
from shared.records.system_accounts import SYSTEM_ACCOUNTS
from shared.records.tenants import CLIENT_REGISTRATIONS, CLIENTS, SIGNING_KEYS, TENANTS
from shared.records.users import USER_CHANGES, USERS
from shared.records.webhooks import WEBHOOK_DELIVERIES, WEBHOOK_ENDPOINTS, WEBHOOK_REGISTRIES

COLLECTIONS: Final[tuple[Collection[Any, ...], ...]] = (
    ACCOUNTS,
    AUDITS,
    CARD_EVENTS,
    CARD_PAYMENTS,
    CARD_REFUNDS,
    CHARGES,
    CLIENTS,
    CLIENT_REGISTRATIONS,
    DEAD_LETTERS,
    DEPOSITS,
    FRAUD_REPORTS,
    HOLDS,
    IDEMPOTENCY,
    LINES,
    LOOK_UPS,
    MATCHED_MOVEMENTS,
    PAYMENTS,
    PIX_CHARGES,
    STATIC_CODES,
    PROVIDER_CURSORS,
    RAIL_PAYMENTS,
    RAIL_REFERENCES,
    RAIL_RETURNS,
    RECEIPTS,
    RECONCILIATIONS,
    REFUNDS,
    SEALS,
    SEAL_PAGES,
    RETURNS,
    SETTLEMENT_FILES,
    SIGNING_KEYS,
    SYSTEM_ACCOUNTS,
    TENANTS,
    USAGES,
    USERS,
    USER_CHANGES,
    NOTIFICATIONS,
    NOTIFICATION_PREFERENCES,
    NOTIFICATION_REGISTRIES,
    WEBHOOK_DELIVERIES,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_REGISTRIES,
)
