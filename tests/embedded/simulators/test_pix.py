"""The PIX simulator and the adapter that speaks to it, over HTTP without a socket."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from embedded.simulators.access import ApiClient
from embedded.simulators.callbacks import HttpPost, callback_secret
from embedded.simulators.pix import PREFIX, PixSimulator
from embedded.simulators.program import ConnectionCut
from shared.adapters.memory.stores import MemorySecrets
from shared.adapters.pix.br_code import static_code
from shared.adapters.pix.formats import DEPOSIT_NOTE
from shared.adapters.pix.rail import DEFAULT_KEY, PixHttpRail
from shared.adapters.providers import callback_signature as provider_signature
from shared.core.clock import ManualClock
from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown, RailRefused, ReturnOrder
from tests.predictable import PredictableSecretSource

SECRET = b"shared with the platform"
TXID = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4"
OTHER = "ffffffffffffffffffffffffffffffff"
WEBHOOK = "http://platform.test/v1/providers/pix/callbacks"
BASE = f"http://platform.test{PREFIX}"


class Platform:
    """A platform that checks the signature of callbacks, records their reports, and can be made unavailable."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.reports: list[Any] = []
        self.frauds: list[Any] = []
        self.refusals: list[int | OSError] = []

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        assert url in (f"{WEBHOOK}/pix", f"{WEBHOOK}/med")
        provider_signature.verify(SECRET, headers, body, self._clock.now(), 300)
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, OSError):
                raise refusal
            return refusal
        document = orjson.loads(body)
        self.reports += document.get("pix", [])
        self.frauds += document.get("infractionReports", [])
        return 200


class Bench:
    """A simulator, the platform to which it sends callbacks, and the pauses that it made."""

    def __init__(self, journal: Path | None = None) -> None:
        self.clock = ManualClock()
        self.platform = Platform(self.clock)
        self.slept: list[float] = []
        self.simulator = PixSimulator(
            SECRET, self.clock, Random(1), self.platform, journal, self._sleep, base_url="http://platform.test"
        )
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.rail = PixHttpRail(BASE, client=self.client)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self.simulator(
            HttpRequest(
                request.method, request.url.path, request.url.query.decode(), dict(request.headers), request.content
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    async def send(self, method: str, path: str, body: Any = None) -> HttpResponse:
        """Send a request to the simulator."""
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return await self.simulator(HttpRequest(method, PREFIX + path, "", {}, raw))

    async def charge(self, txid: str = TXID, centavos: int = 1050) -> None:
        """Request a charge through the adapter, and run the simulator's tasks."""
        await self.rail.request_charge(txid, centavos, "BRL", WEBHOOK)
        await self.settle()

    async def fault(self, fault: str, **more: Any) -> None:
        """Order a fault."""
        assert (await self.send("POST", "/faults", {"fault": fault, **more})).status == 202

    async def settle(self) -> None:
        """Let the simulator's tasks run."""
        for _ in range(2000):
            simulator = self.simulator
            reporters = (simulator.reporter, simulator.returns_reporter, simulator.frauds_reporter)
            if not any(reporter.tasks for reporter in reporters):
                return
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.simulator.close()
        await self.rail.aclose()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A simulator in memory."""
    made = Bench()
    yield made
    await made.close()


async def test_a_charge_is_paid_at_once_and_reported_by_a_signed_callback(bench: Bench) -> None:
    """The report has the id of the charge, the amount in the rail's format, and a valid end-to-end id."""
    await bench.charge()
    (report,) = bench.platform.reports
    assert (report["txid"], report["valor"], report["chave"]) == (TXID, "10.50", DEFAULT_KEY)
    assert report["endToEndId"].startswith("E99999004202601010000")
    assert (len(report["endToEndId"]), report["endToEndId"].isalnum()) == (32, True)
    shown = orjson.loads((await bench.send("GET", f"/cob/{TXID}")).body)
    assert (shown["status"], shown["valor"]) == ("CONCLUIDA", {"original": "10.50"})


async def test_a_repeated_charge_has_no_further_effect(bench: Bench) -> None:
    """A charge that is requested several times is paid once."""
    for _ in range(3):
        await bench.charge()
    assert len(bench.platform.reports) == 1


async def test_another_charge_under_a_txid_in_use_is_refused(bench: Bench) -> None:
    """A different charge under a used txid is refused, and the adapter distinguishes this from a repetition."""
    await bench.charge()
    with pytest.raises(RailRefused) as refused:
        await bench.charge(centavos=1)
    assert refused.value.code == "txid"


async def test_a_callback_is_sent_until_it_is_accepted(bench: Bench) -> None:
    """A callback that is refused or not answered is sent again after increasing pauses."""
    bench.platform.refusals = [503, OSError("refused"), 401, 500]
    await bench.charge()
    assert len(bench.platform.reports) == 1
    assert bench.slept == [0.2, 0.4, 0.8, 1.6]


@pytest.mark.parametrize(
    ("fault", "values", "slept"),
    [
        ("late", ["10.50"], [7.5]),
        ("twice", ["10.50", "10.50"], []),
        ("never", [], []),
        ("wrong_amount", ["10.51"], []),
        ("out_of_order", ["10.50"], []),
    ],
)
@pytest.mark.parametrize("addressed", [True, False])
async def test_a_fault_concerns_one_charge(
    bench: Bench, fault: str, values: list[str], slept: list[float], addressed: bool
) -> None:
    """A fault concerns the charge that it names, or the next one, and no other."""
    await bench.fault(fault, seconds=7.5, **({"txid": TXID} if addressed else {}))
    await bench.charge()
    assert [report["valor"] for report in bench.platform.reports] == values
    assert len({report["endToEndId"] for report in bench.platform.reports}) <= 1
    assert bench.slept == slept
    bench.platform.reports.clear()
    await bench.charge(OTHER, 7)
    assert [report["valor"] for report in bench.platform.reports] == ["0.07"]


async def test_out_of_order_the_callback_arrives_before_the_answer(bench: Bench) -> None:
    """With the fault `out_of_order`, the callback arrives before the answer, which shows the charge as unpaid."""
    await bench.send("PUT", f"/webhook/{DEFAULT_KEY}", {"webhookUrl": WEBHOOK})
    await bench.fault("out_of_order")
    body = {"valor": {"original": "1.00"}, "chave": DEFAULT_KEY, "infoAdicionais": [DEPOSIT_NOTE]}
    answer = await bench.send("PUT", f"/cob/{TXID}", body)
    assert len(bench.platform.reports) == 1
    assert (answer.status, orjson.loads(answer.body)["status"]) == (201, "ATIVA")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/cob/short", {"valor": {"original": "1.00"}, "chave": "k"}, 400),
        ("PUT", f"/cob/{TXID}", {"valor": {"original": "1"}, "chave": "k"}, 400),
        ("PUT", f"/cob/{TXID}", {"valor": {"original": "0.00"}, "chave": "k"}, 400),
        ("PUT", f"/cob/{TXID}", {"valor": {"original": "1.00"}}, 400),
        ("PUT", f"/cob/{TXID}", b"nothing", 400),
        ("GET", f"/cob/{TXID}", None, 404),
        ("PUT", "/webhook/k", {"webhookUrl": "ftp://x"}, 400),
        ("PUT", "/webhook/k", b"[]", 400),
        ("POST", "/faults", {"fault": "explode"}, 400),
        ("GET", "/elsewhere", None, 404),
    ],
)
async def test_an_invalid_request_is_refused(bench: Bench, method: str, path: str, body: Any, status: int) -> None:
    """An invalid request gets its status, and a problem in the rail's format."""
    answer = await bench.send(method, path, body)
    assert answer.status == status
    assert orjson.loads(answer.body)["type"].startswith("https://pix.bcb.gov.br/api/v2/error/")


async def test_a_method_that_is_not_allowed(bench: Bench) -> None:
    """A method that is not allowed is answered with 405 and Allow, and OPTIONS with Allow."""
    with pytest.raises(Problem, match="GET, HEAD, OPTIONS, PATCH, PUT") as caught:
        await bench.send("DELETE", f"/cob/{TXID}", None)
    assert caught.value.status == 405
    options = await bench.send("OPTIONS", f"/cob/{TXID}", None)
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PATCH, PUT")


async def test_an_unsent_callback_is_sent_after_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a kill, the simulator has its charges and webhooks, sends unsent callbacks and repeats no sent ones; lines
    that are damaged are logged with their numbers."""
    journal = tmp_path / "journal.jsonl"
    first = Bench(journal)
    await first.charge(OTHER, 5)
    first.platform.refusals = [503] * 100_000
    await first.rail.request_charge(TXID, 1050, "BRL", WEBHOOK)
    await asyncio.sleep(0)
    for task in list(first.simulator.reporter.tasks):
        task.cancel()
    with journal.open("ab") as file:
        lines = len(journal.read_bytes().splitlines())
        file.write(b'5\n["charge", 5]\n["charge", {"txid": "cut off in the midd')
    second = Bench(journal)
    second.simulator.start()
    await second.settle()
    assert [report["txid"] for report in second.platform.reports] == [TXID]
    assert [record.getMessage() for record in caplog.records if record.name == "embedded.simulators.journal"] == [
        f"{journal}:{lines + number} is damaged and left out" for number in (1, 2, 3)
    ]
    await second.charge(OTHER, 5)
    await second.close()
    third = Bench(journal)
    third.simulator.start()
    await third.settle()
    assert third.platform.reports == []
    # Two charges, their payments, and the webhook of the key.
    assert len(journal.read_bytes().splitlines()) == 5
    assert journal.stat().st_mode & 0o777 == 0o600
    for made in (first, third):
        await made.close()


async def test_the_secret_is_made_once_and_stored(bench: Bench) -> None:
    """The simulator and the platform use the same stored secret."""
    secrets = MemorySecrets()
    made = await callback_secret("pix", secrets, PredictableSecretSource(1))
    assert len(made) == 64
    assert await callback_secret("pix", secrets, PredictableSecretSource(2)) == made
    assert await secrets.get("providers/pix/callback-secret") == made


async def test_a_post_that_is_not_answered_is_an_error_of_the_connection() -> None:
    """Any error of the HTTP client while sending a callback counts as no answer."""

    async def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too slow", request=request)

    post = HttpPost(httpx.AsyncClient(transport=httpx.MockTransport(fail)))
    with pytest.raises(OSError, match="ReadTimeout"):
        await post(WEBHOOK, {}, b"{}")
    await post.aclose()


def rail_answering(*answers: httpx.Response | Exception) -> tuple[PixHttpRail, list[httpx.Request]]:
    """Return an adapter to a provider that gives these answers one after the other, and the list of its requests."""
    asked: list[httpx.Request] = []
    left = list(answers)

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return PixHttpRail(BASE, client=httpx.AsyncClient(transport=httpx.MockTransport(answer))), asked


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("down"),
        httpx.ReadTimeout("slow"),
        *(httpx.Response(s) for s in (500, 503, 401, 403, 404, 429)),
    ],
)
async def test_a_temporary_error_leaves_the_outcome_unknown(answer: httpx.Response | Exception) -> None:
    """A timeout or a server error of the provider is not a refusal, and the next request sends the webhook again. If
    the request may have arrived, the charge is read first."""
    maybe = isinstance(answer, httpx.ReadTimeout) or (isinstance(answer, httpx.Response) and answer.is_server_error)
    reads = [httpx.Response(404)] if maybe else []
    rail, asked = rail_answering(httpx.Response(200), answer, *reads, httpx.Response(200), httpx.Response(201))
    with pytest.raises(Unavailable):
        await rail.request_charge(TXID, 1, "BRL", WEBHOOK)
    await rail.request_charge(TXID, 1, "BRL", WEBHOOK)
    steps = [f"{request.method} {request.url.path.split('/')[3]}" for request in asked]
    assert steps == ["PUT webhook", "PUT cob", *["GET cob"] * len(reads), "PUT webhook", "PUT cob"]
    await rail.aclose()


async def test_a_refused_repetition_of_a_charge_is_no_refusal() -> None:
    """When a provider refuses a known id for the same charge, the adapter finds the charge and reports no refusal."""
    known = httpx.Response(200, json={"valor": {"original": "0.01"}})
    rail, _ = rail_answering(httpx.Response(200), httpx.Response(409), known)
    await rail.request_charge(TXID, 1, "BRL", WEBHOOK)
    await rail.aclose()


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (
            httpx.Response(400, json={"type": "https://pix.bcb.gov.br/api/v2/error/CobOperacaoInvalida"}),
            "CobOperacaoInvalida",
        ),
        (httpx.Response(422, text="no"), "http_422"),
        (httpx.Response(400, json=[]), "http_400"),
    ],
)
async def test_a_refusal_carries_the_providers_code(refusal: httpx.Response, code: str) -> None:
    """A refusal has the code from the problem's type, or else the status."""
    rail, _ = rail_answering(httpx.Response(200), refusal, httpx.Response(404))
    with pytest.raises(RailRefused) as refused:
        await rail.request_charge(TXID, 1, "BRL", WEBHOOK)
    assert refused.value.code == code
    await rail.aclose()


async def test_pix_supports_only_brl() -> None:
    """A charge in another currency than BRL is refused without a request to the provider."""
    rail, asked = rail_answering()
    with pytest.raises(RailRefused):
        await rail.request_charge(TXID, 1, "USD", WEBHOOK)
    assert asked == []
    await rail.aclose()


# The provider's API


async def created(bench: Bench, txid: str = TXID, **more: Any) -> Any:
    """Create a charge that is not a deposit's, and return it."""
    await bench.send("PUT", f"/webhook/{DEFAULT_KEY}", {"webhookUrl": WEBHOOK})
    answer = await bench.send("PUT", f"/cob/{txid}", {"valor": {"original": "1.00"}, "chave": DEFAULT_KEY, **more})
    assert answer.status == 201, answer.body
    return orjson.loads(answer.body)


async def shown(bench: Bench, path: str, query: str = "") -> Any:
    answer = await bench.simulator(HttpRequest("GET", PREFIX + path, query, {}, b""))
    assert answer.status == 200, answer.body
    return orjson.loads(answer.body)


async def test_a_charge_of_a_tenant_waits_for_its_payer(bench: Bench) -> None:
    """A charge that is not a deposit's is active until its code is paid; then it shows the payment."""
    charge = await created(bench)
    await bench.settle()
    assert bench.platform.reports == []
    assert (await shown(bench, f"/cob/{TXID}"))["status"] == "ATIVA"
    assert (await bench.send("POST", "/payments", {"br_code": charge["pixCopiaECola"]})).status == 202
    await bench.settle()
    paid = await shown(bench, f"/cob/{TXID}")
    assert (paid["status"], paid["pix"]) == ("CONCLUIDA", bench.platform.reports)
    state = await bench.rail.charge_state(TXID)
    assert state is not None
    assert [receipt.id for receipt in state.receipts] == [bench.platform.reports[0]["endToEndId"]]


async def test_a_charge_is_changed_and_removed(bench: Bench) -> None:
    """A change counts a revision; a removal ends the charge, and a request that does both is refused."""
    charge = await created(bench)
    path, location = f"/cob/{TXID}", charge["location"].partition("/simulators/pix")[2]
    changed = await bench.send("PATCH", path, {"valor": {"original": "2.00"}, "solicitacaoPagador": "Hurry"})
    document = orjson.loads(changed.body)
    assert (document["revisao"], document["valor"], document["solicitacaoPagador"]) == (
        1,
        {"original": "2.00"},
        "Hurry",
    )
    both = {"status": "REMOVIDA_PELO_USUARIO_RECEBEDOR", "calendario": {"expiracao": 5}}
    assert (await bench.send("PATCH", path, both)).status == 400
    assert (await bench.send("GET", location)).status == 200
    removed = await bench.send("PATCH", path, {"status": "REMOVIDA_PELO_USUARIO_RECEBEDOR"})
    assert orjson.loads(removed.body)["status"] == "REMOVIDA_PELO_USUARIO_RECEBEDOR"
    assert (await bench.send("PATCH", path, {"valor": {"original": "3.00"}})).status == 400
    assert (await bench.send("PATCH", f"/cob/{OTHER}", {})).status == 404
    assert (await bench.send("PATCH", path, b"x")).status == 400
    assert (await bench.send("GET", location)).status == 410
    state = await bench.rail.charge_state(TXID)
    assert state is not None
    assert state.is_removed


async def test_the_terms_of_an_expired_charge_are_gone(bench: Bench) -> None:
    """The location of a charge answers 410 after its expiry, and 404 when it was never one."""
    charge = await created(bench, calendario={"expiracao": 60})
    location = charge["location"].partition("/simulators/pix")[2]
    assert (await bench.send("GET", location)).status == 200
    bench.clock.advance(timedelta(seconds=60))
    assert (await bench.send("GET", location)).status == 410
    assert (await bench.send("GET", "/qr/unknown")).status == 404


async def test_payments_and_charges_are_listed_by_time(bench: Bench) -> None:
    """Payments and charges of a period are listed in pages, oldest first; both ends of the period count."""
    codes = []
    for txid in (TXID, OTHER):
        codes.append((await created(bench, txid))["pixCopiaECola"])
        await bench.send("POST", "/payments", {"br_code": codes[-1]})
        bench.clock.advance(timedelta(minutes=1))
    day = "inicio=2026-01-01T00:00:00Z&fim=2026-01-02T00:00:00Z"
    paging = "&paginacao.itensPorPagina=1&paginacao.paginaAtual="
    pages = [await shown(bench, "/pix", f"{day}{paging}{number}") for number in (0, 1, 2)]
    assert [[one["txid"] for one in page["pix"]] for page in pages] == [[TXID], [OTHER], []]
    assert pages[0]["parametros"]["paginacao"] == {
        "paginaAtual": 0,
        "itensPorPagina": 1,
        "quantidadeDePaginas": 2,
        "quantidadeTotalDeItens": 2,
    }
    assert [one["txid"] for one in (await shown(bench, "/cob", day))["cobs"]] == [TXID, OTHER]
    first = "inicio=2026-01-01T00:00:00Z&fim=2026-01-01T00:00:00Z"
    assert [one["txid"] for one in (await shown(bench, "/pix", first))["pix"]] == [TXID]
    found = await bench.rail.received(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), 0)
    assert ([one.reference for one in found.receipts], found.has_more) == ([TXID, OTHER], False)
    for query in ("", "inicio=x&fim=y", f"{day}&paginacao.itensPorPagina=0", f"{day}&paginacao.paginaAtual=x"):
        answer = await bench.simulator(HttpRequest("GET", f"{PREFIX}/pix", query, {}, b""))
        assert answer.status == 400
    assert (await bench.send("GET", "/pix/unknown")).status == 404


async def test_a_static_code_is_paid(bench: Bench) -> None:
    """A static code of a known key is paid and reported with its txid; without a txid it is only listed, and an unknown
    key or a missing amount is refused."""
    await created(bench)
    code = static_code(DEFAULT_KEY, "A", "B", amount=700, txid="shop1")
    assert (await bench.send("POST", "/payments", {"br_code": code, "fault": "out_of_order"})).status == 202
    plain = static_code(DEFAULT_KEY, "A", "B")
    assert (await bench.send("POST", "/payments", {"br_code": plain})).status == 422
    brl = {"value": 5, "currency": "BRL"}
    answer = await bench.send("POST", "/payments", {"br_code": plain, "amount": brl})
    await bench.settle()
    assert [(one["txid"], one["valor"]) for one in bench.platform.reports] == [("shop1", "7.00")]
    listed = await shown(bench, f"/pix/{orjson.loads(answer.body)['endToEndId']}")
    assert (listed["valor"], "txid" in listed) == ("0.05", False)
    stranger = static_code("ana@example.com", "A", "B", amount=1)
    assert (await bench.send("POST", "/payments", {"br_code": stranger})).status == 422
    too_much = {"br_code": plain, "amount": {"value": 10**12, "currency": "BRL"}}
    assert (await bench.send("POST", "/payments", too_much)).status == 422


async def test_a_webhook_is_shown_and_deleted(bench: Bench, tmp_path: Path) -> None:
    """A webhook is shown, and after its deletion it is gone, also after a restart."""
    del bench
    first = Bench(tmp_path / "journal.jsonl")
    await created(first)
    path = f"/webhook/{DEFAULT_KEY}"
    assert (await shown(first, path))["webhookUrl"] == WEBHOOK
    assert (await first.send("DELETE", path)).status == 204
    await first.close()
    second = Bench(tmp_path / "journal.jsonl")
    second.simulator.start()
    assert [(await second.send(method, path)).status for method in ("GET", "DELETE")] == [404, 404]
    await second.close()


async def test_an_ordered_error_refuses_one_request(bench: Bench) -> None:
    """The fault 500 refuses the next request without an effect; the fault cut loses the answer of one that had it."""
    await bench.fault("500")
    with pytest.raises(OutcomeUnknown):
        await bench.rail.request_charge(TXID, 1050, "BRL", WEBHOOK)
    assert (await bench.send("GET", f"/cob/{TXID}")).status == 404
    await bench.fault("cut")
    with pytest.raises(ConnectionCut):
        await bench.send("PUT", f"/cob/{OTHER}", {"valor": {"original": "1.00"}, "chave": DEFAULT_KEY})
    assert (await bench.send("GET", f"/cob/{OTHER}")).status == 200


async def test_the_api_needs_a_token_when_a_client_is_set(bench: Bench) -> None:
    """With a client, the API denies requests without a valid token, which the client gets by its credentials and which
    ends; terms and payments need none."""
    del bench
    clock = ManualClock()
    simulator = PixSimulator(SECRET, clock, Random(1), Platform(clock), client=ApiClient("lastro", "hush"))

    async def send(method: str, path: str, body: bytes = b"", **headers: str) -> HttpResponse:
        return await simulator(HttpRequest(method, PREFIX + path, "", headers, body))

    async def token(credentials: bytes, grant: bytes = b"client_credentials") -> HttpResponse:
        basic = f"Basic {b64encode(credentials).decode()}"
        return await send("POST", "/oauth/token", b"grant_type=" + grant, authorization=basic)

    assert (await token(b"lastro:wrong")).status == 401
    assert (await token(b"lastro:hush", b"password")).status == 400
    assert (await send("POST", "/oauth/token", b"grant_type=client_credentials", authorization="Basic ?")).status == 401
    issued = orjson.loads((await token(b"lastro:hush")).body)
    bearer = f"Bearer {issued['access_token']}"
    statuses = [(await send("GET", f"/cob/{TXID}", authorization=sent)).status for sent in ("", "Bearer x", bearer)]
    assert statuses == [403, 403, 404]
    clock.advance(timedelta(seconds=issued["expires_in"]))
    assert (await send("GET", f"/cob/{TXID}", authorization=bearer)).status == 403
    assert (await send("POST", "/payments", b"{}")).status == 400
    await simulator.close()


async def test_a_location_that_does_not_fit_a_code_is_an_error(bench: Bench) -> None:
    """A simulator at a host whose locations are too long for a BR Code says so."""
    del bench
    clock = ManualClock()
    simulator = PixSimulator(SECRET, clock, Random(1), Platform(clock), base_url=f"http://{'h' * 60}.test")
    body = orjson.dumps({"valor": {"original": "1.00"}, "chave": "k"})
    answer = await simulator(HttpRequest("PUT", f"{PREFIX}/cob/{TXID}", "", {}, body))
    assert (answer.status, b"too long" in answer.body) == (500, True)
    await simulator.close()


# Returns


async def paid_charge(bench: Bench) -> str:
    """Pay a charge of 10.50, and return the end-to-end id of the payment."""
    await bench.rail.request_charge(TXID, 1050, "BRL", WEBHOOK)
    await bench.settle()
    return str(bench.platform.reports[-1]["endToEndId"])


async def test_a_return_is_reported_with_its_payment(bench: Bench) -> None:
    """A return is answered as in progress, and its outcome is reported with the payment; a repeated command makes no
    second one."""
    end_to_end_id = await paid_charge(bench)
    order = ReturnOrder(end_to_end_id, OTHER, 400, "Out of stock")
    states = [await bench.rail.request_return(order) for _ in range(2)]
    await bench.settle()
    assert [state.status for state in states] == ["processing", "returned"]
    (report,) = bench.platform.reports[1:]
    (returned,) = report["devolucoes"]
    assert (report["endToEndId"], returned["id"], returned["status"], returned["valor"]) == (
        end_to_end_id,
        OTHER,
        "DEVOLVIDO",
        "4.00",
    )
    assert len(returned["rtrId"]) == 32
    assert await bench.rail.return_state(end_to_end_id, OTHER) == states[1]
    assert await bench.rail.return_state(end_to_end_id, "unknown") is None
    listed = orjson.loads((await bench.send("GET", f"/pix/{end_to_end_id}", None)).body)
    assert listed["devolucoes"] == [returned]


async def test_returns_do_not_exceed_their_payment(bench: Bench) -> None:
    """Parts are returned up to the amount of the payment, for ninety days; one that was refused counts no more."""
    end_to_end_id = await paid_charge(bench)
    path = f"/pix/{end_to_end_id}/devolucao"
    assert (await bench.send("POST", "/faults", {"fault": "refused", "payments": "returned"})).status == 202
    assert (await bench.send("PUT", f"{path}/1", {"valor": "10.50"})).status == 201
    refused = orjson.loads((await bench.send("GET", f"{path}/1", None)).body)
    assert (refused["status"], "liquidacao" in refused["horario"]) == ("NAO_REALIZADO", False)
    assert (await bench.send("PUT", f"{path}/2", {"valor": "10.00"})).status == 201
    for name, body, status in (
        ("3", {"valor": "0.51"}, 400),
        ("2", {"valor": "9.00"}, 409),
        ("a-b", {"valor": "0.10"}, 400),
        ("3", {"valor": "0"}, 400),
    ):
        assert (await bench.send("PUT", f"{path}/{name}", body)).status == status
    assert (await bench.send("PUT", "/pix/unknown/devolucao/1", {"valor": "1.00"})).status == 404
    bench.clock.advance(timedelta(days=90, seconds=1))
    assert (await bench.send("PUT", f"{path}/3", {"valor": "0.50"})).status == 400


@pytest.mark.parametrize("fault", ["late", "twice", "out_of_order", "never"])
async def test_faults_of_a_return(bench: Bench, fault: str) -> None:
    """The report of a return comes late, twice, before the answer, or never; the provider has made it in each case."""
    end_to_end_id = await paid_charge(bench)
    await bench.send("POST", "/faults", {"fault": fault, "payments": "returned", "seconds": 3})
    await bench.rail.request_return(ReturnOrder(end_to_end_id, OTHER, 400, None))
    if fault == "out_of_order":
        assert len(bench.platform.reports) == 2
    await bench.settle()
    assert len(bench.platform.reports) - 1 == {"twice": 2, "never": 0}.get(fault, 1)
    state = await bench.rail.return_state(end_to_end_id, OTHER)
    assert state is not None
    assert state.status == "returned"
    assert (await bench.send("POST", "/faults", {"fault": "500", "payments": "returned"})).status == 400
    assert (await bench.send("POST", "/faults", {"fault": "refused"})).status == 400


async def test_an_unsent_report_of_a_return_is_sent_after_a_restart(tmp_path: Path) -> None:
    """After a kill, the simulator has its returns and reports those that were not reported."""
    journal = tmp_path / "journal.jsonl"
    first = Bench(journal)
    end_to_end_id = await paid_charge(first)
    first.platform.refusals = [503] * 100_000
    await first.rail.request_return(ReturnOrder(end_to_end_id, OTHER, 400, None))
    await first.close()
    second = Bench(journal)
    second.simulator.start()
    await second.settle()
    assert [one["devolucoes"][0]["id"] for one in second.platform.reports] == [OTHER]
    await second.close()


# Reports of fraud


async def test_a_payment_is_reported_as_a_fraud(bench: Bench) -> None:
    """A report is sent until it is accepted; the decision closes it, the same one again changes nothing, and another
    one is refused."""
    end_to_end_id = await paid_charge(bench)
    bench.platform.refusals = [503]
    order = {"endToEndId": end_to_end_id, "valor": "4.00", "reportDetails": "Not mine"}
    made = orjson.loads((await bench.send("POST", "/frauds", order)).body)
    await bench.settle()
    (report,) = bench.platform.frauds
    assert report == made
    assert (report["endToEndId"], report["txid"], report["valor"], report["status"]) == (
        end_to_end_id,
        TXID,
        "4.00",
        "OPEN",
    )
    for _ in range(2):
        await bench.rail.answer_fraud_report(report["id"], False, "Delivered")
    with pytest.raises(RailRefused, match="DISAGREED"):
        await bench.rail.answer_fraud_report(report["id"], True, None)
    shown = orjson.loads((await bench.send("GET", f"/infraction-reports/{report['id']}", None)).body)
    assert (shown["status"], shown["analysisResult"], shown["analysisDetails"]) == ("CLOSED", "DISAGREED", "Delivered")
    assert (await bench.send("POST", "/frauds", {"id": report["id"]})).status == 422


async def test_a_report_of_fraud_is_withdrawn(bench: Bench) -> None:
    """A withdrawn report is sent again as CANCELLED and cannot be decided; orders that make no sense are refused."""
    end_to_end_id = await paid_charge(bench)
    made = orjson.loads((await bench.send("POST", "/frauds", {"endToEndId": end_to_end_id, "fault": "twice"})).body)
    await bench.settle()
    assert (await bench.send("POST", "/frauds", {"id": made["id"]})).status == 202
    await bench.settle()
    assert [one["status"] for one in bench.platform.frauds] == ["OPEN", "OPEN", "CANCELLED", "CANCELLED"]
    with pytest.raises(RailRefused, match="CANCELLED"):
        await bench.rail.answer_fraud_report(made["id"], True, None)
    for body, status in (({"endToEndId": "E" * 32}, 422), ({"valor": "0"}, 400), ({"id": "unknown"}, 422)):
        assert (await bench.send("POST", "/frauds", body)).status == status
    assert (await bench.send("GET", "/infraction-reports/unknown", None)).status == 404
    closing = {"analysisResult": "AGREED"}
    assert (await bench.send("POST", "/infraction-reports/unknown/close", closing)).status == 404
    assert (await bench.send("POST", f"/infraction-reports/{made['id']}/close", {})).status == 400


async def test_an_unsent_report_of_fraud_is_sent_after_a_restart(tmp_path: Path) -> None:
    """After a kill, the simulator reports the frauds that were not reported."""
    journal = tmp_path / "journal.jsonl"
    first = Bench(journal)
    end_to_end_id = await paid_charge(first)
    first.platform.refusals = [503] * 100_000
    await first.send("POST", "/frauds", {"endToEndId": end_to_end_id})
    await first.close()
    second = Bench(journal)
    second.simulator.start()
    await second.settle()
    assert [one["endToEndId"] for one in second.platform.frauds] == [end_to_end_id]
    await second.close()
