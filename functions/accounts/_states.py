"""The statuses of accounts, and the legal changes between them."""

from __future__ import annotations

from typing import Final

from shared.core.problems import Problem
from shared.records.accounts import AccountDocument, AccountStatus

ACCOUNT_CHANGES: Final[dict[AccountStatus, frozenset[AccountStatus]]] = {
    "active": frozenset({"blocked", "closing"}),
    "blocked": frozenset({"blocked", "active", "closing"}),
    "closing": frozenset({"active", "blocked", "closed"}),
    "closed": frozenset(),
}
"""The statuses that may follow each status.

A blocked account may be blocked again in another mode. A closing account in which money has arrived becomes what it was
before its closing.
"""


def require_account_change(account: AccountDocument, status: AccountStatus) -> None:
    """Raise Problem `illegal_state` unless a caller may change the account to the status.

    The caller cannot change a closing account: the platform decides what it becomes.
    """
    if account["status"] == "closing" or status not in ACCOUNT_CHANGES[account["status"]]:
        raise Problem("illegal_state", f"The account is {account['status']}; it cannot change to {status}.")
