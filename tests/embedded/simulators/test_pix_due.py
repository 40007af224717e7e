"""The simulator's charges with a due date, as the API Pix has them, and the adapter that speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest

from embedded.simulators.pix import PREFIX
from shared.core.business_days import day_begins
from shared.core.due_terms import DueTerms
from shared.http.messages import HttpRequest, HttpResponse
from shared.ports.rail import ChargeOrder, ChargeRevision, Debtor, DueOrder
from tests.embedded.simulators.test_pix import OTHER, TXID, WEBHOOK, Bench

BODY: dict[str, Any] = {
    "calendario": {"dataDeVencimento": "2026-01-09", "validadeAposVencimento": 10},
    "devedor": {"cpf": "12345678901", "nome": "Francisco da Silva"},
    "valor": {
        "original": "100.00",
        "multa": {"modalidade": 2, "valorPerc": "2.00"},
        "juros": {"modalidade": 3, "valorPerc": "1.00"},
        "abatimento": {"modalidade": 1, "valorPerc": "1.00"},
        "desconto": {"modalidade": 1, "descontoDataFixa": [{"data": "2026-01-05", "valorPerc": "5.00"}]},
    },
    "chave": "7d9f0335-8dcc-4054-9bf9-0dbd61d36906",
}
PATH = f"/cobv/{TXID}"
REMOVED = "REMOVIDA_PELO_USUARIO_RECEBEDOR"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A simulator in memory, on 31 December 2025 in São Paulo."""
    made = Bench()
    yield made
    await made.close()


async def put(bench: Bench, txid: str = TXID, **fields: Any) -> HttpResponse:
    return await bench.send("PUT", f"/cobv/{txid}", {**BODY, **fields})


async def got(bench: Bench, path: str, query: str = "") -> HttpResponse:
    return await bench.simulator(HttpRequest("GET", PREFIX + path, query, {}, b""))


def problem(answer: HttpResponse) -> tuple[int, str, str]:
    """Return the status, the kind and the detail of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = orjson.loads(answer.body)
    assert document["type"] == f"https://pix.bcb.gov.br/api/v2/error/{document['title']}"
    return answer.status, document["title"], document["detail"]


async def terms_of(bench: Bench, location: str, query: str = "") -> Any:
    """Return the terms that a payer's bank reads at a location, whose signature fits the key of the host."""
    answer = await got(bench, location.partition(PREFIX)[2], query)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/jose"), answer.body
    keys = jwt.PyJWKSet.from_dict(orjson.loads((await got(bench, "/jwks")).body))
    return jwt.decode(answer.body.decode(), keys["payload"], algorithms=["ES256"])


async def test_a_charge_is_created_once(bench: Bench) -> None:
    """A charge has what was sent, the receiver, and a location of the kind `cobv`; the same request again changes
    nothing, and another one for the same txid is refused."""
    answer = await put(bench)
    document = orjson.loads(answer.body)
    assert (answer.status, document["status"], document["revisao"]) == (201, "ATIVA", 0)
    assert {name: document[name] for name in ("devedor", "valor")} == {
        name: BODY[name] for name in ("devedor", "valor")
    }
    assert document["calendario"] == {**BODY["calendario"], "criacao": "2026-01-01T00:00:00.000000Z"}
    assert (document["loc"]["tipoCob"], document["recebedor"]["uf"]) == ("cobv", "SP")
    assert "/qr/cobv/" in document["location"]
    again = await put(bench)
    assert (again.status, orjson.loads(again.body)) == (200, document)
    assert problem(await put(bench, valor={"original": "100.00"}))[:2] == (409, "CobVOperacaoInvalida")
    assert problem(await got(bench, f"/cob/{TXID}"))[:2] == (404, "CobNaoEncontrado")
    assert problem(await got(bench, f"/cobv/{OTHER}"))[:2] == (404, "CobVNaoEncontrada")


async def test_the_days_of_validity_have_a_default(bench: Bench) -> None:
    """A charge that does not say for how many days it is valid after the due date is valid for 30."""
    answer = await put(bench, calendario={"dataDeVencimento": "2026-01-09"})
    assert orjson.loads(answer.body)["calendario"]["validadeAposVencimento"] == 30


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"calendario": {"dataDeVencimento": "2025-12-30"}}, "before the charge's creation"),
        ({"calendario": {**BODY["calendario"], "validadeAposVencimento": -1}}, "validadeAposVencimento"),
        ({"valor": {"original": "0.00"}}, "original"),
        ({"valor": {"original": "1.00", "abatimento": {"modalidade": 1, "valorPerc": "1.00"}}}, "less than the amount"),
        ({"devedor": {"nome": "Ana"}}, "either cpf or cnpj"),
        ({"devedor": {"nome": "Ana", "cpf": "1"}}, "devedor/cpf"),
        ({"chave": ""}, "chave"),
    ],
)
async def test_an_invalid_charge_is_refused(bench: Bench, fields: dict[str, Any], detail: str) -> None:
    """A charge that violates a rule of the API Pix is refused with 400 `CobVOperacaoInvalida` and the reason."""
    status, kind, why = problem(await put(bench, **fields))
    assert (status, kind) == (400, "CobVOperacaoInvalida")
    assert detail in why
    assert problem(await put(bench, "short"))[0] == 400


async def test_a_charge_is_changed_and_removed(bench: Bench) -> None:
    """A change counts a revision and replaces the amount with its parts; a removal ends the charge, and a request that
    does both, or that breaks a rule, is refused."""
    location = orjson.loads((await put(bench)).body)["location"]
    answer = await bench.send(
        "PATCH", PATH, {"valor": {"original": "50.00"}, "calendario": {"validadeAposVencimento": 0}}
    )
    document = orjson.loads(answer.body)
    assert (answer.status, document["revisao"], document["valor"]) == (200, 1, {"original": "50.00"})
    assert document["calendario"]["dataDeVencimento"] == "2026-01-09"
    assert (await terms_of(bench, location))["valor"] == {"original": "50.00", "final": "50.00"}
    both = {"status": REMOVED, "valor": {"original": "3.00"}}
    assert "not both" in problem(await bench.send("PATCH", PATH, both))[2]
    assert "before" in problem(await bench.send("PATCH", PATH, {"calendario": {"dataDeVencimento": "2025-12-01"}}))[2]
    assert problem(await bench.send("PATCH", f"/cobv/{OTHER}", {}))[:2] == (404, "CobVNaoEncontrada")
    assert problem(await bench.send("PATCH", PATH, b"x"))[0] == 400
    assert orjson.loads((await bench.send("PATCH", PATH, {"status": REMOVED})).body)["status"] == REMOVED
    assert REMOVED in problem(await bench.send("PATCH", PATH, {"valor": {"original": "3.00"}}))[2]
    assert (await got(bench, location.partition(PREFIX)[2])).status == 410


@pytest.mark.parametrize(
    ("day", "parts"),
    [
        ("2026-01-02", {"abatimento": "1.00", "desconto": "5.00", "final": "94.00"}),
        ("2026-01-09", {"abatimento": "1.00", "final": "99.00"}),
        ("2026-01-12", {"abatimento": "1.00", "multa": "2.00", "juros": "0.10", "final": "101.10"}),
        ("2026-01-19", {"abatimento": "1.00", "multa": "2.00", "juros": "0.33", "final": "101.33"}),
    ],
)
async def test_the_terms_have_the_amount_of_the_day(bench: Bench, day: str, parts: dict[str, str]) -> None:
    """The terms have each part in money and the final amount: for today, and for a later day that the query names."""
    location = orjson.loads((await put(bench)).body)["location"]
    later = await terms_of(bench, location, f"DPP={day}")
    assert later["valor"] == {"original": "100.00", **parts}
    bench.clock.advance(day_begins(date.fromisoformat(day)) - bench.clock.now())
    today = await terms_of(bench, location)
    assert today["valor"] == later["valor"]
    assert (today["devedor"], today["calendario"]["validadeAposVencimento"]) == (BODY["devedor"], 10)


async def test_the_terms_of_a_day_on_which_the_charge_cannot_be_paid(bench: Bench) -> None:
    """A day before today, after the last day, or that is none is refused; after the last day the terms are gone."""
    location = orjson.loads((await put(bench)).body)["location"].partition(PREFIX)[2]
    for query in ("DPP=2025-12-30", "DPP=2026-01-20", "DPP=soon"):
        assert problem(await got(bench, location, query))[:2] == (400, "CobPayloadOperacaoInvalida")
    bench.clock.advance(day_begins(date(2026, 1, 19)) - bench.clock.now())
    assert (await got(bench, location)).status == 200
    bench.clock.advance(day_begins(date(2026, 1, 20)) - bench.clock.now())
    assert problem(await got(bench, location))[:2] == (410, "CobPayloadNaoEncontrado")


async def test_charges_are_listed_by_kind_debtor_and_status(bench: Bench) -> None:
    """A list of `/cobv` has no immediate charges, and can be of one debtor or of one status."""
    await put(bench)
    await put(bench, OTHER, devedor={"cnpj": "12ABC34501DE35", "nome": "Empresa SA"})
    await bench.send("PATCH", f"/cobv/{OTHER}", {"status": REMOVED})
    await bench.charge("b" * 32)
    period = "inicio=2025-01-01T00:00:00Z&fim=2027-01-01T00:00:00Z"

    async def listed(query: str) -> list[str]:
        return [one["txid"] for one in orjson.loads((await got(bench, "/cobv", f"{period}&{query}")).body)["cobs"]]

    assert await listed("") == [TXID, OTHER]
    assert await listed("cpf=12345678901") == [TXID]
    assert await listed("cnpj=12ABC34501DE35") == [OTHER]
    assert await listed("status=ATIVA") == [TXID]
    assert problem(await got(bench, "/cobv", f"{period}&cpf=1&cnpj=2"))[:2] == (400, "CobVConsultaInvalida")
    assert problem(await got(bench, "/cobv"))[:2] == (400, "CobVConsultaInvalida")
    assert problem(await got(bench, "/cob"))[:2] == (400, "CobConsultaInvalida")
    assert [one["txid"] for one in orjson.loads((await got(bench, "/cob", period)).body)["cobs"]] == ["b" * 32]


async def test_a_stranger_pays_the_amount_of_the_day(bench: Bench) -> None:
    """A payer pays what is payable today, and the charge shows the payment."""
    await bench.rail.request_charge("c" * 32, 1, "BRL", WEBHOOK)
    document = orjson.loads((await put(bench)).body)
    bench.clock.advance(day_begins(date(2026, 1, 12)) - bench.clock.now())
    answer = await bench.send("POST", "/payments", {"br_code": document["pixCopiaECola"]})
    assert orjson.loads(answer.body)["valor"] == "101.10"
    await bench.settle()
    paid = orjson.loads((await got(bench, PATH)).body)
    assert (paid["status"], [one["valor"] for one in paid["pix"]]) == ("CONCLUIDA", ["101.10"])


async def test_charges_survive_the_process(tmp_path: Path) -> None:
    """A charge with a due date is in the journal, with its terms."""
    first = Bench(tmp_path / "journal")
    first.simulator.start()
    document = orjson.loads((await put(first)).body)
    await first.close()
    second = Bench(tmp_path / "journal")
    second.simulator.start()
    assert {**document, "pix": []} == orjson.loads((await got(second, PATH)).body)
    await second.close()


TERMS: DueTerms = {
    "date": "2026-01-09",
    "valid_days": 10,
    "fine": {"kind": "amount", "value": 200},
    "interest": {"kind": "percent", "value": 10, "per": "day", "days": "business"},
    "rebate": None,
    "discounts": [],
    "early_discount": {"kind": "percent", "value": 50, "days": "business"},
}


async def test_the_adapter_and_the_simulator_understand_each_other(bench: Bench) -> None:
    """The adapter creates, changes, removes and reads a charge with a due date at the simulator, each once."""
    order = ChargeOrder(TXID, 1_000, 0, "Rent", WEBHOOK, DueOrder(TERMS, Debtor("Ana", "cnpj", "12ABC34501DE35")))
    payable = await bench.rail.create_charge(order)
    assert await bench.rail.create_charge(order) == payable._replace(exchange={**payable.exchange, "status": 200})
    later: DueTerms = {**TERMS, "date": "2026-01-15"}
    for _ in range(2):
        await bench.rail.revise_charge(ChargeRevision(TXID, 2_000, None, None, later))
    document = orjson.loads((await got(bench, PATH)).body)
    assert (document["calendario"]["dataDeVencimento"], document["valor"]["original"]) == ("2026-01-15", "20.00")
    for _ in range(2):
        await bench.rail.remove_charge(TXID, is_due=True)
    state = await bench.rail.charge_state(TXID, is_due=True)
    assert state is not None
    assert state.is_removed
    assert await bench.rail.charge_state(OTHER, is_due=True) is None
