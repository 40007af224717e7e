"""`lastro simulate`: a provider as a program of its own, with which the adapter speaks over HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.adapters.bank_transfer.rail import HttpBankTransfers
from shared.adapters.card.gateway import CardHttpGateway
from shared.adapters.notifiers.choosing import notifiers
from shared.adapters.pix.br_code import parse_br_code
from shared.adapters.pix.rail import PixHttpRail
from shared.adapters.providers.credentials import Credentials
from shared.core.settings import Settings
from shared.ports.card_gateway import AuthorizationOrder
from shared.ports.documents import Unavailable
from shared.ports.notifier import Channel, Message, MessageRefused
from shared.ports.rail import ChargeOrder, OutcomeUnknown
from shared.ports.rail_payments import RailOrder
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
TXID = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4"
OPTIONS = ("--port", "0", "--json", "--secret", "s", "--client-id", "lastro", "--client-secret", "hush")


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[tuple[Process, dict[str, str]]]:
    """Run the command, and return its process and the values that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "simulate", *arguments, cwd=ROOT, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await process.stdout.readline()
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def simulated(*more: str, rail: str = "pix") -> AsyncIterator[tuple[Process, str]]:
    """Run the command for a rail, and return its process and its URL."""
    async with program(rail, *OPTIONS, *more) as (process, printed):
        yield process, printed["base_url"]


def order(callback: str = "http://127.0.0.1:9/callbacks") -> ChargeOrder:
    return ChargeOrder(TXID, 1050, 3600, "Order 1001", callback)


async def test_the_adapter_speaks_with_the_program(tmp_path: Path) -> None:
    """Over HTTP with a token, a charge is created; when its answer is cut off, it is found by its txid; a payer pays
    it; and the program ends with 0 at SIGTERM and continues with its journal."""
    journal = str(tmp_path / "pix.jsonl")
    async with simulated("--journal", journal) as (process, url), httpx.AsyncClient(base_url=url) as stranger:
        rail = PixHttpRail(url, credentials=Credentials("lastro", "hush"))
        await rail.charge_state(TXID)
        assert (await stranger.get(f"/cob/{TXID}")).status_code == 403
        assert (await stranger.delete("/faults")).status_code == 405
        assert (await stranger.post("/faults", content=b"x" * 300_000)).status_code == 413
        # The first request of the adapter sets the webhook, so the second fault concerns the charge.
        await rail._set_webhook(order().callback_url)
        await stranger.post("/faults", json={"fault": "cut"})
        payable = await rail.create_charge(order())
        assert parse_br_code(payable.code).location == payable.location
        await stranger.post("/faults", json={"fault": "500"})
        with pytest.raises(OutcomeUnknown):
            await rail.charge_state(TXID)
        paid = await stranger.post("/payments", json={"br_code": payable.code, "fault": "never"})
        assert paid.status_code == 202
        assert (await stranger.get(f"http://{payable.location}")).headers["content-type"] == "application/jose"
        await rail.aclose()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 0
    async with simulated("--journal", journal) as (_, url):
        again = PixHttpRail(url, credentials=Credentials("lastro", "hush"))
        state = await again.charge_state(TXID)
        assert state is not None
        assert [receipt.id for receipt in state.receipts] == [paid.json()["endToEndId"]]
        await again.aclose()
        stranger_rail = PixHttpRail(url, credentials=Credentials("lastro", "guessed"))
        with pytest.raises(Unavailable, match="no access token"):
            await stranger_rail.charge_state(TXID)
        await stranger_rail.aclose()


async def test_the_card_gateway_speaks_with_the_program(tmp_path: Path) -> None:
    """Over HTTP with a token, a payment is authorized; when the answer to its capture is cut off, it is found; and the
    program ends with 0 at SIGTERM and continues with its journal."""
    journal = str(tmp_path / "card.jsonl")
    wanted = AuthorizationOrder("pay_1", 1050, "BRL", "tok_approve", None, "http://127.0.0.1:9/callbacks")
    async with simulated("--journal", journal, rail="card") as (process, url), httpx.AsyncClient(base_url=url) as other:
        gateway = CardHttpGateway(url, credentials=Credentials("lastro", "hush"))
        assert (await other.get("/v1/payments?reference=pay_1")).status_code == 401
        payment = await gateway.authorize(wanted)
        await other.post("/faults", json={"fault": "cut"})
        captured = await gateway.capture(payment.id, "cap_1", 700)
        assert captured.capture is not None
        assert (captured.capture.amount, captured.capture.status) == (700, "succeeded")
        await gateway.aclose()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 0
    async with simulated("--journal", journal, rail="card") as (_, url):
        again = CardHttpGateway(url, credentials=Credentials("lastro", "hush"))
        found = await again.payment("pay_1")
        assert found is not None
        assert found.capture == captured.capture
        await again.aclose()


async def test_the_bank_adapter_speaks_with_the_program(tmp_path: Path) -> None:
    """Over HTTP with a token, a transfer is ordered; when its answer is cut off, it is found by its reference; it is
    returned; and the program ends with 0 at SIGTERM and continues with its journal."""
    journal = str(tmp_path / "bank.jsonl")
    receiver = {
        "bank": "341",
        "branch": "1234",
        "number": "1234567-8",
        "type": "checking",
        "holder_name": "Ana Souza",
        "holder_document_type": "cpf",
        "holder_document": "52998224725",
    }
    order = RailOrder("ABCDEFGHIJ2345672345", 1050, receiver, None, "http://127.0.0.1:9/callbacks")
    async with (
        simulated("--journal", journal, rail="bank") as (process, url),
        httpx.AsyncClient(base_url=url) as other,
    ):
        rail = HttpBankTransfers(url, credentials=Credentials("lastro", "hush"))
        assert await rail.state(order.reference) is None
        assert (await other.get(f"/transfers/{order.reference}")).status_code == 401
        await other.post("/faults", json={"fault": "never"})
        await other.post("/faults", json={"fault": "cut"})
        assert (await rail.send(order)).status == "settled"
        returned = await other.post("/returns", json={"reference": order.reference, "reason": "AC06"})
        assert returned.status_code == 202
        await rail.aclose()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 0
    async with simulated("--journal", journal, rail="bank") as (_, url):
        again = HttpBankTransfers(url, credentials=Credentials("lastro", "hush"))
        report = await again.state(order.reference)
        assert report is not None
        assert (report.status, report.code) == ("returned", "AC06")
        await again.aclose()


@pytest.mark.parametrize("rail", ["pix", "card", "bank"])
def test_wrong_usage_is_an_error(rail: str) -> None:
    """A client without a secret, and an address that cannot be used, are refused with one line."""
    runner = CliRunner()
    half = runner.invoke(app, ["simulate", rail, "--secret", "s", "--client-id", "lastro"])
    assert "go together" in str(half.exception)
    taken = runner.invoke(app, ["simulate", rail, "--secret", "s", "--host", "203.0.113.1"])
    assert "cannot listen on 203.0.113.1" in str(taken.exception)


@pytest.mark.parametrize(
    ("channel", "options"),
    [
        ("email", ("--port", "0", "--http-port", "0")),
        ("sms", ("--port", "0", "--token", "hush")),
        ("push", ("--port", "0", "--account", "account.json")),
    ],
)
async def test_a_gateway_of_messages(channel: Channel, options: tuple[str, ...], tmp_path: Path) -> None:
    """The program prints the setting with which the platform's adapter sends to it, shows what it has delivered, obeys
    an ordered fault, and ends with 0 at SIGTERM."""
    to = {"email": "ana@example.test", "sms": "+5511987654321", "push": "device-1"}[channel]
    message = Message("ntf_1", to, "" if channel == "sms" else "Título", "Você recebeu R$ 10,50.", "pt-BR")
    options = tuple(str(tmp_path / each) if each.endswith(".json") else each for each in options)
    async with program(channel, "--json", "--file", str(tmp_path / "sent"), *options) as (process, printed):
        name, _, url = printed["setting"].partition("=")
        assert name == f"LASTRO_{channel.upper()}"
        gateway = notifiers(Settings.from_environment({name: url.replace("<token>", "hush")}))[channel]
        async with httpx.AsyncClient(base_url=printed["base_url"]) as client:
            await client.post("/faults", json={"fault": "refused"})
            with pytest.raises(MessageRefused):
                await gateway.send(message)
            await gateway.send(message)
            (shown,) = (await client.get("/messages")).json()["messages"]
        assert (shown["to"], shown["title"], shown["text"].rstrip()) == (to, message.title, message.text)
        assert json.loads((tmp_path / "sent").read_text("utf-8")) == shown
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 0
