"""Facts of the users domain. They contain no personal data."""

from typing import ClassVar, Literal

from events import topics
from shared.core.envelope import Event


class UserEvent(Event):
    """The fields of every fact about a user."""

    topic: ClassVar[str] = topics.USERS
    subject_field: ClassVar[str] = "user_id"

    user_id: str


class UserRegistered(UserEvent):
    """A customer or merchant was registered."""

    type: ClassVar[str] = "lastro.user.registered.v1"
    terminal: ClassVar[bool] = True

    kind: Literal["customer", "merchant"]


class UserActivated(UserEvent):
    """A user was activated, at the registration, after a review or after a suspension."""

    type: ClassVar[str] = "lastro.user.activated.v1"
    terminal: ClassVar[bool] = True


class UserSuspended(UserEvent):
    """A user was suspended: the user's accounts cannot pay, and no account is opened for the user."""

    type: ClassVar[str] = "lastro.user.suspended.v1"
    terminal: ClassVar[bool] = True


class UserErasureRequested(UserEvent):
    """The personal data of a user is being erased, and the user is the debtor of these PIX charges: theirs is to be
    erased, too.

    `charge_ids` are the txids of some of the charges; an erasure of many has several of these facts.
    """

    type: ClassVar[str] = "lastro.user.erasure_requested.v1"

    charge_ids: tuple[str, ...]


class UserClosed(UserEvent):
    """A user was closed, after all the user's accounts. This is final."""

    type: ClassVar[str] = "lastro.user.closed.v1"
