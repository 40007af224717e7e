"""Every collection there is: the one list that a store is opened with.

A collection has one owner, whose functions alone write it: a domain, or for the stored answers the HTTP runtime. From
this list a store makes its tables and indexes before the first request; it makes none at first use. What a database
can be told of the documents is in `shared.records.validators`.
"""

from __future__ import annotations

from typing import Any, Final

from shared.ports.documents import Collection
from shared.records.accounts import ACCOUNTS, HOLDS
from shared.records.charges import CHARGES, RECEIPTS
from shared.records.dead_letters import DEAD_LETTERS
from shared.records.deposits import DEPOSITS
from shared.records.idempotency import IDEMPOTENCY
from shared.records.payments import PAYMENTS, REFUNDS
from shared.records.statement_lines import LINES
from shared.records.system_accounts import SYSTEM_ACCOUNTS
from shared.records.tenants import CLIENTS, SIGNING_KEYS, TENANTS
from shared.records.users import USERS

COLLECTIONS: Final[tuple[Collection[Any, ...], ...]] = (
    ACCOUNTS,
    CHARGES,
    CLIENTS,
    DEAD_LETTERS,
    DEPOSITS,
    HOLDS,
    IDEMPOTENCY,
    LINES,
    PAYMENTS,
    RECEIPTS,
    REFUNDS,
    SIGNING_KEYS,
    SYSTEM_ACCOUNTS,
    TENANTS,
    USERS,
)
