"""Charges with a due date (`cobv`) in the words of the API Pix of Banco Central do Brasil.

The modes (`modalidade`) of the API Pix that are written and read here:

- `multa` and `abatimento`: 1 an amount, 2 percent.
- `juros`: for each day 1 an amount, 2 percent; 3 percent for each month; for each business day 5 an amount, 6 percent.
- `desconto`: until dates 1 an amount, 2 percent; for each day of earlier payment 3 an amount, 5 percent; for each
  business day 4 an amount, 6 percent.

The modes 4, 7 and 8 of `juros` are not: the API Pix does not say how many days, or business days, a year and a month
have (docs/decisions/0048).
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final, Literal

from shared.adapters.pix.formats import format_amount, parse_amount
from shared.core.due_terms import (
    ALL,
    DEFAULT_VALID_DAYS,
    MAX_DAYS,
    MAX_DISCOUNTS,
    DatedDiscount,
    Days,
    DueTerms,
    EarlyDiscount,
    Interest,
    Part,
)
from shared.ports.rail import Debtor, DueOrder

_Kind = Literal["amount", "percent"]
_KINDS: Final[dict[int, _Kind]] = {1: "amount", 2: "percent"}
_INTEREST: Final[dict[int, tuple[_Kind, Literal["day", "month"], Days]]] = {
    1: ("amount", "day", "calendar"),
    2: ("percent", "day", "calendar"),
    3: ("percent", "month", "calendar"),
    5: ("amount", "day", "business"),
    6: ("percent", "day", "business"),
}
_EARLY: Final[dict[int, tuple[_Kind, Days]]] = {
    3: ("amount", "calendar"),
    4: ("amount", "business"),
    5: ("percent", "calendar"),
    6: ("percent", "business"),
}


def due_charge(amount: int, order: DueOrder) -> dict[str, Any]:
    """Return the body of `PUT /cobv/{txid}` without the receiver's key. `amount` is in centavos."""
    return {**calendar_and_value(amount, order.terms), "devedor": debtor_object(order.debtor)}


def calendar_and_value(amount: int, terms: DueTerms) -> dict[str, Any]:
    """Return the members `calendario` and `valor` of a charge."""
    value: dict[str, Any] = {"original": format_amount(amount)}
    if terms["fine"] is not None:
        value["multa"] = _part(terms["fine"])
    if (interest := terms["interest"]) is not None:
        mode = _mode(_INTEREST, (interest["kind"], interest["per"], interest["days"]))
        value["juros"] = {"modalidade": mode, "valorPerc": format_amount(interest["value"])}
    if terms["rebate"] is not None:
        value["abatimento"] = _part(terms["rebate"])
    if terms["discounts"]:
        dated = [{"data": one["until"], "valorPerc": format_amount(one["value"])} for one in terms["discounts"]]
        value["desconto"] = {"modalidade": _mode(_KINDS, terms["discounts"][0]["kind"]), "descontoDataFixa": dated}
    if (early := terms["early_discount"]) is not None:
        mode = _mode(_EARLY, (early["kind"], early["days"]))
        value["desconto"] = {"modalidade": mode, "valorPerc": format_amount(early["value"])}
    calendar = {"dataDeVencimento": terms["date"], "validadeAposVencimento": terms["valid_days"]}
    return {"calendario": calendar, "valor": value}


def debtor_object(debtor: Debtor) -> dict[str, str]:
    """Return the member `devedor` of a charge."""
    return {debtor.document_type: debtor.document_number, "nome": debtor.name}


def read_charge(calendar: Any, value: Any) -> tuple[int, DueTerms]:
    """Return the amount in centavos and the terms that `calendario` and `valor` mean.

    Raises ValueError for another form, and for a mode that is not supported. Whether the terms fit each other is
    checked by shared.core.due_terms.check_terms.
    """
    calendar, value = _object(calendar, "calendario"), _object(value, "valor")
    due = _date(calendar.get("dataDeVencimento"), "calendario.dataDeVencimento")
    valid_days = calendar.get("validadeAposVencimento", DEFAULT_VALID_DAYS)
    if type(valid_days) is not int or not 0 <= valid_days <= MAX_DAYS:
        raise ValueError(f"calendario.validadeAposVencimento is a number from 0 to {MAX_DAYS}")
    discounts, early = _read_discount(value.get("desconto"))
    terms: DueTerms = {
        "date": due,
        "valid_days": valid_days,
        "fine": _read_part(value.get("multa"), "multa"),
        "interest": _read_interest(value.get("juros")),
        "rebate": _read_part(value.get("abatimento"), "abatimento"),
        "discounts": discounts,
        "early_discount": early,
    }
    return _number(value.get("original"), "original"), terms


def _part(part: Part) -> dict[str, Any]:
    return {"modalidade": _mode(_KINDS, part["kind"]), "valorPerc": format_amount(part["value"])}


def _mode(modes: dict[int, Any], meaning: object) -> int:
    return next(mode for mode, found in modes.items() if found == meaning)


def _read_part(value: Any, name: str) -> Part | None:
    if value is None:
        return None
    kind = _meaning(_KINDS, value, name)
    return {"kind": kind, "value": _portion(value, name, kind)}


def _read_interest(value: Any) -> Interest | None:
    if value is None:
        return None
    kind, per, days = _meaning(_INTEREST, value, "juros")
    return {"kind": kind, "value": _portion(value, "juros", kind), "per": per, "days": days}


def _read_discount(value: Any) -> tuple[list[DatedDiscount], EarlyDiscount | None]:
    if value is None:
        return [], None
    mode, dated = _modality(value, "desconto"), value.get("descontoDataFixa")
    if mode in _EARLY:
        if dated is not None:
            raise ValueError(f"valor.desconto of the mode {mode} has no descontoDataFixa")
        kind, days = _EARLY[mode]
        return [], {"kind": kind, "value": _portion(value, "desconto", kind), "days": days}
    if mode not in _KINDS:
        raise ValueError("valor.desconto.modalidade is a number from 1 to 6")
    if value.get("valorPerc") is not None:
        raise ValueError(f"valor.desconto of the mode {mode} has no valorPerc beside descontoDataFixa")
    if not isinstance(dated, list) or not 1 <= len(dated) <= MAX_DISCOUNTS:
        raise ValueError(f"valor.desconto.descontoDataFixa has 1 to {MAX_DISCOUNTS} items")
    kind = _KINDS[mode]
    return [_read_dated(one, kind) for one in dated], None


def _read_dated(value: Any, kind: _Kind) -> DatedDiscount:
    value = _object(value, "valor.desconto.descontoDataFixa")
    return {
        "kind": kind,
        "value": _portion(value, "desconto", kind),
        "until": _date(value.get("data"), "valor.desconto.descontoDataFixa.data"),
    }


def _meaning(modes: dict[int, Any], value: Any, name: str) -> Any:
    mode = _modality(value, name)
    if mode not in modes:
        known = ", ".join(map(str, modes))
        raise ValueError(f"valor.{name}.modalidade is one of {known}")
    return modes[mode]


def _modality(value: Any, name: str) -> int:
    mode = _object(value, f"valor.{name}").get("modalidade")
    # The schema has an integer, and the specification's own examples have a text.
    if isinstance(mode, str) and len(mode) == 1 and mode.isascii() and mode.isdigit():
        mode = int(mode)
    if type(mode) is not int:
        raise ValueError(f"valor.{name}.modalidade is a number")
    return mode


def _portion(value: dict[str, Any], name: str, kind: _Kind) -> int:
    number = _number(value.get("valorPerc"), f"{name}.valorPerc")
    if kind == "percent" and number > ALL:
        raise ValueError(f"valor.{name}.valorPerc is at most 100.00 percent")
    return number


def _number(value: Any, name: str) -> int:
    """Return an amount in centavos, or a share in hundredths of a percent: the rail writes both alike."""
    try:
        return parse_amount(str(value))
    except ValueError as error:
        raise ValueError(f"valor.{name}: {error}") from None


def _date(value: Any, name: str) -> str:
    try:
        if isinstance(value, str) and date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise ValueError(f"{name} is a date, such as 2026-12-31")


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is an object")  # noqa: TRY004 - what a request has is a value
    return value
