"""The simulated gateways of messages, and the adapters that send to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import orjson
import pytest

from embedded.server.listening import listen
from embedded.simulators.deliveries import FILE
from embedded.simulators.email import EmailSimulator
from embedded.simulators.gateways import MessageGateway
from embedded.simulators.program import ConnectionCut
from embedded.simulators.push import GRANT, RETRY_SECONDS, SCOPE, PushSimulator, service_account
from embedded.simulators.sms import SmsSimulator
from shared.adapters.notifiers.choosing import GatewayAddress
from shared.adapters.notifiers.push import PushNotifier
from shared.adapters.notifiers.sms import SmsNotifier
from shared.adapters.notifiers.smtp import SmtpNotifier
from shared.core.clock import ManualClock
from shared.http.messages import HttpRequest
from shared.ports.documents import Unavailable
from shared.ports.notifier import CHANNELS, Channel, Message, MessageRefused, Notifier

BASE = "http://gateway.test"
MESSAGE = Message("ntf_1", "", "Você recebeu R$ 10,50", "Olá, Ana & <b>Rui</b>.\n\nR$ 10,50 é seu.\n", "pt-BR")
TO: dict[Channel, str] = {"email": "ana@example.test", "sms": "+5511987654321", "push": "device-1"}


class Bench:
    """A simulated gateway, the adapter that sends to it, and the pauses that the gateway made."""

    def __init__(self, channel: Channel, folder: Path) -> None:
        self.message = MESSAGE._replace(to=TO[channel], **({"title": ""} if channel == "sms" else {}))
        self.slept: list[float] = []
        clock, file = ManualClock(), folder / FILE
        transport = httpx.MockTransport(self._answer)
        self.simulator: MessageGateway
        self.adapter: Notifier
        if channel == "email":
            email = EmailSimulator(listen("127.0.0.1", 0), clock, file, prefix="", sleep=self._sleep)
            address = GatewayAddress(channel, f"smtp://127.0.0.1:{email.port}?from=pay@example.com")
            self.simulator, self.adapter = email, SmtpNotifier(address)
        elif channel == "sms":
            self.simulator = SmsSimulator(clock, file, prefix="", token="t", sleep=self._sleep)
            address = GatewayAddress(channel, "sms+http://:t@gateway.test/messages?from=Lastro")
            self.adapter = SmsNotifier(address, transport)
        else:
            key = folder / "account.json"
            self.account = service_account(key, BASE)
            self.simulator = PushSimulator(self.account, clock, file, prefix="", sleep=self._sleep)
            self.adapter = PushNotifier(GatewayAddress(channel, f"fcm://{key}"), transport)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        sent = HttpRequest(
            request.method, request.url.path, request.url.query.decode(), dict(request.headers), request.content
        )
        try:
            answer = await self.simulator(sent)
        except ConnectionCut as cut:
            raise httpx.RemoteProtocolError(str(cut)) from None
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    async def send(self, **changes: str) -> None:
        """Send the message through the adapter."""
        await self.adapter.send(self.message._replace(**changes))

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """Return the status and the JSON of an answer of the simulator."""
        path, _, query = path.partition("?")
        answer = await self.simulator(HttpRequest(method, path, query, headers, body))
        return answer.status, orjson.loads(answer.body)

    async def fault(self, fault: str, **more: Any) -> None:
        """Order a fault."""
        status, _ = await self.ask("POST", "/faults", orjson.dumps({"fault": fault, **more}))
        assert status == 202

    async def delivered(self, query: str = "") -> list[Any]:
        """Return what the gateway shows."""
        status, shown = await self.ask("GET", f"/messages{query}")
        assert status == 200
        return list(shown["messages"])


@asynccontextmanager
async def running(channel: Channel, folder: Path) -> AsyncIterator[Bench]:
    """Run the simulator of a channel."""
    bench = Bench(channel, folder)
    bench.simulator.start()
    try:
        yield bench
    finally:
        await bench.simulator.close()


each_channel = pytest.mark.parametrize("channel", CHANNELS)


@each_channel
async def test_a_message_is_delivered_and_shown(channel: Channel, tmp_path: Path) -> None:
    """What the adapter sends is shown with its text unchanged, by address too, and is a line of a file that only its
    owner can read; a new process shows it, too."""
    async with running(channel, tmp_path) as bench:
        await bench.send()
        (shown,) = await bench.delivered()
        expected = bench.message._asdict() | ({} if channel == "email" else {"locale": None})
        assert {name: shown[name] for name in expected} == expected
        assert await bench.delivered("?to=other") == []
        assert (await bench.ask("GET", "/messages?x=1"))[0] == 400
        assert (await bench.ask("GET", "/nothing"))[0] == 404
    file = tmp_path / FILE
    assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == [shown]
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open("ab") as cut:
        cut.write(b'{"channel": "em')
    async with running(channel, tmp_path) as bench:
        assert await bench.delivered() == [shown]


@each_channel
@pytest.mark.parametrize(
    ("fault", "expected", "copies"),
    [("500", Unavailable, 0), ("cut", Unavailable, 1), ("refused", MessageRefused, 0), ("twice", None, 2)],
)
async def test_faults(
    channel: Channel, fault: str, expected: type[Exception] | None, copies: int, tmp_path: Path
) -> None:
    """A fault of the next message makes the adapter report it as refused or as to be repeated; the next one is
    delivered."""
    async with running(channel, tmp_path) as bench:
        await bench.fault(fault)
        if expected is None:
            await bench.send()
        else:
            with pytest.raises(expected):
                await bench.send()
        assert len(await bench.delivered()) == copies
        await bench.send(id="ntf_2")
        assert len(await bench.delivered()) == copies + 1


@each_channel
async def test_a_late_answer_to_one_address(channel: Channel, tmp_path: Path) -> None:
    """A fault can be ordered for one address, for several messages, and `late` answers after the ordered time."""
    async with running(channel, tmp_path) as bench:
        other = {"email": "rui@example.test", "sms": "+5511900000000", "push": "device-2"}[channel]
        await bench.fault("late", to=TO[channel], seconds=3, times=2)
        await bench.send(id="ntf_0", to=other)
        assert bench.slept == []
        for number in range(3):
            await bench.send(id=f"ntf_{number + 1}")
        assert bench.slept == [3, 3]
        for body in (b"{}", b'{"fault": "none"}', b'{"fault": "late", "seconds": -1}'):
            assert (await bench.ask("POST", "/faults", body))[0] == 400


async def test_an_sms_of_one_id_is_sent_once(tmp_path: Path) -> None:
    """The SMS gateway delivers a message once that is sent again after a lost answer, and refuses another message of
    the same id, a wrong token and an invalid number."""
    async with running("sms", tmp_path) as bench:
        await bench.fault("cut")
        with pytest.raises(Unavailable):
            await bench.send()
        await bench.send()
        assert len(await bench.delivered()) == 1
        with pytest.raises(Unavailable, match="409"):
            await bench.send(text="other")
        with pytest.raises(MessageRefused, match="http_422"):
            await bench.send(id="ntf_2", to="11987654321")
        assert (await bench.ask("POST", "/messages", b"{}", authorization="Bearer x"))[0] == 401


@pytest.mark.parametrize(
    ("fault", "expected", "status", "code"),
    [
        ("quota_exceeded", Unavailable, 429, "QUOTA_EXCEEDED"),
        ("unavailable", Unavailable, 503, "UNAVAILABLE"),
        ("unregistered", MessageRefused, 404, "UNREGISTERED"),
    ],
)
async def test_errors_of_fcm(fault: str, expected: type[Exception], status: int, code: str, tmp_path: Path) -> None:
    """The errors have the form of Google's APIs, with Retry-After when a later attempt may succeed; a device that was
    unregistered stays so."""
    async with running("push", tmp_path) as bench:
        await bench.send(to="device-0")
        await bench.fault(fault, times=2)
        with pytest.raises(expected):
            await bench.send()
        request = {"message": {"token": "device-1", "notification": {}}}
        headers = {"authorization": f"Bearer {bench.adapter._token}"}  # type: ignore[attr-defined]  # of the adapter
        path = "/v1/projects/lastro-simulation/messages:send"
        answer = await bench.simulator(HttpRequest("POST", path, "", headers, orjson.dumps(request)))
        error = orjson.loads(answer.body)["error"]
        assert (answer.status, error["code"], error["details"][0]["errorCode"]) == (status, status, code)
        assert answer.headers.get("retry-after") == (None if status == 404 else str(RETRY_SECONDS))
        if fault == "unregistered":
            with pytest.raises(MessageRefused, match="unregistered"):
                await bench.send()
        else:
            await bench.send()


async def test_access_to_fcm(tmp_path: Path) -> None:
    """An access token is issued only for an assertion of the service account, and sending needs one, the account's own
    project, and a valid message of at most 4096 bytes."""
    async with running("push", tmp_path) as bench:
        path = "/v1/projects/{}/messages:send"
        now = 1_700_000_000
        claims = {"iss": bench.account["client_email"], "aud": bench.account["token_uri"], "scope": SCOPE}
        claims |= {"iat": now, "exp": now + 10**9}  # type: ignore[dict-item]  # numbers
        key = bench.account["private_key"]

        async def issued(grant: str = GRANT, **changes: str) -> Any:
            assertion = jwt.encode(claims | changes, key, "RS256")
            return await bench.ask("POST", "/token", f"grant_type={grant}&assertion={assertion}".encode())

        for grant, changes, reason in (
            ("password", {}, "unsupported_grant_type"),
            (GRANT, {"aud": "other"}, "invalid_grant"),
            (GRANT, {"iss": "other"}, "invalid_grant"),
            (GRANT, {"scope": "other"}, "invalid_scope"),
        ):
            status, refusal = await issued(grant, **changes)
            assert (status, refusal["error"]) == (400, reason)
        forged = service_account(tmp_path / "other.json", BASE)["private_key"]
        assertion = jwt.encode(claims, forged, "RS256")
        assert (await bench.ask("POST", "/token", f"grant_type={GRANT}&assertion={assertion}".encode()))[0] == 400
        token = {"authorization": f"Bearer {(await issued())[1]['access_token']}"}
        assert (await bench.ask("POST", path.format("lastro-simulation"), b"{}"))[0] == 401
        assert (await bench.ask("POST", path.format("other"), b"{}", **token))[0] == 403
        for body in (b"{}", b" " * 5000, b'{"message": {"token": "t", "notification": {}, "data": {"n": 1}}}'):
            status, refusal = await bench.ask("POST", path.format("lastro-simulation"), body, **token)
            assert (status, refusal["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_the_key_of_the_service_account_stays(tmp_path: Path) -> None:
    """The file of the simulated account is readable by its owner only, keeps its key, and follows the simulator's
    address."""
    file = tmp_path / "account.json"
    first = service_account(file, BASE)
    again = service_account(file, "http://other.test")
    assert again["private_key"] == first["private_key"]
    assert (again["fcm_uri"], json.loads(file.read_text())) == ("http://other.test", again)
    assert file.stat().st_mode & 0o777 == 0o600
