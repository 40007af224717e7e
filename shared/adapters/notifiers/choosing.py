"""Selects the gateway of each channel by the URL of its setting. Its module is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from shared.core.settings import InvalidSettings, Settings
from shared.ports.documents import Unavailable
from shared.ports.notifier import CHANNELS, Channel, Message, Notifier

_PACKAGE: Final = "shared.adapters.notifiers"
GATEWAYS: Final[Mapping[Channel, Mapping[str, str]]] = {
    "email": dict.fromkeys(("smtp", "smtps", "smtp+starttls"), "smtp.SmtpNotifier"),
    "sms": dict.fromkeys(("sms+https", "sms+http"), "sms.SmsNotifier"),
    "push": {"fcm": "push.PushNotifier"},
}
"""The class of the gateway, by channel and by the scheme of the URL of LASTRO_EMAIL, LASTRO_SMS or LASTRO_PUSH."""
_EXAMPLES: Final[Mapping[Channel, str]] = {
    "email": "smtp+starttls://user:password@host:587?from=pay@example.com",
    "sms": "sms+https://:token@host/path?from=Lastro",
    "push": "fcm:///path/of/service-account.json",
}


class GatewayAddress:
    """The parts of a gateway's URL, decoded. Raises InvalidSettings for a URL without a needed part."""

    def __init__(self, channel: Channel, url: str) -> None:
        parts = urlsplit(url)
        try:
            self.port = parts.port
        except ValueError:
            raise _invalid(channel, "has a port that is no number from 0 to 65535") from None
        self.scheme = parts.scheme
        self.host = parts.hostname or ""
        self.path = unquote(parts.path)
        self.user = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else None
        query = parse_qs(parts.query, keep_blank_values=True)
        self.sender = query.pop("from", [""])[-1]
        if query:
            raise _invalid(channel, f"has the unknown option {min(query)}")
        if channel == "push":
            if not self.path.strip("/"):
                raise _invalid(channel, "names no file")
        elif not self.host or not self.sender:
            raise _invalid(channel, "needs a host and a sender (from)")


class NoGateway:
    """The notifier of a channel without a setting."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def send(self, message: Message) -> None:
        """Raise Unavailable: the message waits for a gateway."""
        del message
        raise Unavailable(f"no gateway is set (LASTRO_{self._channel.upper()})")


class _Later:
    """A gateway whose module is imported with its first message."""

    def __init__(self, make: Callable[[], Notifier]) -> None:
        self._make = make
        self._notifier: Notifier | None = None

    async def send(self, message: Message) -> None:
        if self._notifier is None:
            self._notifier = self._make()
        await self._notifier.send(message)


def notifiers(settings: Settings) -> dict[Channel, Notifier]:
    """Return the gateway of each channel. Raises InvalidSettings, whose text has no password."""
    return {channel: _gateway(channel, getattr(settings, channel)) for channel in CHANNELS}


def _gateway(channel: Channel, url: str) -> Notifier:
    if not url:
        return NoGateway(channel)
    known = GATEWAYS[channel]
    scheme = url.partition("://")[0]
    if scheme not in known:
        raise _invalid(channel, "has another scheme")
    address = GatewayAddress(channel, url)
    module, _, name = known[scheme].partition(".")

    def make() -> Notifier:
        made: Notifier = getattr(import_module(f"{_PACKAGE}.{module}"), name)(address)
        return made

    return _Later(make)


def _invalid(channel: Channel, reason: str) -> InvalidSettings:
    return InvalidSettings(f"LASTRO_{channel.upper()} {reason}; write {_EXAMPLES[channel]}")
