"""The client of a PIX provider: tokens, certificates, unknown outcomes and the circuit breaker."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.adapters.pix.br_code import dynamic_code
from shared.adapters.pix.masking import masked
from shared.adapters.pix.rail import PixHttpRail
from shared.adapters.providers.breaker import (
    FAILURES,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    CircuitBreaker,
    CircuitOpen,
)
from shared.adapters.providers.client import ProviderClient
from shared.adapters.providers.credentials import Credentials
from shared.bootstrap.starting import check_files
from shared.core.settings import InvalidSettings, Settings
from shared.ports.documents import Unavailable
from shared.ports.rail import (
    CHARGE_OVER,
    ChargeOrder,
    ChargeRevision,
    OutcomeUnknown,
    RailRefused,
    ReturnOrder,
    ReturnState,
)
from tests.authority import authority

BASE = "https://pix.example.test/api/v2"
TXID = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4"
CODE = dynamic_code("pix.example.test/qr/1", "Lastro", "SAO PAULO")
ORDER = ChargeOrder(TXID, 1050, 60, "Order 1001", "https://lastro.example.test/callbacks")
COB: dict[str, Any] = {"valor": {"original": "10.50"}, "pixCopiaECola": CODE, "chave": "ana@example.com"}
Given = httpx.Response | httpx.HTTPError


class Seconds:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Provider:
    """A provider that gives these answers one after the other, and records the requests."""

    def __init__(self, *answers: Given) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    @property
    def steps(self) -> list[str]:
        """The requests as `METHOD /first-part-of-the-path`."""
        return [f"{one.method} /{one.url.path.removeprefix('/api/v2/').split('/')[0]}" for one in self.asked]


def token(value: str = "t1", **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"access_token": value, "expires_in": 300, **more})


CREDENTIALS = Credentials("lastro", "hush")


def client(provider: Provider, seconds: Callable[[], float], credentials: Credentials = CREDENTIALS) -> ProviderClient:
    return ProviderClient("PIX provider", BASE, credentials, provider.http, seconds)


async def test_a_token_is_used_until_shortly_before_its_end() -> None:
    """A token is requested with the client's credentials, sent with each request, and replaced before it ends."""
    provider, seconds = Provider(token(), *[httpx.Response(200)] * 2, token("t2"), httpx.Response(200)), Seconds()
    api = client(provider, seconds)
    for wait in (0, 269, 2):
        seconds.now += wait
        await api.send("GET", "/pix")
    assert provider.steps == ["POST /oauth", "GET /pix", "GET /pix", "POST /oauth", "GET /pix"]
    assert provider.asked[0].headers["authorization"] == f"Basic {b64encode(b'lastro:hush').decode()}"
    assert provider.asked[0].content == b"grant_type=client_credentials"
    assert [one.headers["authorization"] for one in provider.asked[1:3]] == ["Bearer t1"] * 2
    assert provider.asked[4].headers["authorization"] == "Bearer t2"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_denied_token_is_replaced_once(status: int) -> None:
    """After a denial a new token is tried once; a second denial is no outcome and no refusal."""
    denied = httpx.Response(status)
    provider = Provider(token(), denied, token("t2"), httpx.Response(200), denied, token("t3"), denied)
    api = client(provider, Seconds())
    assert (await api.send("PUT", "/cob/1", {})).status_code == 200
    with pytest.raises(Unavailable, match=str(status)):
        await api.send("PUT", "/cob/1", {})


@pytest.mark.parametrize("answer", [httpx.Response(400), httpx.Response(200, json=[]), httpx.Response(200, text="x")])
async def test_without_a_token_nothing_is_sent(answer: httpx.Response) -> None:
    """When the provider issues no token, the command is not sent, and its outcome is not unknown."""
    provider = Provider(answer)
    with pytest.raises(Unavailable, match="no access token") as raised:
        await client(provider, Seconds()).send("PUT", "/cob/1", {})
    assert not isinstance(raised.value, OutcomeUnknown)
    assert provider.steps == ["POST /oauth"]


async def test_a_token_url_of_its_own() -> None:
    """The token is requested at its own URL when one is set."""
    provider = Provider(token(), httpx.Response(200))
    credentials = CREDENTIALS._replace(token_url="https://auth.example.test/token")
    await client(provider, Seconds(), credentials).send("GET", "/pix")
    assert str(provider.asked[0].url) == "https://auth.example.test/token"


def rail(provider: Provider) -> PixHttpRail:
    return PixHttpRail(BASE, client=provider.http)


@pytest.mark.parametrize("lost", [httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"), httpx.Response(502)])
async def test_an_unknown_outcome_is_read_by_the_txid(lost: Given) -> None:
    """When the answer to a new charge is lost, the charge is read by its txid, and found; it is not created again."""
    provider = Provider(httpx.Response(200), lost, httpx.Response(200, json=COB))
    payable = await rail(provider).create_charge(ORDER)
    assert (payable.code, payable.location) == (CODE, "pix.example.test/qr/1")
    assert provider.steps == ["PUT /webhook", "PUT /cob", "GET /cob"]


CHANGED = {**COB, "status": "ATIVA", "valor": {"original": "20.00"}, "calendario": {"criacao": "x", "expiracao": 60}}
REVISION = ChargeRevision(TXID, 2000, 60, None)
LOST_ANSWER = httpx.ReadTimeout("slow")


async def test_a_charge_is_changed_and_removed() -> None:
    """A change sends only the fields that change; a removal sends the status."""
    provider = Provider(httpx.Response(200), httpx.Response(200))
    await rail(provider).revise_charge(REVISION)
    await rail(provider).remove_charge(TXID)
    assert provider.steps == ["PATCH /cob", "PATCH /cob"]
    assert [json.loads(one.content) for one in provider.asked] == [
        {"valor": {"original": "20.00"}, "calendario": {"expiracao": 60}},
        {"status": "REMOVIDA_PELO_USUARIO_RECEBEDOR"},
    ]


@pytest.mark.parametrize("first", [LOST_ANSWER, httpx.Response(502), httpx.Response(400, json={})])
async def test_a_change_that_was_made_counts(first: Given) -> None:
    """When the answer to a change is lost or a refusal, and the charge has the change, it was made."""
    await rail(Provider(first, httpx.Response(200, json=CHANGED))).revise_charge(REVISION)
    removed = {**COB, "status": "REMOVIDA_PELO_USUARIO_RECEBEDOR"}
    await rail(Provider(first, httpx.Response(200, json=removed))).remove_charge(TXID)


@pytest.mark.parametrize("first", [LOST_ANSWER, httpx.Response(400, json={})])
async def test_a_charge_that_is_over_is_not_changed(first: Given) -> None:
    """A change of a charge that is paid or removed is refused as that, also when its answer was lost."""
    over = httpx.Response(200, json={**COB, "status": "CONCLUIDA"})
    with pytest.raises(RailRefused) as refused:
        await rail(Provider(first, over)).revise_charge(REVISION)
    assert refused.value.code == CHARGE_OVER


async def test_a_change_whose_outcome_is_unknown_is_no_refusal() -> None:
    """When a change is not found, or the charge cannot be read, its outcome is unknown; a refusal keeps its code."""
    for second in (httpx.Response(200, json={**COB, "status": "ATIVA"}), httpx.Response(404), httpx.Response(500)):
        with pytest.raises(OutcomeUnknown):
            await rail(Provider(LOST_ANSWER, second)).revise_charge(REVISION)
    refusal = httpx.Response(400, json={"type": "https://x/CobOperacaoInvalida", "detail": "no"})
    with pytest.raises(RailRefused, match="no") as refused:
        await rail(Provider(refusal, httpx.Response(200, json={**COB, "status": "ATIVA"}))).revise_charge(REVISION)
    assert refused.value.code == "CobOperacaoInvalida"


async def test_an_unknown_outcome_that_cannot_be_read_stays_unknown() -> None:
    """When the charge was not created, or cannot be read either, the command raises Unavailable and no refusal."""
    for read in (httpx.Response(404), httpx.ReadTimeout("slow"), httpx.Response(500)):
        provider = Provider(httpx.Response(200), httpx.ReadTimeout("slow"), read)
        with pytest.raises(OutcomeUnknown):
            await rail(provider).create_charge(ORDER)


async def test_a_charge_that_was_never_sent_is_not_read() -> None:
    """When no connection was made, nothing has happened, and nothing is read."""
    provider = Provider(httpx.Response(200), httpx.ConnectError("down"))
    with pytest.raises(Unavailable, match="cannot be reached"):
        await rail(provider).create_charge(ORDER)
    assert provider.steps == ["PUT /webhook", "PUT /cob"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(201, json={}), "without a dynamic BR Code"),
        (httpx.Response(201, json={"pixCopiaECola": f"{CODE[:-1]}x"}), "invalid BR Code"),
        (httpx.Response(201, text="no"), "without a dynamic BR Code"),
    ],
)
async def test_an_answer_without_a_valid_code_is_no_charge(answer: httpx.Response, reason: str) -> None:
    """A charge whose answer has no valid BR Code cannot be shown to a payer."""
    with pytest.raises(Unavailable, match=reason):
        await rail(Provider(httpx.Response(200), answer)).create_charge(ORDER)


async def test_the_exchange_is_kept_without_personal_data() -> None:
    """What was sent and answered is returned with the charge; the receiver's key is masked."""
    provider = Provider(httpx.Response(200), httpx.Response(201, json=COB))
    payable = await rail(provider).create_charge(ORDER._replace(description="d" * 200))
    assert payable.exchange["status"] == 201
    assert payable.exchange["answer"]["chave"] == "***.com"
    assert payable.exchange["request"]["chave"].startswith("***")
    assert payable.exchange["request"]["valor"] == {"original": "10.50"}
    assert payable.exchange["request"]["solicitacaoPagador"] == "d" * 139 + "…"


def test_persons_are_masked_everywhere() -> None:
    """Documents, keys and every text about a person are masked at any depth; other values stay."""
    value = {
        "pix": [{"valor": "1.00", "pagador": {"cpf": "12345678909", "nome": "Ana", "n": 1}, "cnpj": "1"}],
        "a": [1],
    }
    assert masked(value) == {
        "pix": [{"valor": "1.00", "pagador": {"cpf": "***8909", "nome": "***", "n": 1}, "cnpj": "***"}],
        "a": [1],
    }


PAID = {"endToEndId": "E" + "1" * 31, "txid": TXID, "valor": "10.50", "horario": "2026-01-01T00:00:00Z"}


async def test_the_state_of_a_charge_is_read() -> None:
    """The provider's state of a charge has its payments; an unknown charge is None."""
    answers = [
        httpx.Response(200, json={"status": "CONCLUIDA", "pix": [PAID]}),
        httpx.Response(200, json={"status": "REMOVIDA_PELO_PSP"}),
        httpx.Response(404),
    ]
    provider = rail(Provider(*answers))
    paid, removed, unknown = [await provider.charge_state(TXID) for _ in answers]
    assert paid is not None
    assert removed is not None
    assert [(one.id, one.amount, one.paid_at) for one in paid.receipts] == [
        (PAID["endToEndId"], 1050, "2026-01-01T00:00:00.000000Z")
    ]
    assert (paid.is_removed, removed.is_removed, removed.receipts, unknown) == (False, True, [], None)


def page(number: int, pages: int, *payments: Any) -> httpx.Response:
    paging = {"paginaAtual": number, "quantidadeDePaginas": pages}
    return httpx.Response(200, json={"parametros": {"paginacao": paging}, "pix": list(payments)})


async def test_received_payments_are_read_in_pages() -> None:
    """The payments of a period are read page by page, with the period in UTC."""
    provider = Provider(page(0, 2, PAID), page(1, 2))
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    first, last = [await rail(provider).received(since, until, number) for number in (0, 1)]
    assert ([one.id for one in first.receipts], first.has_more) == ([PAID["endToEndId"]], True)
    assert (list(last.receipts), last.has_more) == ([], False)
    assert dict(provider.asked[1].url.params) == {
        "inicio": "2026-01-01T00:00:00.000000Z",
        "fim": "2026-01-02T00:00:00.000000Z",
        "paginacao.paginaAtual": "1",
        "paginacao.itensPorPagina": "100",
    }


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json=[]),
        httpx.Response(200, text="x"),
        httpx.Response(200, json={"pix": []}),
        page(0, 1, {"endToEndId": "short"}),
        page(0, 1, "x"),
    ],
)
async def test_an_unreadable_answer_is_no_list(answer: httpx.Response) -> None:
    """An answer that is not a page of payments raises Unavailable: nothing is taken for complete."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(Unavailable):
        await rail(Provider(answer)).received(now, now, 0)


async def test_a_refused_question_is_a_refusal() -> None:
    """A question that the provider refuses raises RailRefused with its code."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    kind = "https://pix.bcb.gov.br/api/v2/error/ConsultaInvalida"
    questions: tuple[Callable[[PixHttpRail], Awaitable[object]], ...] = (
        lambda asked: asked.received(now, now, 0),
        lambda asked: asked.charge_state(TXID),
    )
    for ask in questions:
        with pytest.raises(RailRefused) as refused:
            await ask(rail(Provider(httpx.Response(400, json={"type": kind}))))
        assert refused.value.code == "ConsultaInvalida"


async def test_after_several_failures_the_provider_is_not_called() -> None:
    """After five failures in a row requests fail at once; after a pause one is tried, and a success permits all."""
    seconds = Seconds()
    provider = Provider(*[httpx.Response(500)] * FAILURES, httpx.Response(500), *[httpx.Response(200)] * 3)
    api = client(provider, seconds, Credentials())
    for _ in range(FAILURES):
        with pytest.raises(OutcomeUnknown):
            await api.send("GET", "/pix")
    with pytest.raises(Unavailable, match="not called now"):
        await api.send("GET", "/pix")
    assert len(provider.asked) == FAILURES
    seconds.now += FIRST_PAUSE_SECONDS
    with pytest.raises(OutcomeUnknown):
        await api.send("GET", "/pix")
    seconds.now += FIRST_PAUSE_SECONDS
    with pytest.raises(Unavailable, match="not called now"):
        await api.send("GET", "/pix")
    seconds.now += FIRST_PAUSE_SECONDS
    for _ in range(3):
        await api.send("GET", "/pix")
    assert provider.answers == []


async def test_a_refusal_is_no_failure_of_the_provider() -> None:
    """Refused requests do not open the circuit: the provider works."""
    provider = Provider(*[httpx.Response(422)] * (FAILURES + 1))
    api = client(provider, Seconds(), Credentials())
    for _ in range(FAILURES + 1):
        assert (await api.send("PUT", "/cob/1", {})).status_code == 422


def test_one_trial_at_a_time_and_bounded_pauses() -> None:
    """While a trial runs, other calls are refused; an abandoned trial permits another; the pause has a bound."""
    seconds = Seconds()
    breaker = CircuitBreaker(seconds)
    for _ in range(FAILURES):
        breaker.check()
        breaker.failure()
    seconds.now += FIRST_PAUSE_SECONDS
    breaker.check()
    with pytest.raises(CircuitOpen):
        breaker.check()
    breaker.abandon()
    for _ in range(10):
        breaker.check()
        breaker.failure()
        seconds.now += LONGEST_PAUSE_SECONDS
    breaker.check()
    breaker.success()
    breaker.check()


async def test_a_cancelled_request_is_no_failure() -> None:
    """A request that is cancelled ends its trial without a result."""
    started = asyncio.Event()

    async def hang(_request: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    api = ProviderClient(
        "PIX provider", BASE, Credentials(), httpx.AsyncClient(transport=httpx.MockTransport(hang)), Seconds()
    )
    task = asyncio.create_task(api.send("GET", "/pix"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await api.aclose()


async def test_mutual_tls_with_the_provider(tmp_path: Path) -> None:
    """With a certificate and an authority the client and the provider authenticate each other; without the certificate
    the provider refuses the connection."""
    made = authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=made.ca)
    context.load_cert_chain(made.server)
    context.verify_mode = ssl.CERT_REQUIRED
    subjects: list[Any] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subjects.append(writer.get_extra_info("peercert")["subject"])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        api = ProviderClient("PIX provider", url, Credentials(certificate=str(made.server), authority=str(made.ca)))
        assert (await api.send("GET", "/pix")).status_code == 200
        await api.aclose()
        stranger = ProviderClient("PIX provider", url, Credentials(authority=str(made.ca)))
        with pytest.raises(Unavailable):
            await stranger.send("GET", "/pix")
        await stranger.aclose()
    assert len(subjects) == 1


@pytest.mark.parametrize("setting", ["pix_certificate", "pix_authority", "bank_certificate", "bank_authority"])
def test_a_file_that_is_no_certificate_stops_the_start(tmp_path: Path, setting: str) -> None:
    """A file that is missing, or has no certificate, is refused at the start by its name."""
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for file in (empty, tmp_path / "missing.pem"):
        named: dict[str, Any] = {setting: str(file)}
        settings = Settings(data_dir=str(tmp_path))._replace(**named)
        with pytest.raises(InvalidSettings, match=rf"LASTRO_{setting[:3].upper()}.*{file.name}"):
            check_files(settings)


def test_a_certificate_is_accepted(tmp_path: Path) -> None:
    """Files with a key, its certificate and an authority are accepted at the start."""
    made = authority(tmp_path)
    check_files(Settings(data_dir=str(tmp_path), pix_certificate=str(made.server), pix_authority=str(made.ca)))


E2E = "E12345678202009091221abcdef12345"
RETURN = ReturnOrder(E2E, TXID, 750, "Out of stock")
MADE = {"id": TXID, "rtrId": "D12345678202009091000abcde123456", "valor": "7.50", "status": "EM_PROCESSAMENTO"}


async def test_a_return_is_requested_by_our_id() -> None:
    """A return is sent with its amount and the beginning of its reason, and its state is read from the answer."""
    provider = Provider(httpx.Response(201, json=MADE))
    state = await rail(provider).request_return(RETURN._replace(reason="r" * 200))
    assert state == ReturnState(TXID, "processing", MADE["rtrId"], 750, None)
    assert provider.asked[0].url.path == f"/api/v2/pix/{E2E}/devolucao/{TXID}"
    assert json.loads(provider.asked[0].content) == {"valor": "7.50", "descricao": "r" * 139 + "…"}


@pytest.mark.parametrize("first", [LOST_ANSWER, httpx.Response(503), httpx.Response(400, json={})])
async def test_a_return_that_was_made_counts(first: Given) -> None:
    """When the answer to a return is lost or a refusal, and the provider has the return, it was made."""
    provider = Provider(first, httpx.Response(200, json={**MADE, "status": "DEVOLVIDO"}))
    assert (await rail(provider).request_return(RETURN)).status == "returned"
    assert provider.steps == ["PUT /pix", "GET /pix"]


async def test_a_return_whose_outcome_is_unknown_is_no_refusal() -> None:
    """A lost answer is an unknown outcome while the return is not found; only the provider's refusal is one."""
    for second in (httpx.Response(404), httpx.Response(500), LOST_ANSWER):
        with pytest.raises(OutcomeUnknown):
            await rail(Provider(LOST_ANSWER, second)).request_return(RETURN)
    refusal = httpx.Response(400, json={"type": "https://x/PixDevolucaoInvalida", "detail": "too late"})
    with pytest.raises(RailRefused, match="too late"):
        await rail(Provider(refusal, httpx.Response(404))).request_return(RETURN)
    with pytest.raises(Unavailable):
        await rail(Provider(refusal, LOST_ANSWER)).request_return(RETURN)


@pytest.mark.parametrize(
    "document",
    [{}, {**MADE, "valor": "7.5"}, {**MADE, "status": "NOVO"}, {**MADE, "id": "a-b"}, {**MADE, "valor": "9.00"}],
)
async def test_an_answer_about_a_return_that_cannot_be_read(document: dict[str, Any]) -> None:
    """An answer that is no return, or is about another amount, says nothing about the outcome."""
    with pytest.raises(Unavailable):
        await rail(Provider(httpx.Response(200, json=document))).request_return(RETURN)


async def test_the_state_of_a_return() -> None:
    """A return that the provider does not know has no state; a refused one has its reason."""
    refused = {**MADE, "status": "NAO_REALIZADO", "motivo": "no"}
    provider = Provider(httpx.Response(404), httpx.Response(200, json=refused), httpx.Response(400, json={}))
    assert await rail(provider).return_state(E2E, TXID) is None
    assert await rail(provider).return_state(E2E, TXID) == ReturnState(TXID, "refused", MADE["rtrId"], 750, "no")
    with pytest.raises(RailRefused):
        await rail(provider).return_state(E2E, TXID)


async def test_a_return_because_of_a_fraud_says_so() -> None:
    """A return because of a fraud has the nature MED_FRAUDE."""
    provider = Provider(httpx.Response(201, json=MADE))
    await rail(provider).request_return(RETURN._replace(reason=None, is_fraud=True))
    assert json.loads(provider.asked[0].content) == {"valor": "7.50", "natureza": "MED_FRAUDE"}


async def test_a_decision_on_an_unknown_report_of_fraud_is_refused() -> None:
    """A 404 that says that there is no such report is a refusal, so that the decision is not sent for ever; one that
    does not say so may be a wrong URL, and leaves the outcome open."""
    problem = {"type": "https://pix.example/error/InfractionReportNotFound", "detail": "There is no such report."}
    provider = Provider(httpx.Response(404, json=problem), httpx.Response(404, json={}))
    with pytest.raises(RailRefused, match="no such report") as refusal:
        await rail(provider).answer_fraud_report("f-1", True, None)
    assert refusal.value.code == "InfractionReportNotFound"
    with pytest.raises(Unavailable):
        await rail(provider).answer_fraud_report("f-1", True, None)


async def test_a_decision_on_a_report_of_fraud() -> None:
    """A decision closes the report with its reason; a lost answer is unknown, and a refusal is one."""
    provider = Provider(httpx.Response(200), httpx.Response(200), LOST_ANSWER, httpx.Response(400, json={}))
    await rail(provider).answer_fraud_report("f-1", True, None)
    await rail(provider).answer_fraud_report("f-1", False, "delivered")
    assert [json.loads(one.content) for one in provider.asked] == [
        {"analysisResult": "AGREED", "analysisDetails": ""},
        {"analysisResult": "DISAGREED", "analysisDetails": "delivered"},
    ]
    assert provider.asked[0].url.path == "/api/v2/infraction-reports/f-1/close"
    with pytest.raises(OutcomeUnknown):
        await rail(provider).answer_fraud_report("f-1", True, None)
    with pytest.raises(RailRefused):
        await rail(provider).answer_fraud_report("f-1", True, None)
