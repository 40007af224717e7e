"""The client for webhooks connects to checked addresses only, verifies TLS and is bounded in everything."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.adapters.outgoing.client import HttpOutgoing
from shared.core.settings import Settings
from shared.ports.lifecycle import Closed
from shared.ports.outgoing import OutgoingDocument
from tests.authority import authority
from tests.functions.webhooks.hooks import until
from tests.functions.webhooks.receiver import Receiver, receiving, status
from tests.waiting import PATIENCE_SECONDS

STRICT = Settings(webhooks_seconds=30.0)
ALLOWED = Settings(webhooks_allow_private=1, webhooks_seconds=30.0)


class Names:
    """A resolver whose answers a test orders: one for each question, the last one again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise OSError("no such name")
        return answer


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["169.254.169.254"], ["93.184.215.14", "10.0.0.1"], ["::ffff:127.0.0.1"]]
)
async def test_a_name_of_a_private_address_is_refused(answers: list[str]) -> None:
    """A name that resolves to an address that is not public, or to one among others, is refused at creation and at
    each request."""
    outgoing = HttpOutgoing(STRICT, Names(answers))
    assert "not public" in (await outgoing.refusal("https://hooks.example.com/") or "")
    answer = await outgoing.post("https://hooks.example.com/", {}, b"{}")
    assert (answer.status_code, answer.error) == (None, "address_refused")


class SlowNames:
    """The resolver of the operating system, where a look-up of a name that begins with `slow` does not end."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.looked_up: list[str] = []

    def __call__(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        self.looked_up.append(host)
        if host.startswith("slow"):
            self.end.wait(PATIENCE_SECONDS)
            raise OSError("no such name")
        return [(2, 1, 6, "", ("10.0.0.1", port))]


@asynccontextmanager
async def slow_names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[HttpOutgoing, SlowNames]]:
    """Return a client with such a resolver. All look-ups end at the end."""
    names = SlowNames()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    outgoing = HttpOutgoing(Settings(webhooks_seconds=PATIENCE_SECONDS))
    try:
        yield outgoing, names
    finally:
        names.end.set()
        await outgoing.aclose()


async def test_slow_names_of_many_endpoints_delay_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the names of a hundred endpoints are looked up without end, also after their attempts were given up,
    another endpoint's name is looked up at once."""
    async with slow_names(monkeypatch) as (outgoing, names):
        slow = [asyncio.create_task(outgoing.post(f"https://slow-{n}.example.com/", {}, b"")) for n in range(100)]
        await until(lambda: len(names.looked_up) >= 32)
        answer = await outgoing.post("https://other.example.com/", {}, b"")
        assert answer.error == "address_refused"
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert not names.end.is_set()
        assert (await outgoing.post("https://other.example.com/", {}, b"")).error == "address_refused"


async def test_a_slow_name_is_looked_up_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many attempts at one slow name wait for one look-up, and the end of one attempt does not end it; after its end
    the name is looked up anew."""
    async with slow_names(monkeypatch) as (outgoing, names):
        first, *others = [asyncio.create_task(outgoing.post("https://slow.example.com/", {}, b"")) for _ in range(50)]
        await until(lambda: bool(names.looked_up))
        for _ in range(200):
            await asyncio.sleep(0)  # the others reach their look-up; nothing on the way there takes time
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        names.end.set()
        assert {answer.error for answer in await asyncio.gather(*others)} == {"name_not_resolved"}
        assert names.looked_up == ["slow.example.com"]
        await outgoing.post("https://slow.example.com/", {}, b"")
        assert names.looked_up == ["slow.example.com"] * 2


async def test_new_endpoints_with_slow_names_delay_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of new endpoints are bounded and apart: while the names of many are looked up, and more are refused as
    not resolved now, attempts go on."""
    async with slow_names(monkeypatch) as (outgoing, names):
        checks = [asyncio.create_task(outgoing.refusal(f"https://slow-{n}.example.com/")) for n in range(600)]
        await until(lambda: sum(check.done() for check in checks) >= 500)
        assert len(names.looked_up) <= 16
        assert (await outgoing.post("https://other.example.com/", {}, b"")).error == "address_refused"
        names.end.set()
        assert set(await asyncio.gather(*checks)) == {None}


async def test_an_answer_of_dns_that_changes_has_no_effect() -> None:
    """A name is resolved once for a request, and the connection goes to the address that was checked: a name that is
    public at creation and private later is refused (DNS rebinding)."""
    names = Names(["93.184.215.14"], ["127.0.0.1"])
    outgoing = HttpOutgoing(STRICT, names)
    assert await outgoing.refusal("https://rebind.example.com/") is None
    answer = await outgoing.post("https://rebind.example.com/", {}, b"{}")
    assert (answer.error, names.asked) == ("address_refused", ["rebind.example.com"] * 2)


async def test_the_connection_goes_to_the_checked_address() -> None:
    """The request goes to the address that the resolver returned for it, with the host name in `Host`."""
    async with receiving() as receiver:
        names = Names(["127.0.0.1"], ["10.255.255.1"])
        port = urlsplit(receiver.url).port
        answer = await HttpOutgoing(ALLOWED, names).post(f"http://hooks.example.com:{port}/x?y=1", {"a": "b"}, b"{}")
        assert (answer.status_code, answer.error, answer.accepted) == (204, None, True)
        (received,) = receiver.received
        assert (received.target, received.headers["host"]) == ("/x?y=1", f"hooks.example.com:{port}")
        assert received.headers["a"] == "b"
        assert names.asked == ["hooks.example.com"]


async def test_a_document_is_read_within_its_bound() -> None:
    """A GET returns the content of the response, and a longer one than 64 KiB is invalid; private addresses and
    redirects are refused as they are for a POST."""
    async with receiving() as receiver:
        outgoing = HttpOutgoing(ALLOWED)
        small = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nterms"
        large = b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70_000
        receiver.answers.extend([small, large, status(302, "location: http://127.0.0.1/")])
        found = await outgoing.get(receiver.url, {"accept": "application/jose"})
        assert found == OutgoingDocument(200, None, b"terms")
        assert receiver.received[0].headers["accept"] == "application/jose"
        assert (await outgoing.get(receiver.url, {})).error == "invalid_response"
        assert (await outgoing.get(receiver.url, {})).error == "redirect_refused"
        await outgoing.aclose()
        strict = HttpOutgoing(STRICT)
        refused = await strict.get(receiver.url.replace("http:", "https:"), {})
        assert refused == OutgoingDocument(None, "address_refused", b"")
        await strict.aclose()


def test_a_location_is_read_with_tls() -> None:
    """A location has https; only where private addresses are allowed, this machine's own has http."""
    for settings, location, scheme in (
        (STRICT, "pix.example.com/qr/1", "https"),
        (STRICT, "127.0.0.1:8081/qr/1", "https"),
        (ALLOWED, "127.0.0.1:8081/qr/1", "http"),
        (ALLOWED, "pix.example.com/qr/1", "https"),
    ):
        assert HttpOutgoing(settings).url_of(location) == f"{scheme}://{location}"


async def test_the_next_address_is_tried() -> None:
    """When the first address of a name refuses the connection, the next one is tried."""
    async with receiving() as receiver:
        names = Names(["127.0.0.2", "127.0.0.1"])
        answer = await HttpOutgoing(ALLOWED, names).post(receiver.url.replace("127.0.0.1", "two.example.com"), {}, b"")
        assert answer.accepted


async def test_a_name_without_an_address() -> None:
    """A name that does not resolve is accepted at creation, because it may exist later, and fails at the request."""
    outgoing = HttpOutgoing(STRICT, Names([]))
    assert await outgoing.refusal("https://later.example.com/") is None
    assert (await outgoing.post("https://later.example.com/", {}, b"")).error == "name_not_resolved"


async def test_a_name_is_resolved_by_the_system() -> None:
    """Without a resolver of a test, names and numbers in any form are resolved by the operating system."""
    outgoing = HttpOutgoing(ALLOWED)
    async with receiving() as receiver:
        for host in ("localhost", "127.1", "2130706433", "0x7f000001"):
            answer = await outgoing.post(receiver.url.replace("127.0.0.1", host), {}, b"")
            assert answer.accepted, host
    await outgoing.aclose()
    strict = HttpOutgoing(STRICT)
    for host in ("127.1", "2130706433", "0x7f000001", "[::1]"):
        assert (await strict.post(f"https://{host}/", {}, b"")).error == "address_refused", host
    await strict.aclose()


@asynccontextmanager
async def receiving_tls(certificate: Path) -> AsyncIterator[str]:
    """Run a receiver with TLS and return its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an unknown authority, or for another host name, is `tls_failed`; one of a known authority for
    the host is accepted."""
    made = authority(tmp_path)
    async with receiving_tls(made.server) as url:
        assert (await HttpOutgoing(ALLOWED).post(url, {}, b"")).error == "tls_failed"
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
        assert (await HttpOutgoing(ALLOWED).post(url, {}, b"")).accepted
        other = url.replace("127.0.0.1", "other.example.com")
        answer = await HttpOutgoing(ALLOWED, Names(["127.0.0.1"])).post(other, {}, b"")
        assert answer.error == "tls_failed"


async def test_a_server_without_tls_behind_https() -> None:
    """A server that does not speak TLS is `tls_failed`."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await HttpOutgoing(ALLOWED).post(url, {}, b"")).error == "tls_failed"


@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"],
)
async def test_a_server_that_stops_in_the_middle(start: bytes) -> None:
    """A server that stops before, in or after the head of its response ends the request at its time limit."""

    async def stop(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()
        stopped.append(writer)

    stopped: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(stop, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        answer = await HttpOutgoing(ALLOWED._replace(webhooks_seconds=0.3)).post(url, {}, b"")
        for writer in stopped:
            writer.close()
    assert (answer.status_code, answer.error) == (None, "timeout")


async def test_a_closed_client_sends_nothing() -> None:
    """After it was closed, the client raises Closed."""
    outgoing = HttpOutgoing(ALLOWED)
    await outgoing.aclose()
    with pytest.raises(Closed):
        await outgoing.post("http://127.0.0.1:1/", {}, b"")
    with pytest.raises(Closed):
        await outgoing.refusal("https://example.com/")
