"""The card gateway's simulator and the adapter that speaks to it, over HTTP without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from embedded.simulators.access import ApiClient
from embedded.simulators.card import AUTHORIZATION_DAYS, PREFIX, CardSimulator
from embedded.simulators.card_model import DECLINES
from embedded.simulators.program import ConnectionCut
from shared.adapters.card.gateway import CardHttpGateway
from shared.adapters.providers import callback_signature
from shared.core.clock import ManualClock
from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse
from shared.ports.card_gateway import AuthorizationOrder, CardMovement, CardPayment
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown, RailRefused

SECRET = b"shared with the platform"
CALLBACK = "http://platform.test/v1/providers/card/callbacks"
BASE = f"http://platform.test{PREFIX}"


class Platform:
    """A platform that checks the signature of callbacks, records them, and can be made unavailable."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.events: list[Any] = []
        self.refusals: list[int | OSError] = []

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        assert url == CALLBACK
        callback_signature.verify(SECRET, headers, body, self._clock.now(), 300)
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, OSError):
                raise refusal
            return refusal
        self.events.append(orjson.loads(body))
        return 200

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


class Bench:
    """A simulator, the platform to which it sends callbacks, and the pauses that it made."""

    def __init__(self, journal: Path | None = None, client: ApiClient | None = None) -> None:
        self.clock = ManualClock()
        self.platform = Platform(self.clock)
        self.slept: list[float] = []
        self.simulator = CardSimulator(
            SECRET, self.clock, Random(1), self.platform, journal, self._sleep, client=client
        )
        self.gateway = CardHttpGateway(BASE, httpx.AsyncClient(transport=httpx.MockTransport(self._answer)))

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

    async def send(self, method: str, path: str, body: Any = None, query: str = "", **headers: str) -> HttpResponse:
        """Send a request to the simulator."""
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return await self.simulator(HttpRequest(method, PREFIX + path, query, headers, raw))

    async def command(self, path: str, body: Any) -> HttpResponse:
        """Send a command with an idempotency key of its own."""
        return await self.send("POST", path, body, **{"idempotency-key": path})

    async def authorize(self, token: str = "tok_approve", reference: str = "pay_1", amount: int = 1050) -> CardPayment:
        """Authorize a payment through the adapter."""
        return await self.gateway.authorize(AuthorizationOrder(reference, amount, "BRL", token, None, CALLBACK))

    async def captured(self, token: str = "tok_approve", amount: int = 1050) -> CardPayment:
        """Authorize and capture a payment, and return it after its callbacks."""
        payment = await self.authorize(token)
        await self.gateway.capture(payment.id, "cap_1", amount)
        await self.settle()
        return await self.read()

    async def read(self, reference: str = "pay_1") -> CardPayment:
        found = await self.gateway.payment(reference)
        assert found is not None
        return found

    async def fault(self, fault: str, **more: Any) -> None:
        """Order a fault."""
        assert (await self.send("POST", "/faults", {"fault": fault, **more})).status == 202

    async def settle(self) -> None:
        """Let the simulator's tasks run."""
        for _ in range(2000):
            if not self.simulator.reporter.tasks:
                return
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.simulator.close()
        await self.gateway.aclose()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A simulator in memory."""
    made = Bench()
    yield made
    await made.close()


async def test_an_approved_token_is_authorized_and_reported(bench: Bench) -> None:
    """The answer is authorized with a time limit, and a signed callback reports the same payment."""
    payment = await bench.authorize()
    await bench.settle()
    assert (payment.status, payment.amount, payment.decline_code) == ("authorized", 1050, None)
    assert payment.authorized_until == "2026-01-31T00:00:00.000000Z"
    (event,) = bench.platform.events
    assert (event["type"], event["payment"]["id"]) == ("payment.authorized", payment.id)


@pytest.mark.parametrize(("token", "code"), DECLINES.items())
async def test_a_test_token_is_declined_with_its_reason(bench: Bench, token: str, code: str) -> None:
    """Each declining test token has its own reason, in the answer and in the callback."""
    payment = await bench.authorize(f"{token}-1")
    await bench.settle()
    assert (payment.status, payment.decline_code, payment.authorized_until) == ("declined", code, None)
    assert bench.platform.types == ["payment.declined"]


async def test_an_unknown_token_is_refused(bench: Bench) -> None:
    """A token that the gateway did not issue is a refusal, and there is no payment."""
    with pytest.raises(RailRefused) as refused:
        await bench.authorize("tok_stranger")
    assert refused.value.code == "invalid_token"
    assert await bench.gateway.payment("pay_1") is None


async def test_a_slow_issuer_answers_by_callback(bench: Bench) -> None:
    """With `tok_pending` the answer is pending, and the callback reports the authorization."""
    assert (await bench.authorize("tok_pending")).status == "pending"
    await bench.settle()
    assert bench.platform.types == ["payment.authorized"]


async def test_a_capture_is_pending_until_its_callback(bench: Bench) -> None:
    """A capture is answered as pending; the callback, the payment and the settlement report have its outcome."""
    payment = await bench.authorize()
    answer = await bench.gateway.capture(payment.id, "cap_1", 700)
    assert answer.capture == CardMovement("cap_1", 700, "pending")
    await bench.settle()
    assert (await bench.read()).capture == CardMovement("cap_1", 700, "succeeded")
    assert bench.platform.types == ["payment.authorized", "capture.succeeded"]
    now = bench.clock.now()
    page = await bench.gateway.settlements(now, now + timedelta(seconds=1), 0)
    assert [line[1:4] for line in page.lines] == [("pay_1", "cap_1", 700)]
    assert not page.has_more
    assert not (await bench.gateway.settlements(now - timedelta(days=1), now, 0)).lines


async def test_a_capture_that_fails(bench: Bench) -> None:
    """With `tok_capture_fails` the capture fails with a code, and nothing is settled."""
    payment = await bench.captured("tok_capture_fails")
    assert payment.capture == CardMovement("cap_1", 1050, "failed", "issuer_unavailable")
    assert bench.platform.types[-1] == "capture.failed"
    now = bench.clock.now()
    assert not (await bench.gateway.settlements(now, now + timedelta(seconds=1), 0)).lines


async def test_a_payment_is_captured_once_and_for_no_more_than_was_authorized(bench: Bench) -> None:
    """Another capture, a capture above the authorized amount, and one of a canceled payment are refused."""
    payment = await bench.authorize()
    with pytest.raises(RailRefused, match="1050 are authorized"):
        await bench.gateway.capture(payment.id, "cap_0", 1051)
    await bench.gateway.capture(payment.id, "cap_1", 500)
    with pytest.raises(RailRefused, match="is captured"):
        await bench.gateway.capture(payment.id, "cap_2", 500)
    with pytest.raises(RailRefused) as refused:
        await bench.gateway.cancel(payment.id, "pay_1")
    assert refused.value.code == "not_cancelable"
    other = await bench.authorize(reference="pay_2")
    assert (await bench.gateway.cancel(other.id, "pay_2")).status == "canceled"
    assert (await bench.gateway.cancel(other.id, "pay_2")).status == "canceled"
    with pytest.raises(RailRefused, match="is canceled"):
        await bench.gateway.capture(other.id, "cap_3", 1)


async def test_refunds_are_partial_and_repeated_up_to_what_was_captured(bench: Bench) -> None:
    """Refunds together never exceed the captured amount, and a repeated one has no further effect."""
    payment = await bench.captured(amount=1000)
    for reference, amount in (("rfd_1", 300), ("rfd_2", 700), ("rfd_2", 700)):
        await bench.gateway.refund(payment.id, reference, amount)
    with pytest.raises(RailRefused, match="0 can be refunded"):
        await bench.gateway.refund(payment.id, "rfd_3", 1)
    await bench.settle()
    found = await bench.read()
    assert list(found.refunds) == [CardMovement("rfd_1", 300, "succeeded"), CardMovement("rfd_2", 700, "succeeded")]
    assert bench.platform.types.count("refund.succeeded") == 2


async def test_a_refund_that_fails_leaves_the_amount_refundable(bench: Bench) -> None:
    """With `tok_refund_fails` the refund fails with a code, and the amount can be refunded again."""
    payment = await bench.captured("tok_refund_fails")
    for reference in ("rfd_1", "rfd_2"):
        await bench.gateway.refund(payment.id, reference, 1050)
    assert {refund.code for refund in (await bench.read()).refunds} == {"card_closed"}


async def test_a_repeated_command_has_no_further_effect(bench: Bench) -> None:
    """The same command twice has one effect; the same id with another amount is refused."""
    first = await bench.authorize()
    assert (await bench.authorize()).id == first.id
    with pytest.raises(RailRefused) as reused:
        await bench.authorize(amount=1)
    assert reused.value.code == "idempotency_key_reused"
    for _ in range(2):
        await bench.gateway.capture(first.id, "cap_1", 1050)
    await bench.settle()
    assert bench.platform.types == ["payment.authorized", "capture.succeeded"]


async def test_a_fault_of_the_amount(bench: Bench) -> None:
    """With the fault `wrong_amount` the gateway captures another amount, and settles that."""
    await bench.fault("wrong_amount", reference="pay_1", action="capture")
    payment = await bench.captured()
    assert payment.capture == CardMovement("cap_1", 1051, "succeeded")


@pytest.mark.parametrize(
    ("fault", "deliveries", "slept"), [("late", 1, [60.0]), ("twice", 2, []), ("never", 0, []), ("out_of_order", 1, [])]
)
async def test_faults_of_a_callback(bench: Bench, fault: str, deliveries: int, slept: list[float]) -> None:
    """A callback is late, comes twice, never, or before the answer; the payment has its outcome in each case."""
    payment = await bench.authorize()
    await bench.settle()
    await bench.fault(fault, action="capture", seconds=60)
    await bench.gateway.capture(payment.id, "cap_1", 1050)
    if fault == "out_of_order":
        assert bench.platform.types.count("capture.succeeded") == 1
    await bench.settle()
    assert (bench.platform.types.count("capture.succeeded"), bench.slept) == (deliveries, slept)
    found = await bench.read()
    assert found.capture is not None
    assert found.capture.status == "succeeded"


async def test_a_fault_waits_for_its_payment_and_action(bench: Bench) -> None:
    """A fault of another payment or of another action does not concern this one."""
    await bench.fault("never", reference="pay_2")
    await bench.fault("never", reference="pay_1", action="refund")
    await bench.captured()
    assert bench.platform.types == ["payment.authorized", "capture.succeeded"]


async def test_a_cut_answer_is_found_by_our_id_and_an_error_had_no_effect(bench: Bench) -> None:
    """After `cut` the adapter finds the payment by our id; after `500` there is none, and the outcome is unknown."""
    await bench.fault("500")
    with pytest.raises(OutcomeUnknown):
        await bench.authorize()
    assert await bench.gateway.payment("pay_1") is None
    await bench.fault("cut")
    assert (await bench.authorize()).status == "authorized"


async def test_an_authorization_expires(bench: Bench) -> None:
    """After its time an authorization is expired and cannot be captured."""
    payment = await bench.authorize()
    await bench.settle()
    bench.clock.advance(timedelta(days=AUTHORIZATION_DAYS))
    with pytest.raises(RailRefused, match="is expired"):
        await bench.gateway.capture(payment.id, "cap_1", 1)
    assert (await bench.read()).status == "expired"


async def test_a_callback_is_sent_until_it_is_accepted(bench: Bench) -> None:
    """A refused callback is sent again with growing pauses, under the same id."""
    bench.platform.refusals = [503, OSError("down"), 500]
    await bench.authorize()
    await bench.settle()
    assert (bench.slept, bench.platform.types) == ([0.2, 0.4, 0.8], ["payment.authorized"])


async def test_the_journal_survives_the_process(tmp_path: Path) -> None:
    """After a restart the payments and the settlement report are there, and a callback that is due is sent."""
    path = tmp_path / "card.jsonl"
    first = Bench(path)
    first.platform.refusals = [503] * 1_000
    payment = await first.authorize()
    await first.gateway.capture(payment.id, "cap_1", 1050)
    await first.close()
    again = Bench(path)
    again.simulator.start()
    await again.settle()
    assert sorted(again.platform.types) == ["capture.succeeded", "payment.authorized"]
    assert (await again.read()).capture == CardMovement("cap_1", 1050, "succeeded")
    now = again.clock.now()
    assert len((await again.gateway.settlements(now, now + timedelta(seconds=1), 0)).lines) == 1
    await again.close()


async def test_a_client_needs_a_token() -> None:
    """With a client set, a request without a token is denied, and this says nothing about the payment."""
    made = Bench(client=ApiClient("lastro", "hush"))
    with pytest.raises(Unavailable) as denied:
        await made.authorize()
    assert not isinstance(denied.value, OutcomeUnknown)
    await made.close()


async def test_what_the_gateway_does_not_understand(bench: Bench) -> None:
    """Unknown paths and payments, missing keys, and invalid bodies and queries are refused with a reason."""
    payment = await bench.authorize()
    movement = {"reference": "cap_1", "amount": 1}
    period = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
    unknown, known = "/v1/payments/x", f"/v1/payments/{payment.id}"
    cases = [
        (await bench.send("GET", "/v1/nothing"), 404, "not_found"),
        (await bench.send("POST", "/v1/payments", {}), 400, "missing_idempotency_key"),
        (await bench.command("/v1/payments", {}), 400, "invalid_request"),
        (await bench.send("GET", "/v1/payments"), 400, "invalid_request"),
        (await bench.send("GET", unknown), 404, "payment_not_found"),
        (await bench.command(f"{unknown}/captures", movement), 404, "payment_not_found"),
        (await bench.command(f"{unknown}/refunds", movement), 404, "payment_not_found"),
        (await bench.command(f"{unknown}/cancel", {}), 404, "payment_not_found"),
        (await bench.command(f"{known}/captures", {}), 400, "invalid_request"),
        (await bench.send("GET", "/v1/settlements"), 400, "invalid_request"),
        (await bench.send("GET", "/v1/settlements", query=f"{period}&page=-1"), 400, "invalid_request"),
        (await bench.send("POST", "/faults", {"fault": "flood"}), 400, "invalid_request"),
    ]
    for answer, status, code in cases:
        assert (answer.status, orjson.loads(answer.body)["code"]) == (status, code)
    with pytest.raises(Problem):
        await bench.send("DELETE", "/faults")
    assert (await bench.send("GET", f"/v1/payments/{payment.id}")).status == 200
