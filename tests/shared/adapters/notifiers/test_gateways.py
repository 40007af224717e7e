"""Messages go through real servers: SMTP by aiosmtpd, an SMS gateway and FCM as HTTP servers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.adapters.notifiers.choosing import notifiers
from shared.core.settings import InvalidSettings, Settings
from shared.ports.documents import Unavailable
from shared.ports.notifier import Message, MessageRefused, Notifier
from tests.authority import authority
from tests.functions.webhooks.receiver import Receiver, receiving, status

MESSAGE = Message("ntf_1", "ana@example.test", "Você recebeu R$ 10,50", "Olá, Ana.\n\nR$ 10,50 é seu.\n", "pt-BR")


class Mailbox:
    """The handler of an SMTP server that stores e-mails, or answers as ordered."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.to: list[str] = []
        self.recipient = self.data = "250 OK"
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if self.recipient.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - as above
        if self.data.startswith("2"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.to += envelope.rcpt_tos
        return self.data

    def log_in(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        self.logins.append((given.login, given.password))
        is_right = given.password == b"p@ss/word"
        return AuthResult(success=is_right, handled=is_right)


@asynccontextmanager
async def smtp_server(mailbox: Mailbox, **options: Any) -> AsyncIterator[str]:
    """Run an SMTP server and return its host and port."""
    options = {"hostname": "127.0.0.1", **options}
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox, **options), "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def email(url: str) -> Notifier:
    return notifiers(Settings(email=f"{url}?from=Lastro%20%3Cpay%40example.com%3E"))["email"]


async def test_an_email_arrives() -> None:
    """The server gets an e-mail with subject, text, sender and recipient, and the same Message-ID each time."""
    mailbox = Mailbox()
    async with smtp_server(mailbox) as server:
        for _ in range(2):
            await email(f"smtp://{server}").send(MESSAGE)
    first, second = mailbox.mails
    assert mailbox.to == ["ana@example.test"] * 2
    assert (first["subject"], first["from"], first["to"]) == (MESSAGE.title, "Lastro <pay@example.com>", MESSAGE.to)
    assert first.get_content_type() == "text/plain", "nothing in a text is read as HTML"
    assert first.get_content().replace("\r\n", "\n") == MESSAGE.text
    assert (first["message-id"], first["content-language"]) == ("<ntf_1@example.com>", "pt-BR")
    assert second["message-id"] == first["message-id"]


@pytest.mark.parametrize(
    ("recipient", "data", "expected"),
    [
        ("550 no such user", "250 OK", MessageRefused),
        ("450 busy", "250 OK", Unavailable),
        ("250 OK", "554 spam", MessageRefused),
        ("250 OK", "451 later", Unavailable),
    ],
)
async def test_a_refusal_of_smtp(recipient: str, data: str, expected: type[Exception]) -> None:
    """A reply 5yz refuses the message permanently, a reply 4yz for now."""
    mailbox = Mailbox()
    mailbox.recipient, mailbox.data = recipient, data
    async with smtp_server(mailbox) as server:
        with pytest.raises(expected):
            await email(f"smtp://{server}").send(MESSAGE)


async def test_smtp_with_tls_and_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STARTTLS verifies the certificate; the login is decoded from the URL; a wrong password is the operator's matter,
    so the message waits, and so it does when the server has no TLS."""
    made = authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server)
    mailbox = Mailbox()
    login: dict[str, Any] = {"authenticator": mailbox.log_in, "auth_required": True, "auth_require_tls": True}
    async with smtp_server(mailbox, tls_context=context, require_starttls=True, **login) as server:
        with pytest.raises(Unavailable):
            await email(f"smtp+starttls://pay:p%40ss%2Fword@{server}").send(MESSAGE)
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
        await email(f"smtp+starttls://pay:p%40ss%2Fword@{server}").send(MESSAGE)
        with pytest.raises(Unavailable, match="login"):
            await email(f"smtp+starttls://pay:wrong@{server}").send(MESSAGE)
    assert mailbox.logins[0] == (b"pay", b"p@ss/word")
    assert len(mailbox.mails) == 1
    async with smtp_server(mailbox) as server:
        with pytest.raises(Unavailable):
            await email(f"smtp+starttls://{server}").send(MESSAGE)


async def test_an_smtp_server_that_is_down() -> None:
    """Without a server, the message waits."""
    with pytest.raises(Unavailable):
        await email("smtp://127.0.0.1:1").send(MESSAGE)


SMS = MESSAGE._replace(to="+5511987654321", title="", text="Você recebeu R$ 10,50.")


@pytest.mark.parametrize(
    ("answer", "expected"), [(202, None), (422, MessageRefused), (500, Unavailable), (401, Unavailable)]
)
async def test_an_sms(answer: int, expected: type[Exception] | None) -> None:
    """The gateway gets the id, the number, the sender and the text with the token; its status is the outcome."""
    async with receiving(status(answer)) as receiver:
        url = receiver.url.replace("http://", "sms+http://:tok%2Fen@") + "?from=Lastro"
        sms = notifiers(Settings(sms=url))["sms"]
        if expected is None:
            await sms.send(SMS)
        else:
            with pytest.raises(expected):
                await sms.send(SMS)
        (received,) = receiver.received
        assert received.headers["authorization"] == "Bearer tok/en"
        assert received.json == {"id": "ntf_1", "to": SMS.to, "from": "Lastro", "text": SMS.text}


@asynccontextmanager
async def fcm(folder: Path) -> AsyncIterator[tuple[Receiver, Notifier, rsa.RSAPrivateKey]]:
    """Run FCM and its token endpoint, and return the notifier of a service account with its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    async with receiving() as receiver:
        base = receiver.url.removesuffix("/hooks")
        account = {"project_id": "lastro", "client_email": "a@b.test", "private_key": private}
        file = folder / "account.json"
        file.write_text(json.dumps({**account, "token_uri": f"{base}/token", "fcm_uri": base}))
        yield receiver, notifiers(Settings(push=f"fcm://{file}"))["push"], key


def answered(code: int, content: dict[str, Any]) -> bytes:
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {code} x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def test_a_push_notification(tmp_path: Path) -> None:
    """The service account's signed assertion is exchanged for a token once, and messages go to the project with it."""
    push_message = MESSAGE._replace(to="device-1")
    async with fcm(tmp_path) as (receiver, push, key):
        receiver.usual = answered(200, {"name": "projects/lastro/messages/1"})
        receiver.answers.append(answered(200, {"access_token": "tok", "expires_in": 3600}))
        await push.send(push_message)
        await push.send(push_message)
        token, first, second = receiver.received
        form = httpx.QueryParams(token.body.decode())
        claims = jwt.decode(form["assertion"], key.public_key(), ["RS256"], audience=f"{receiver.url[:-6]}/token")
        assert (claims["iss"], claims["scope"]) == ("a@b.test", "https://www.googleapis.com/auth/firebase.messaging")
        assert (first.target, first.headers["authorization"]) == ("/v1/projects/lastro/messages:send", "Bearer tok")
        assert first.json == second.json
        assert first.json["message"]["token"] == "device-1"
        assert first.json["message"]["notification"] == {"title": MESSAGE.title, "body": MESSAGE.text}


@pytest.mark.parametrize(
    ("code", "error", "expected"),
    [
        (404, "UNREGISTERED", MessageRefused),
        (400, "INVALID_ARGUMENT", MessageRefused),
        (503, "UNAVAILABLE", Unavailable),
    ],
)
async def test_a_refused_push(tmp_path: Path, code: int, error: str, expected: type[Exception]) -> None:
    """A device that is not registered any more refuses the message permanently, an overloaded service for now."""
    async with fcm(tmp_path) as (receiver, push, _):
        receiver.answers.append(answered(200, {"access_token": "tok", "expires_in": 3600}))
        receiver.usual = answered(code, {"error": {"status": "X", "details": [{"errorCode": error}]}})
        with pytest.raises(expected):
            await push.send(MESSAGE)


async def test_a_channel_without_a_gateway() -> None:
    """Without a setting a message waits."""
    with pytest.raises(Unavailable, match="LASTRO_EMAIL"):
        await notifiers(Settings())["email"].send(MESSAGE)


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "http://host?from=a@b.test"},
        {"email": "smtp://host"},
        {"email": "smtp://:secret@?from=a@b.test"},
        {"email": "smtp://user:secret@host:99999?from=a@b.test"},
        {"email": "smtp://user:secret@host?from=a@b.test&color=red"},
        {"sms": "https://host?from=x"},
        {"push": "fcm://"},
    ],
)
def test_an_invalid_address(fields: dict[str, str]) -> None:
    """A gateway's URL of another form is refused with the variable's name and an example, and without its password."""
    with pytest.raises(InvalidSettings, match="LASTRO_") as refusal:
        notifiers(Settings(**fields))  # type: ignore[arg-type]  # each field is text
    assert "secret" not in str(refusal.value)
