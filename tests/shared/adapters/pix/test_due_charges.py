"""Charges with a due date in the words of the API Pix: what is written is read back, and everything else is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.pix.due_charges import calendar_and_value, read_charge
from shared.core.due_terms import DueTerms
from shared.ports.rail import CHARGE_OVER, ChargeOrder, ChargeRevision, Debtor, DueOrder, RailRefused
from tests.shared.adapters.pix.test_client import CODE, TXID, Provider, rail

VALUES = st.integers(1, 10_000)
KINDS = st.sampled_from(["amount", "percent"])
DAYS = st.sampled_from(["calendar", "business"])
PARTS = st.fixed_dictionaries({"kind": KINDS, "value": VALUES})
INTEREST = st.one_of(
    st.fixed_dictionaries({"kind": KINDS, "value": VALUES, "per": st.just("day"), "days": DAYS}),
    st.fixed_dictionaries(
        {"kind": st.just("percent"), "value": VALUES, "per": st.just("month"), "days": st.just("calendar")}
    ),
)


@st.composite
def any_terms(draw: st.DrawFn) -> DueTerms:
    """Return terms with any parts that the rail has a mode for."""
    kind, due = draw(KINDS), draw(st.dates())
    early = draw(st.none() | st.fixed_dictionaries({"kind": KINDS, "value": VALUES, "days": DAYS}))
    dates = [] if early else draw(st.lists(st.dates(), max_size=3))
    made: Any = {
        "date": due.isoformat(),
        "valid_days": draw(st.integers(0, 1_827)),
        "fine": draw(st.none() | PARTS),
        "interest": draw(st.none() | INTEREST),
        "rebate": draw(st.none() | PARTS),
        "discounts": [{"kind": kind, "value": draw(VALUES), "until": day.isoformat()} for day in dates],
        "early_discount": early,
    }
    return made  # type: ignore[no-any-return]


@given(st.integers(1, 999_999_999_999), any_terms())
def test_what_is_written_is_read_back(amount: int, terms: DueTerms) -> None:
    """Every mode of fine, interest, rebate and discount is read as it was written."""
    written = json.loads(json.dumps(calendar_and_value(amount, terms)))
    assert read_charge(written["calendario"], written["valor"]) == (amount, terms)


def test_the_example_of_the_specification() -> None:
    """The specification's own example is read, whose modes are texts."""
    value = {
        "original": "123.45",
        "multa": {"modalidade": "2", "valorPerc": "15.00"},
        "juros": {"modalidade": "2", "valorPerc": "2.00"},
        "desconto": {"modalidade": "1", "descontoDataFixa": [{"data": "2020-11-30", "valorPerc": "30.00"}]},
    }
    amount, terms = read_charge({"dataDeVencimento": "2020-12-31"}, value)
    assert (amount, terms["date"], terms["valid_days"]) == (12_345, "2020-12-31", 30)
    assert terms["fine"] == {"kind": "percent", "value": 1_500}
    assert terms["interest"] == {"kind": "percent", "value": 200, "per": "day", "days": "calendar"}
    assert terms["discounts"] == [{"kind": "amount", "value": 3_000, "until": "2020-11-30"}]


DATED = [{"data": "2026-01-01", "valorPerc": "1.00"}]


@pytest.mark.parametrize(
    ("calendar", "value", "why"),
    [
        ([], {}, "calendario is an object"),
        ({}, [], "valor is an object"),
        ({"dataDeVencimento": None}, {}, "dataDeVencimento is a date"),
        ({"dataDeVencimento": "2026-1-1"}, {}, "dataDeVencimento is a date"),
        ({"validadeAposVencimento": -1}, {}, "validadeAposVencimento"),
        ({"validadeAposVencimento": True}, {}, "validadeAposVencimento"),
        ({}, {"original": "0.00"}, "original"),
        ({}, {"original": 1}, "original"),
        ({}, {"multa": {"modalidade": 3, "valorPerc": "1.00"}}, "multa.modalidade is one of 1, 2"),
        ({}, {"multa": {"modalidade": None, "valorPerc": "1.00"}}, "multa.modalidade is a number"),
        ({}, {"multa": {"modalidade": 2, "valorPerc": "100.01"}}, "at most 100.00"),
        ({}, {"multa": {"modalidade": 1}}, "multa.valorPerc"),
        ({}, {"juros": {"modalidade": 4, "valorPerc": "1.00"}}, "juros.modalidade is one of"),
        ({}, {"juros": {"modalidade": 7, "valorPerc": "1.00"}}, "juros.modalidade is one of"),
        ({}, {"abatimento": 5}, "abatimento is an object"),
        ({}, {"desconto": {"modalidade": 7}}, "from 1 to 6"),
        ({}, {"desconto": {"modalidade": 1}}, "1 to 3 items"),
        ({}, {"desconto": {"modalidade": 1, "descontoDataFixa": DATED * 4}}, "1 to 3 items"),
        ({}, {"desconto": {"modalidade": 1, "valorPerc": "1.00", "descontoDataFixa": DATED}}, "no valorPerc"),
        ({}, {"desconto": {"modalidade": 3, "valorPerc": "1.00", "descontoDataFixa": DATED}}, "no descontoDataFixa"),
        ({}, {"desconto": {"modalidade": 3}}, "desconto.valorPerc"),
        ({}, {"desconto": {"modalidade": 1, "descontoDataFixa": [1]}}, "descontoDataFixa is an object"),
    ],
)
def test_a_charge_that_cannot_be_read(calendar: Any, value: Any, why: str) -> None:
    """A charge of another form, or of a mode that is not supported, is refused with the member and the reason."""
    if isinstance(calendar, dict):
        calendar = {"dataDeVencimento": "2026-01-01", **calendar}
    if isinstance(value, dict):
        value = {"original": "10.00", **value}
    with pytest.raises(ValueError, match=why):
        read_charge(calendar, value)


TERMS: DueTerms = {
    "date": "2026-01-09",
    "valid_days": 10,
    "fine": {"kind": "percent", "value": 200},
    "interest": None,
    "rebate": None,
    "discounts": [{"kind": "amount", "value": 100, "until": "2026-01-05"}],
    "early_discount": None,
}
BODY = {
    "calendario": {"dataDeVencimento": "2026-01-09", "validadeAposVencimento": 10},
    "valor": {
        "original": "10.50",
        "multa": {"modalidade": 2, "valorPerc": "2.00"},
        "desconto": {"modalidade": 1, "descontoDataFixa": [{"data": "2026-01-05", "valorPerc": "1.00"}]},
    },
    "devedor": {"cpf": "11144477735", "nome": "Ana Lima"},
}
ORDER = ChargeOrder(
    TXID,
    1050,
    0,
    None,
    "https://lastro.example.test/callbacks",
    DueOrder(TERMS, Debtor("Ana Lima", "cpf", "11144477735")),
)
COBV: dict[str, Any] = {**BODY, "pixCopiaECola": CODE, "chave": "ana@example.com", "status": "ATIVA"}


async def test_a_charge_with_a_due_date_is_created() -> None:
    """The charge is created at `/cobv`, and what is kept of the exchange has no personal data."""
    provider = Provider(httpx.Response(200), httpx.Response(201, json=COBV))
    payable = await rail(provider).create_charge(ORDER)
    assert provider.steps == ["PUT /webhook", "PUT /cobv"]
    sent = json.loads(provider.asked[1].content)
    assert {name: sent[name] for name in BODY} == BODY
    for part in ("request", "answer"):
        assert payable.exchange[part]["devedor"] == {"cpf": "***7735", "nome": "***"}


@pytest.mark.parametrize("modes_are_texts", [False, True])
async def test_a_charge_whose_answer_was_lost_is_read(modes_are_texts: bool) -> None:
    """A charge that was made is found by its txid, also where the provider writes modes as texts; one with other terms
    is another charge."""
    present = json.loads(json.dumps(COBV))
    present["valor"]["multa"]["modalidade"] = "2" if modes_are_texts else 2
    provider = Provider(httpx.Response(200), httpx.ReadTimeout("slow"), httpx.Response(200, json=present))
    assert (await rail(provider).create_charge(ORDER)).code == CODE
    assert provider.steps == ["PUT /webhook", "PUT /cobv", "GET /cobv"]
    for change in ({"calendario": {"dataDeVencimento": "2026-01-10"}}, {"valor": {"original": "10.50"}}):
        answers = (httpx.Response(200), httpx.ReadTimeout("slow"), httpx.Response(200, json={**COBV, **change}))
        with pytest.raises(RailRefused) as refused:
            await rail(Provider(*answers)).create_charge(ORDER)
        assert refused.value.code == "txid"


async def test_a_charge_with_a_due_date_is_changed_removed_and_read() -> None:
    """A change sends all terms; a change, a removal and a question go to `/cobv`."""
    revision = ChargeRevision(TXID, 1050, None, "Hurry", TERMS)
    provider = Provider(httpx.Response(200), httpx.Response(200), httpx.Response(200, json={**COBV, "pix": []}))
    asked = rail(provider)
    await asked.revise_charge(revision)
    await asked.remove_charge(TXID, is_due=True)
    assert await asked.charge_state(TXID, is_due=True) is not None
    assert provider.steps == ["PATCH /cobv", "PATCH /cobv", "GET /cobv"]
    assert json.loads(provider.asked[0].content) == {
        "calendario": BODY["calendario"],
        "valor": BODY["valor"],
        "solicitacaoPagador": "Hurry",
    }
    over = Provider(httpx.ReadTimeout("slow"), httpx.Response(200, json={**COBV, "valor": {}, "status": "CONCLUIDA"}))
    with pytest.raises(RailRefused) as refused:
        await rail(over).revise_charge(revision)
    assert refused.value.code == CHARGE_OVER
    made = {**COBV, "solicitacaoPagador": "Hurry"}
    await rail(Provider(httpx.ReadTimeout("slow"), httpx.Response(200, json=made))).revise_charge(revision)
