"""E-mail by SMTP (RFC 5321), with aiosmtplib."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Final

import aiosmtplib

from shared.adapters.notifiers.choosing import GatewayAddress
from shared.ports.documents import Unavailable
from shared.ports.notifier import Message, MessageRefused

SECONDS: Final = 10.0
"""How long connecting, and each command, may take."""


class SmtpNotifier:
    """Sends e-mails through one SMTP server. Each e-mail has a connection of its own.

    `smtps` begins with TLS, `smtp+starttls` requires STARTTLS, and `smtp` uses it when the server offers it. The
    certificate is verified.
    """

    def __init__(self, address: GatewayAddress) -> None:
        self._address = address

    async def send(self, message: Message) -> None:
        """Send an e-mail. See shared.ports.notifier.Notifier."""
        address, implicit = self._address, self._address.scheme == "smtps"
        try:
            await aiosmtplib.send(
                self._mail(message),
                hostname=address.host,
                port=address.port or (465 if implicit else 587),
                username=address.user,
                password=address.password,
                use_tls=implicit,
                start_tls=False if implicit else (True if address.scheme == "smtp+starttls" else None),
                timeout=SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _outcome(max(refusal.code for refusal in error.recipients)) from None
        except aiosmtplib.SMTPAuthenticationError as error:
            # The platform's own account is refused, which says nothing about the message.
            raise Unavailable(f"the SMTP server refuses the login: {error.code}") from None
        except aiosmtplib.SMTPResponseException as error:
            raise _outcome(error.code) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unavailable(f"the SMTP server cannot be used: {type(error).__name__}") from None

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._address.sender
        mail["To"] = message.to
        mail["Subject"] = message.title
        mail["Date"] = formatdate()
        # The same for a repeated attempt, so that mail servers and clients recognise it.
        domain = parseaddr(self._address.sender)[1].rpartition("@")[2]
        mail["Message-ID"] = f"<{message.id}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        mail["Content-Language"] = message.locale
        return mail


def _outcome(code: int) -> MessageRefused | Unavailable:
    """Return the exception for a reply code: 5yz is permanent, 4yz is not (RFC 5321 §4.2.1)."""
    if 500 <= code < 600:
        return MessageRefused(f"smtp_{code}")
    return Unavailable(f"the SMTP server answers {code}")
