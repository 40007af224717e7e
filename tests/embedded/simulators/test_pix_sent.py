"""Payments out by PIX, between the adapter and the simulated provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from embedded.simulators.pix import PREFIX, PixSimulator
from embedded.simulators.pix_dict import Directory
from embedded.simulators.program import ConnectionCut
from shared.adapters.pix.rail import DEFAULT_KEY, PixHttpRail
from shared.adapters.providers.callback_signature import sign
from shared.core.clock import ManualClock
from shared.http.messages import HttpRequest, HttpResponse
from shared.ports.documents import Unavailable
from shared.ports.rail import ChargeOrder, ReturnOrder
from shared.ports.rail_payments import PaymentRail, RailReport
from tests.ports.rail_payments_suite import RailPaymentsSuite, order

SECRET = b"the provider's secret"
BASE = f"http://platform.test{PREFIX}"


class PixProvider:
    """The simulator with its adapter, and the callbacks that it has sent."""

    def __init__(self, journal: Path | None = None) -> None:
        self.receiver = {"key": "ana@example.test"}
        self.other_receiver = {"key": "rui@example.test"}
        self.clock = ManualClock()
        self.slept: list[float] = []
        self.callbacks: list[tuple[Mapping[str, str], bytes]] = []
        self.accepts = True
        self.simulator = PixSimulator(
            SECRET, self.clock, Random(1), self._post, journal, self._sleep, base_url="http://platform.test"
        )
        self.http_rail = PixHttpRail(BASE, client=httpx.AsyncClient(transport=httpx.MockTransport(self._answer)))
        self.rail: PaymentRail = self.http_rail.payments

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        assert url == "http://platform.test/callbacks/pix"
        if not self.accepts:
            return 503
        self.callbacks.append((headers, body))
        return 200

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        try:
            answer = await self.simulator(
                HttpRequest(request.method, url.path, url.query.decode(), dict(request.headers), request.content)
            )
        except ConnectionCut:
            raise httpx.ReadError("cut") from None
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    async def send(self, method: str, path: str, body: Any = None, query: str = "") -> HttpResponse:
        """Send a request to the simulator."""
        raw = b"" if body is None else orjson.dumps(body)
        return await self.simulator(HttpRequest(method, PREFIX + path, query, {}, raw))

    async def fault(self, fault: str, **more: Any) -> None:
        """Order a fault of the next payment out."""
        body = {"fault": fault, "payments": "sent", **more}
        assert (await self.send("POST", "/faults", body)).status == 202

    async def settle(self) -> None:
        """Let the simulator's tasks run."""
        for _ in range(2000):
            if not self.simulator.sent_reporter.tasks:
                return
            await asyncio.sleep(0)

    def reports(self, *, forged: bool = False) -> Sequence[RailReport]:
        """Return what the adapter reads in the callbacks so far."""
        now, found = self.clock.now(), list[RailReport]()
        for sent, body in self.callbacks:
            headers = sign(b"guessed", body, now) if forged else sent
            found += self.rail.read_reports(headers, body, secret=SECRET, now=now, window_seconds=300) or ()
        return found

    async def close(self) -> None:
        await self.simulator.close()
        await self.http_rail.aclose()


@pytest.fixture
async def provider() -> AsyncIterator[PixProvider]:
    """A simulated provider of payments out."""
    made = PixProvider()
    yield made
    await made.close()


class TestPixPayments(RailPaymentsSuite):
    """The behaviour of every rail, by PIX."""


async def test_a_late_payment_is_in_process_until_it_is_made(provider: PixProvider) -> None:
    """A late payment is in process, and is reported after its delay."""
    await provider.fault("late", seconds=40)
    wanted = order(provider)
    assert (await provider.rail.send(wanted)).status == "processing"
    known = await provider.rail.state(wanted.reference)
    assert known is not None
    assert (known.status, provider.callbacks) == ("processing", [])
    await provider.settle()
    assert provider.slept == [40]
    assert [report.status for report in provider.reports()] == ["settled"]


async def test_out_of_order_the_report_comes_before_the_answer(provider: PixProvider) -> None:
    """Out of order, a payment is reported before its order is answered; twice, it is reported two times."""
    await provider.fault("out_of_order")
    await provider.fault("twice")
    answer = await provider.rail.send(order(provider))
    assert (answer.status, len(provider.reports())) == ("processing", 1)
    await provider.rail.send(order(provider, payment="pay_2"))
    await provider.settle()
    assert len(provider.reports()) == 3


async def test_what_a_killed_process_left_is_finished(tmp_path: Path) -> None:
    """After a restart, a payment in process is made, and a payment whose report was not accepted is reported."""
    journal = tmp_path / "journal"
    first = PixProvider(journal)
    first.accepts = False
    await first.rail.send(order(first))
    await first.fault("late", seconds=40)
    await first.rail.send(order(first, payment="pay_2"))
    await first.close()
    again = PixProvider(journal)
    again.simulator.start()
    await again.settle()
    assert {report.reference for report in again.reports()} == {
        order(again).reference,
        order(again, payment="pay_2").reference,
    }
    assert (await again.rail.send(order(again))).status == "settled"
    await again.close()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/pix/enviados/short", {}, 400),
        ("/pix/enviados/" + "E" * 32, {"valor": "1.00"}, 400),
        (
            "/pix/enviados/" + "E" * 32,
            {"valor": "0.00", "pagador": {"chave": "a"}, "favorecido": {"chave": "a@b.c"}},
            400,
        ),
        ("/faults", {"fault": "refused"}, 400),
        ("/faults", {"fault": "late", "payments": "sent", "txid": "a" * 26}, 400),
    ],
)
async def test_an_invalid_request_is_refused(provider: PixProvider, path: str, body: Any, status: int) -> None:
    """An invalid order or fault is refused."""
    assert (await provider.send("POST" if path == "/faults" else "PUT", path, body)).status == status


async def test_payments_out_are_listed_by_time(provider: PixProvider) -> None:
    """The payments out of a period are listed."""
    await provider.rail.send(order(provider))
    now = provider.clock.now()
    query = f"inicio={now:%Y-%m-%d}T00:00:00Z&fim={now:%Y-%m-%d}T23:59:59Z"
    listed = orjson.loads((await provider.send("GET", "/pix/enviados", query=query)).body)
    assert [one["endToEndId"] for one in listed["pixEnviados"]] == [order(provider).reference]


async def test_the_directory_knows_keys_and_limits_look_ups(provider: PixProvider) -> None:
    """A key is known or not; a payer who has used up the look-ups of the directory is not answered until time has
    passed, which is no refusal of a payment."""
    payments = provider.http_rail.payments
    assert await payments.look_up({"key": "ana@example.test"}, "acme/usr_1")
    for _ in range(50):
        assert not await payments.look_up({"key": "ana@nowhere.invalid"}, "acme/usr_1")
    with pytest.raises(Unavailable):
        await payments.look_up({"key": "ana@example.test"}, "acme/usr_1")
    assert await payments.look_up({"key": "ana@example.test"}, "acme/usr_2")
    provider.clock.advance(timedelta(minutes=1))
    assert await payments.look_up({"key": "ana@example.test"}, "acme/usr_1")


async def test_a_look_up_names_its_payer(provider: PixProvider) -> None:
    """A look-up without a payer is refused, and the provider's own look-ups are limited, too."""
    assert (await provider.send("GET", "/dict/ana@example.test")).status == 400
    directory = Directory(provider.clock, participant_tokens=20)
    for key, status in (("a@b.invalid", 404), ("a@b.test", 429)):
        request = HttpRequest("GET", f"/dict/{key}", f"pagador={key}", {}, b"")
        assert (await directory.get(key, request)).status == status


async def test_a_payment_of_a_charge_here_arrives(provider: PixProvider) -> None:
    """A payment out that pays a charge of the same provider is received with the same end-to-end id, once."""
    txid = "a" * 26
    await provider.http_rail.create_charge(ChargeOrder(txid, 1050, 60, None, "http://platform.test/callbacks"))
    wanted = order(provider)._replace(receiver={"key": DEFAULT_KEY, "txid": txid})
    for _ in range(2):
        await provider.rail.send(wanted)
        await provider.settle()
    state = await provider.http_rail.charge_state(txid)
    assert state is not None
    assert [(receipt.id, receipt.amount) for receipt in state.receipts] == [(wanted.reference, 1050)]


async def test_a_receiver_returns_a_payment_in_parts(provider: PixProvider) -> None:
    """A return is reported with its payment and shown by the API, under a RtrId of its own; without an amount, all that
    is left comes back."""
    wanted = order(provider)
    await provider.rail.send(wanted)
    await provider.settle()
    first = {"endToEndId": wanted.reference, "valor": "1.00", "natureza": "MED_FRAUDE"}
    assert (await provider.send("POST", "/returns", first)).status == 202
    assert (await provider.send("POST", "/returns", {"endToEndId": wanted.reference})).status == 202
    await provider.settle()
    known = await provider.rail.state(wanted.reference)
    assert known is not None
    assert [(one.amount, one.code) for one in known.returns] == [(100, "FR01"), (wanted.amount - 100, "MD06")]
    assert len({one.id for one in known.returns}) == 2
    assert provider.reports()[-1] == known
    listed = {}
    for present in ("true", "false"):
        now = provider.clock.now()
        query = f"inicio={now:%Y-%m-%d}T00:00:00Z&fim={now:%Y-%m-%d}T23:59:59Z&devolucaoPresente={present}"
        answer = await provider.send("GET", "/pix/enviados", query=query)
        listed[present] = [one["endToEndId"] for one in orjson.loads(answer.body)["pixEnviados"]]
    assert listed == {"true": [wanted.reference], "false": []}


@pytest.mark.parametrize(("fault", "reports"), [("twice", 3), ("never", 1), ("out_of_order", 2), ("late", 2)])
async def test_a_return_has_the_faults_of_a_report(provider: PixProvider, fault: str, reports: int) -> None:
    """A return is reported late, twice, never, or before the request for it is answered."""
    wanted = order(provider)
    await provider.rail.send(wanted)
    await provider.settle()
    body = {"endToEndId": wanted.reference, "fault": fault, "seconds": 7}
    assert (await provider.send("POST", "/returns", body)).status == 202
    assert (len(provider.callbacks) == 2) == (fault == "out_of_order")
    await provider.settle()
    assert (len(provider.callbacks), provider.slept) == (reports, [7] if fault == "late" else [])


async def test_a_return_that_cannot_be_is_refused(provider: PixProvider) -> None:
    """Returned is a payment that was made, within 90 days, and at most its amount."""
    wanted, refused = order(provider), order(provider, payment="pay_2")
    await provider.rail.send(wanted)
    await provider.fault("refused")
    await provider.rail.send(refused)
    await provider.settle()
    known = {"endToEndId": wanted.reference}
    more = f"{wanted.amount // 100 + 1}.00"
    for body in ({"endToEndId": refused.reference}, {"endToEndId": "E" * 32}, {**known, "valor": more}):
        assert (await provider.send("POST", "/returns", body)).status == 422
    assert (await provider.send("POST", "/returns", {**known, "valor": "1"})).status == 400
    provider.clock.advance(timedelta(days=90, seconds=1))
    assert (await provider.send("POST", "/returns", known)).status == 422


async def test_the_return_of_a_payment_received_here_comes_back_to_its_payer(tmp_path: Path) -> None:
    """When payer and receiver have the same provider, the receiver's return is a return of the payer's payment with the
    same RtrId, which survives the process."""
    journal = tmp_path / "journal"
    first = PixProvider(journal)
    txid = "a" * 26
    await first.http_rail.create_charge(ChargeOrder(txid, 1050, 60, None, "http://platform.test/callbacks"))
    wanted = order(first)._replace(receiver={"key": DEFAULT_KEY, "txid": txid})
    await first.rail.send(wanted)
    await first.settle()
    first.accepts = False
    await first.http_rail.request_return(ReturnOrder(wanted.reference, "r1", 50, None))
    made = await first.http_rail.return_state(wanted.reference, "r1")
    assert made is not None
    await first.close()
    again = PixProvider(journal)
    again.simulator.start()
    await again.settle()
    known = await again.rail.state(wanted.reference)
    assert known is not None
    assert [(one.id, one.amount) for one in known.returns] == [(made.rail_id, 50)]
    assert known in again.reports()
    await again.close()


async def test_payments_that_came_back_are_listed_page_by_page(provider: PixProvider) -> None:
    """The adapter reads the payments of a period that came back, and says whether there are more; an answer that it
    cannot read, and a refusal, are no list."""
    payments, now = provider.http_rail.payments, provider.clock.now()
    wanted, kept = order(provider), order(provider, payment="pay_2")
    for one in (wanted, kept):
        await provider.rail.send(one)
    await provider.settle()
    await provider.send("POST", "/returns", {"endToEndId": wanted.reference})
    reports, has_more = await payments.changed(now - timedelta(hours=1), now + timedelta(hours=1), 0)
    assert ([one.reference for one in reports], has_more) == ([wanted.reference], False)
    assert reports[0].returns[0].amount == wanted.amount
    assert await payments.changed(now + timedelta(hours=1), now + timedelta(hours=2), 0) == ([], False)
    with pytest.raises(Unavailable):
        await payments.changed(now, now, -1)
    provider.simulator._state.sent[wanted.reference].returns[0]["rtrId"] = "x"
    with pytest.raises(Unavailable, match="cannot be read"):
        await payments.changed(now - timedelta(hours=1), now + timedelta(hours=1), 0)
