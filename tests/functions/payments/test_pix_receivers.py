"""The receivers of payments by PIX: keys are looked up within limits, and BR Codes are read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from embedded.simulators.pix_payload import PayloadKey
from shared.adapters.outgoing.client import HttpOutgoing
from shared.adapters.pix.br_code import dynamic_code
from shared.core.settings import Settings
from shared.ports.outgoing import OutgoingAnswer, OutgoingDocument, OutgoingError
from shared.records.rail_payments import LOOK_UPS
from tests.functions.providers.rail import PAID_KEY, RecordingPayments, pay_out, payment_callback, with_payments
from tests.harness import Harness

HOST = "pix.example.test"
LOCATION = f"{HOST}/qr/v2/1"
CODE = dynamic_code(LOCATION, "Ana Souza", "SAO PAULO")
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "pix.json").read_text())
WITHOUT_AMOUNT, _, RECURRING_ONLY, WITH_AMOUNT, _ = VECTORS["br_codes_valid"]
"""Codes of the Banco Central's manual: two with a key, and one for recurring payments only."""


@pytest.fixture
async def provider(harness: Harness) -> RecordingPayments:
    """The PIX provider of the harness."""
    return await with_payments(harness)


async def paid(harness: Harness, payer: str, **fields: Any) -> Any:
    """Create a payment by PIX, deliver all events, and return it as it is then."""
    made = await pay_out(harness, payer, **fields)
    await harness.run_events()
    return await harness.payment(made["id"])


async def payer_with(harness: Harness, funds: int = 1_000_000, **fields: Any) -> str:
    """Open an account with this balance, and return its id."""
    return str((await harness.account(funds, **fields))["id"])


async def test_a_key_that_does_not_exist_fails_the_payment(harness: Harness, provider: RecordingPayments) -> None:
    """A payment to a key that the directory does not have is not ordered: it fails with the reason and releases its
    hold."""
    provider.missing.add("ana@example.test")
    payer = await payer_with(harness)
    payment = await paid(harness, payer, pix={"key": "ana@example.test"})
    assert (payment["status"], payment["failure"]["code"]) == ("failed", "receiver_not_found")
    assert (provider.orders, (await harness.balance(payer))[1]) == ([], 0)


async def test_a_user_who_tries_keys_is_stopped(harness: Harness, provider: RecordingPayments) -> None:
    """Each unknown key takes twenty of a person's hundred look-ups; then the directory is not asked for that user any
    more, and is for others. Two look-ups are added every minute."""
    provider.missing.update(f"{number}@example.test" for number in range(10))
    payer = await payer_with(harness)
    codes = [
        (await paid(harness, payer, pix={"key": f"{number}@example.test"}))["failure"]["code"] for number in range(6)
    ]
    assert codes == ["receiver_not_found"] * 5 + ["look_ups_exhausted"]
    assert len(provider.looked_up) == 5
    other = (await harness.user("11144477735"))["id"]
    assert (await paid(harness, await payer_with(harness, owner_id=other)))["status"] == "processing"
    harness.clock.advance(timedelta(seconds=29))
    assert (await paid(harness, payer))["status"] == "failed"
    harness.clock.advance(timedelta(seconds=1))
    assert (await paid(harness, payer))["status"] == "processing"
    assert (await paid(harness, payer))["failure"]["code"] == "look_ups_exhausted"


async def test_a_payment_that_is_made_returns_its_look_up(harness: Harness, provider: RecordingPayments) -> None:
    """A look-up takes one of the user's tokens, and the payment returns it when it is made, once. A company has a
    thousand."""
    document = {"type": "cnpj", "number": "11222333000181"}
    company = (await harness.user("11222333000181", kind="merchant", document=document))["id"]
    payer = await payer_with(harness, owner_id=company)

    async def tokens() -> int:
        found = await harness.documents.get(LOOK_UPS, "acme", company)
        assert found is not None
        return found["tokens"]

    payments = [await paid(harness, payer) for _ in range(2)]
    assert await tokens() == 998
    report = provider.decide("settled")
    for _ in range(2):
        await payment_callback(harness, report)
        await harness.run_events()
    assert (await harness.payment(payments[1]["id"]))["status"] == "settled"
    assert await tokens() == 999


@pytest.mark.parametrize(("code", "value"), [(WITHOUT_AMOUNT, 1050), (WITH_AMOUNT, 10_050)])
async def test_the_static_codes_of_the_manual_are_paid(
    harness: Harness, provider: RecordingPayments, code: str, value: int
) -> None:
    """A static code of the Banco Central's manual is paid to its key."""
    await paid(harness, await payer_with(harness), value=value, pix={"br_code": code})
    assert provider.orders[0].receiver == {"key": "123e4567-e12b-12d1-a456-426655440000"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (WITHOUT_AMOUNT[:-1] + "C", "The checksum of the code is wrong"),
        (WITHOUT_AMOUNT.replace("63041D3D", "6304D3D"), "A code ends with 6304 and four hexadecimal digits"),
        (WITH_AMOUNT, "The code is of 10050 minor units, and the payment of 1050"),
        (RECURRING_ONLY, "The code is for recurring payments"),
    ],
)
async def test_a_code_that_cannot_be_paid_is_refused(
    harness: Harness, provider: RecordingPayments, code: str, reason: str
) -> None:
    """A code that is damaged, of another amount or for recurring payments only is refused when the payment is made,
    with the reason."""
    body = {
        "amount": {"value": 1050, "currency": "BRL"},
        "method": "pix",
        "payer_account_id": await payer_with(harness),
        "pix": {"br_code": code},
    }
    answer = await harness.call("POST", "/v1/payments", body)
    assert (answer.status, answer.code) == (422, "validation_failed")
    (error,) = answer.json["errors"]
    assert error["pointer"] == "/pix/br_code"
    assert error["detail"].startswith(reason)


@dataclass
class Places:
    """The documents of the internet, by URL."""

    documents: dict[str, OutgoingDocument] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def refusal(self, url: str) -> str | None:
        del url
        return None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutgoingAnswer:
        raise AssertionError("terms are read")

    async def get(self, url: str, headers: Mapping[str, str]) -> OutgoingDocument:
        del headers
        self.asked.append(url)
        return self.documents.get(url, OutgoingDocument(404, None, b""))

    def url_of(self, location: str) -> str:
        return f"https://{location}"

    def put(self, url: str, content: bytes, status: int = 200, error: OutgoingError | None = None) -> None:
        """Store a document."""
        self.documents[url] = OutgoingDocument(status, error, content)


KEY = PayloadKey()
KEYS_URL = f"https://{HOST}/jwks"


def terms(harness: Harness, **more: Any) -> dict[str, Any]:
    """Return the terms of a charge of 10.50."""
    created = f"{harness.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    return {
        "status": "ATIVA",
        "calendario": {"criacao": created, "expiracao": 3600},
        "valor": {"original": "10.50"},
        "chave": PAID_KEY,
        "txid": "a" * 26,
        **more,
    }


@pytest.fixture
def places(harness: Harness) -> Places:
    """The internet, with the terms of CODE."""
    found = Places()
    harness.runtime.outgoing = found
    found.put(f"https://{LOCATION}", KEY.sign(terms(harness), KEYS_URL).encode())
    found.put(KEYS_URL, orjson.dumps(KEY.jwks()))
    return found


async def test_a_dynamic_code_is_paid_by_its_terms(
    harness: Harness, provider: RecordingPayments, places: Places
) -> None:
    """The key and the txid of a dynamic code are those of the signed terms at its location."""
    payment = await paid(harness, await payer_with(harness), pix={"br_code": CODE})
    assert payment["status"] == "processing"
    assert provider.orders[0].receiver == {"key": PAID_KEY, "txid": "a" * 26}
    assert places.asked == [f"https://{LOCATION}", KEYS_URL]


OTHER_KEY = PayloadKey()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"valor": {"original": "10.51"}}, "are of 1051 minor units, and the payment of 1050"),
        ({"valor": {"original": "10.50", "final": "11.00"}}, "are of 1100 minor units"),
        ({"valor": {}}, "have no amount"),
        ({"status": "CONCLUIDA"}, "cannot be paid any more"),
        ({"status": "REMOVIDA_PELO_USUARIO_RECEBEDOR"}, "cannot be paid any more"),
        ({"calendario": {"criacao": "2020-01-01T00:00:00Z", "expiracao": 60}}, "have expired"),
        ({"calendario": {"expiracao": 60}}, "do not say until when"),
        # Its last day was 30 December 2025; the tests begin on the 31st in São Paulo.
        ({"calendario": {"dataDeVencimento": "2025-12-29", "validadeAposVencimento": 1}}, "have expired"),
        ({"calendario": {"dataDeVencimento": "2025-12-29"}}, "do not say until when"),
        ({"chave": "no key"}, "have no PIX key"),
    ],
)
async def test_terms_that_do_not_fit_fail_the_payment(
    harness: Harness, provider: RecordingPayments, places: Places, change: dict[str, Any], reason: str
) -> None:
    """A payment whose amount or time does not fit the signed terms fails with the reason, and nothing is ordered or
    looked up."""
    places.put(f"https://{LOCATION}", KEY.sign(terms(harness, **change), KEYS_URL).encode())
    payment = await paid(harness, await payer_with(harness), pix={"br_code": CODE})
    assert payment["failure"]["code"] == "br_code_refused"
    assert reason in payment["failure"]["detail"]
    assert (provider.orders, provider.looked_up) == ([], [])


@pytest.mark.parametrize(
    ("signed_by", "keys_url", "reason"),
    [
        (OTHER_KEY, KEYS_URL, "have no valid signature"),
        (OTHER_KEY, "https://elsewhere.example.test/jwks", "name keys at another host"),
        (KEY, f"http://{HOST}/jwks", "name keys at another host"),
        (KEY, f"https://{HOST}:444/jwks", "name keys at another host"),
        (KEY, f"https://{HOST}/other", "are not there: their host answers 404"),
        (None, KEYS_URL, "are not signed"),
    ],
)
async def test_terms_that_their_host_has_not_signed_are_refused(
    harness: Harness,
    provider: RecordingPayments,
    places: Places,
    signed_by: PayloadKey | None,
    keys_url: str,
    reason: str,
) -> None:
    """Terms count only with a signature by a key of the host that serves them; keys of other hosts are not asked
    for."""
    content = orjson.dumps(terms(harness)) if signed_by is None else signed_by.sign(terms(harness), keys_url).encode()
    places.put(f"https://{LOCATION}", content)
    payment = await paid(harness, await payer_with(harness), pix={"br_code": CODE})
    assert payment["failure"]["code"] == "br_code_refused"
    assert reason in payment["failure"]["detail"]
    assert provider.orders == []
    assert not [url for url in places.asked if "elsewhere" in url or url.startswith("http://")]


@pytest.mark.parametrize("error", ["address_refused", "redirect_refused", "tls_failed", "invalid_response"])
async def test_a_location_that_is_refused_fails_the_payment(
    harness: Harness, provider: RecordingPayments, places: Places, error: OutgoingError
) -> None:
    """A location in a private network, with a redirect or without a valid certificate fails the payment at once."""
    places.put(f"https://{LOCATION}", b"", error=error)
    payment = await paid(harness, await payer_with(harness), pix={"br_code": CODE})
    assert payment["failure"]["code"] == "br_code_refused"
    assert error in payment["failure"]["detail"]


async def test_a_code_with_a_private_location_reaches_nothing(harness: Harness, provider: RecordingPayments) -> None:
    """A code whose location is the metadata service of a cloud is refused without a connection to it (SSRF)."""

    async def resolve(host: str, port: int) -> list[str]:
        del host, port
        return ["169.254.169.254"]

    outgoing = HttpOutgoing(Settings(), resolve)
    harness.runtime.outgoing = outgoing
    code = dynamic_code("metadata.example.test/latest", "Ana", "SP")
    payment = await paid(harness, await payer_with(harness), pix={"br_code": code})
    assert payment["failure"]["code"] == "br_code_refused"
    assert "address_refused" in payment["failure"]["detail"]
    await outgoing.aclose()


async def test_terms_that_cannot_be_read_are_tried_for_a_minute(
    harness: Harness, provider: RecordingPayments, places: Places
) -> None:
    """While the host of the terms does not answer, the payment waits; after a minute it fails, since nothing was
    ordered."""
    places.put(f"https://{LOCATION}", b"", 503)
    made = await pay_out(harness, await payer_with(harness), pix={"br_code": CODE})
    for operation in ("accounts/hold_funds", "payments/authorize"):
        assert (await harness.deliver(operation, harness.events[-1])).status == 204
    requested = harness.events[-1]
    assert (await harness.deliver("providers/submit_payment", requested)).status == 503
    harness.clock.advance(timedelta(seconds=59))
    assert (await harness.deliver("providers/submit_payment", requested)).status == 503
    harness.clock.advance(timedelta(seconds=1))
    assert (await harness.deliver("providers/submit_payment", requested)).status == 204
    await harness.run_events()
    assert (await harness.payment(made["id"]))["failure"]["code"] == "br_code_refused"
