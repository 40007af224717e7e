"""The port for messages to persons: e-mail, SMS and push notifications."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Protocol, get_args

Channel = Literal["email", "sms", "push"]
"""The way by which a person gets a message."""

CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
"""All channels."""


class Message(NamedTuple):
    """A message to one person. `to` is an e-mail address, a telephone number in E.164, or the token of a device."""

    id: str
    """Our id. A message that is sent again has the same one, so that a gateway that supports it sends it once."""
    to: str
    title: str
    """The subject of an e-mail or the title of a push notification; an SMS has none."""
    text: str
    locale: str


class MessageRefused(Exception):
    """The gateway refuses the message permanently: the address does not exist, or it does not accept the message.

    `address_gone` says that the address will never accept a message again, such as the token of a device from which the
    application was removed.
    """

    def __init__(self, code: str, *, address_gone: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.address_gone = address_gone


class Notifier(Protocol):
    """Sends messages by one channel."""

    async def send(self, message: Message) -> None:
        """Hand a message over to the gateway.

        Raises MessageRefused, or Unavailable when the gateway did not accept it now and a later attempt may succeed.
        """
        ...
