"""The card gateway's adapter: commands, unknown outcomes, refusals, and what it reads."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from shared.adapters.card.gateway import CardHttpGateway
from shared.adapters.card.reports import masked_report
from shared.adapters.providers import callback_signature
from shared.adapters.providers.credentials import Credentials
from shared.core.problems import Problem
from shared.ports.card_gateway import AuthorizationOrder, CardMovement, CardPayment
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown, RailRefused

BASE = "https://gateway.example.test"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = b"shared with the gateway"
ORDER = AuthorizationOrder("pay_1", 1050, "BRL", "tok_approve", "Order 1001", "https://lastro.example.test/callbacks")
NUMBER = "4111111111111111"
PAYMENT: dict[str, Any] = {
    "id": "gwp_1",
    "reference": "pay_1",
    "status": "authorized",
    "amount": 1050,
    "currency": "BRL",
    "authorized_until": "2026-01-08T00:00:00Z",
    "refunds": [],
}
CAPTURED = PAYMENT | {"capture": {"reference": "cap_1", "amount": 1000, "status": "pending"}}
REFUNDED = CAPTURED | {"refunds": [{"reference": "rfd_1", "amount": 10, "status": "failed", "code": "card_closed"}]}
Given = httpx.Response | httpx.HTTPError
Command = Callable[[CardHttpGateway], Awaitable[CardPayment]]


class Provider:
    """A gateway that gives these answers one after the other, and records the requests."""

    def __init__(self, *answers: Given) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.gateway = CardHttpGateway(BASE, httpx.AsyncClient(transport=httpx.MockTransport(self._answer)))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    @property
    def steps(self) -> list[str]:
        """The requests as `METHOD /path`."""
        return [f"{one.method} {one.url.path}" for one in self.asked]


def ok(value: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=value)


def authorize(gateway: CardHttpGateway) -> Awaitable[CardPayment]:
    return gateway.authorize(ORDER)


def capture(gateway: CardHttpGateway) -> Awaitable[CardPayment]:
    return gateway.capture("gwp_1", "cap_1", 1000)


def cancel(gateway: CardHttpGateway) -> Awaitable[CardPayment]:
    return gateway.cancel("gwp_1", "pay_1")


def refund(gateway: CardHttpGateway) -> Awaitable[CardPayment]:
    return gateway.refund("gwp_1", "rfd_1", 10)


EFFECTS: tuple[tuple[Command, str, str, dict[str, Any], str], ...] = (
    (authorize, "/v1/payments", "authorize/pay_1", PAYMENT, "/v1/payments"),
    (capture, "/v1/payments/gwp_1/captures", "capture/cap_1", CAPTURED, "/v1/payments/gwp_1"),
    (cancel, "/v1/payments/gwp_1/cancel", "cancel/pay_1", PAYMENT | {"status": "canceled"}, "/v1/payments/gwp_1"),
    (refund, "/v1/payments/gwp_1/refunds", "refund/rfd_1", REFUNDED, "/v1/payments/gwp_1"),
)
"""For each command: its path, its idempotency key, a payment that shows its effect, and the path that reads it."""


@pytest.mark.parametrize(("command", "path", "key", "effect", "_read"), EFFECTS)
async def test_each_command_has_an_idempotency_key_of_ours(
    command: Command, path: str, key: str, effect: dict[str, Any], _read: str
) -> None:
    """A command is one POST with our id as its idempotency key, and returns the payment after it."""
    provider = Provider(ok(effect, 201))
    found = await command(provider.gateway)
    assert (found.id, found.reference) == ("gwp_1", "pay_1")
    (asked,) = provider.asked
    assert (f"{asked.method} {asked.url.path}", asked.headers["idempotency-key"]) == (f"POST {path}", key)


async def test_an_order_is_sent_whole_and_its_description_is_shortened() -> None:
    """The order has the reference, amount, token and callback URL; a long description ends with an ellipsis."""
    provider = Provider(ok(PAYMENT, 201))
    await provider.gateway.authorize(ORDER._replace(description="x" * 200))
    assert json.loads(provider.asked[0].content) == {
        "reference": "pay_1",
        "amount": 1050,
        "currency": "BRL",
        "token": "tok_approve",
        "callback_url": "https://lastro.example.test/callbacks",
        "description": "x" * 139 + "…",
    }


@pytest.mark.parametrize("lost", [httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"), httpx.Response(502)])
@pytest.mark.parametrize(("command", "path", "_key", "effect", "read"), EFFECTS)
async def test_an_unknown_outcome_is_asked_for(
    command: Command, path: str, _key: str, effect: dict[str, Any], read: str, lost: Given
) -> None:
    """When the answer to a command is lost, the payment is read, and the command is not sent again."""
    shown = {"data": [effect]} if read == "/v1/payments" else effect
    provider = Provider(lost, ok(shown))
    assert (await command(provider.gateway)).id == "gwp_1"
    assert provider.steps == [f"POST {path}", f"GET {read}"]


@pytest.mark.parametrize(("command", "_path", "_key", "_effect", "read"), EFFECTS)
async def test_an_outcome_without_an_effect_stays_unknown(
    command: Command, _path: str, _key: str, _effect: dict[str, Any], read: str
) -> None:
    """When the payment does not show the effect of a lost command, its outcome is unknown and no refusal."""
    provider = Provider(httpx.ReadTimeout("slow"), ok({"data": []} if read == "/v1/payments" else PAYMENT))
    with pytest.raises(OutcomeUnknown):
        await command(provider.gateway)


@pytest.mark.parametrize("found", [httpx.ReadTimeout("slow"), httpx.Response(404, json={"code": "payment_not_found"})])
async def test_an_outcome_that_cannot_be_read_stays_unknown(found: Given) -> None:
    """When the payment cannot be read after a lost command, its outcome is unknown."""
    provider = Provider(httpx.ReadTimeout("slow"), found)
    with pytest.raises(OutcomeUnknown):
        await capture(provider.gateway)


async def test_a_refusal_has_the_gateways_code_and_no_card_number() -> None:
    """A refusal has the gateway's code, and its text without a card number."""
    provider = Provider(ok({"code": "invalid_token", "detail": f"{NUMBER} is no token"}, 422))
    with pytest.raises(RailRefused) as refused:
        await authorize(provider.gateway)
    assert (refused.value.code, str(refused.value)) == ("invalid_token", "***1111 is no token")


@pytest.mark.parametrize(
    "answer", [httpx.Response(400), ok([], 400), ok({"code": NUMBER}, 400), ok({"code": 7, "detail": 7}, 400)]
)
async def test_a_refusal_without_a_code_has_its_status(answer: httpx.Response) -> None:
    """A refusal that cannot be read has the status as its code."""
    with pytest.raises(RailRefused) as refused:
        await authorize(Provider(answer).gateway)
    assert refused.value.code == "http_400"


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429])
async def test_an_answer_that_says_nothing_about_the_payment(status: int) -> None:
    """Denied access, a wrong URL and a rate limit are neither a refusal nor an unknown outcome."""
    with pytest.raises(Unavailable) as raised:
        await authorize(Provider(httpx.Response(status)).gateway)
    assert not isinstance(raised.value, OutcomeUnknown)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="ok"),
        ok([]),
        ok(PAYMENT | {"amount": "10.50"}),
        ok(PAYMENT | {"status": "paid"}),
        ok(PAYMENT | {"authorized_until": "tomorrow"}),
    ],
)
async def test_an_answer_that_cannot_be_read_is_an_unknown_outcome(answer: httpx.Response) -> None:
    """A command that succeeded with an answer that cannot be read may have had an effect."""
    with pytest.raises(OutcomeUnknown):
        await cancel(Provider(answer).gateway)


async def test_without_a_gateway_no_command_is_sent() -> None:
    """Without LASTRO_CARD_GATEWAY a command has no effect, and the error names the setting."""
    gateway = CardHttpGateway("")
    assert not gateway.is_configured
    with pytest.raises(Unavailable, match="LASTRO_CARD_GATEWAY"):
        await authorize(gateway)


async def test_the_circuit_opens_after_failures_in_a_row() -> None:
    """After five failures in a row the gateway is not called for a while."""
    provider = Provider(*[httpx.ConnectError("refused")] * 5)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await authorize(provider.gateway)
    with pytest.raises(Unavailable, match="not called now"):
        await authorize(provider.gateway)
    assert len(provider.asked) == 5


async def test_a_token_is_sent_with_the_idempotency_key() -> None:
    """With credentials, a command has an access token beside its idempotency key."""
    provider = Provider()
    answers = [ok({"access_token": "t1", "expires_in": 300}), ok(PAYMENT, 201)]
    asked: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answers.pop(0)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    provider.gateway = CardHttpGateway(BASE, client, Credentials("lastro", "hush"))
    await authorize(provider.gateway)
    assert asked[1].headers["authorization"] == "Bearer t1"
    assert asked[1].headers["idempotency-key"] == "authorize/pay_1"


async def test_a_payment_is_found_by_our_id() -> None:
    """A payment is read by our reference; one that the gateway does not know is None."""
    provider = Provider(ok({"data": [REFUNDED]}), ok({"data": []}), ok({"code": "down"}, 400), ok({}))
    found = await provider.gateway.payment("pay_1")
    assert found is not None
    assert found.authorized_until == "2026-01-08T00:00:00.000000Z"
    assert found.capture == CardMovement("cap_1", 1000, "pending")
    assert list(found.refunds) == [CardMovement("rfd_1", 10, "failed", "card_closed")]
    assert provider.asked[0].url.query == b"reference=pay_1"
    assert await provider.gateway.payment("pay_2") is None
    with pytest.raises(RailRefused):
        await provider.gateway.payment("pay_3")
    with pytest.raises(Unavailable):
        await provider.gateway.payment("pay_3")


LINE = {
    "id": "set_1",
    "type": "refund",
    "payment_reference": "pay_1",
    "reference": "rfd_1",
    "amount": -10,
    "settled_at": "2026-01-02T00:00:00-03:00",
}


async def test_a_page_of_the_settlement_report() -> None:
    """A page has its lines, refunds as negative amounts, and tells whether there is another one."""
    provider = Provider(ok({"data": [LINE], "has_more": True}), ok({"data": [{}], "has_more": False}), ok({}, 400))
    page = await provider.gateway.settlements(NOW, NOW.replace(day=3), 2)
    assert page.has_more
    assert page.lines[0][:5] == ("set_1", "pay_1", "rfd_1", -10, "2026-01-02T03:00:00.000000Z")
    assert dict(provider.asked[0].url.params)["page"] == "2"
    with pytest.raises(Unavailable):
        await provider.gateway.settlements(NOW, NOW, 0)
    with pytest.raises(RailRefused):
        await provider.gateway.settlements(NOW, NOW, 0)


def read(body: bytes, secret: bytes = SECRET, now: datetime = NOW) -> Any:
    headers = callback_signature.sign(secret, body, NOW)
    return CardHttpGateway("").read_callback(headers, body, secret=SECRET, now=now, window_seconds=300)


def test_a_callback_is_read_when_its_signature_is_right() -> None:
    """A signed callback gives its event; another secret, an old callback and another body are refused."""
    body = json.dumps({"id": "gwe_1", "type": "capture.succeeded", "payment": CAPTURED}).encode()
    event = read(body)
    assert (event.id, event.type, event.payment.capture.amount) == ("gwe_1", "capture.succeeded", 1000)
    with pytest.raises(Problem) as forged:
        read(body, b"guessed")
    assert forged.value.code == "invalid_signature"
    with pytest.raises(Problem) as old:
        read(body, now=NOW.replace(hour=1))
    assert old.value.code == "timestamp_out_of_window"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "malformed_request"),
        (b"{}", "validation_failed"),
        (json.dumps({"id": "gwe_1", "type": "x", "payment": PAYMENT | {"amount": 10.5}}).encode(), "validation_failed"),
        (json.dumps({"id": "gwe_1", "type": "x", "payment": PAYMENT | {"amount": -1}}).encode(), "validation_failed"),
    ],
)
def test_a_callback_that_is_none_of_the_gateways_is_refused(body: bytes, code: str) -> None:
    """A signed body that is not JSON, or not a callback of the gateway, is refused with the place of the error."""
    with pytest.raises(Problem) as refused:
        read(body)
    assert refused.value.code == code


def test_reports_are_stored_without_personal_data_and_card_numbers() -> None:
    """The cardholder, tokens and card numbers are masked wherever they stand; amounts and ids stay."""
    report = {
        "id": "gwp_1",
        "amount": 1050,
        "token": "tok_approve_1",
        "cardholder": {"name": "Ana Souza", "document": "52998224725"},
        "card": {"brand": "visa", "last_four": "1111"},
        "notes": [f"PAN {NUMBER}", int(NUMBER), True, None, {NUMBER: "4111 1111 1111 1111"}],
    }
    masked = masked_report(report)
    assert masked == {
        "id": "gwp_1",
        "amount": 1050,
        "token": "***ve_1",
        "cardholder": {"name": "***ouza", "document": "***4725"},
        "card": {"brand": "visa", "last_four": "1111"},
        "notes": ["PAN ***1111", "***1111", True, None, {"***1111": "***1111"}],
    }


async def test_a_report_with_an_invalid_field_shows_no_card_number() -> None:
    """The error about an answer that cannot be read names the field and never a card number."""
    answer = ok(PAYMENT | {"refunds": [{NUMBER: 1}], "capture": NUMBER})
    with pytest.raises(OutcomeUnknown) as raised:
        await cancel(Provider(answer).gateway)
    assert NUMBER not in str(raised.value)
