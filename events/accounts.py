"""Facts about accounts."""

from typing import ClassVar, Literal

from events import topics
from shared.core.envelope import Event
from shared.core.money import Money


class AccountEvent(Event):
    """The fields of every fact about an account."""

    topic: ClassVar[str] = topics.ACCOUNTS
    subject_field: ClassVar[str] = "account_id"

    account_id: str


class AccountOpened(AccountEvent):
    """An account was opened for a user."""

    type: ClassVar[str] = "lastro.account.opened.v1"
    terminal: ClassVar[bool] = True

    owner_id: str
    currency: str
    overdraft_limit: int


class AccountBlocked(AccountEvent):
    """The account was blocked, or its block was changed: for debits only, or for credits too (`all`)."""

    type: ClassVar[str] = "lastro.account.blocked.v1"
    terminal: ClassVar[bool] = True

    mode: Literal["debits", "all"]


class AccountUnblocked(AccountEvent):
    """The account was unblocked and is active."""

    type: ClassVar[str] = "lastro.account.unblocked.v1"
    terminal: ClassVar[bool] = True


class AccountClosed(AccountEvent):
    """The account was closed: its balance is zero, and nothing is in progress to or from it."""

    type: ClassVar[str] = "lastro.account.closed.v1"
    terminal: ClassVar[bool] = True


class BalanceChanged(AccountEvent):
    """A ledger transfer was applied to the account. `change` is the difference of its posted balance."""

    type: ClassVar[str] = "lastro.account.balance_changed.v1"
    terminal: ClassVar[bool] = True

    transfer_id: str
    change: Money
