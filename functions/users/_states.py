"""The statuses of users, and the legal changes between them."""

from __future__ import annotations

from typing import Final

from shared.core.problems import Problem
from shared.records.users import UserDocument, UserStatus

USER_STATUS_CHANGES: Final[dict[UserStatus, frozenset[UserStatus]]] = {
    "pending": frozenset({"active", "closed"}),
    "active": frozenset({"suspended", "closed"}),
    "suspended": frozenset({"active", "closed"}),
    "closed": frozenset(),
}
"""The statuses that may follow each status."""


def require_user_change(user: UserDocument, status: UserStatus) -> None:
    """Raise Problem `illegal_state` unless the user may change to the status."""
    if status not in USER_STATUS_CHANGES[user["status"]]:
        raise Problem("illegal_state", f"The user is {user['status']}; the status cannot change to {status}.")
