"""The report of a day as a page: one file without scripts, in Portuguese or English."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from babel.core import negotiate_locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision
from jinja2 import Environment, StrictUndefined, Template

from functions.operations._report import SHOWN_LETTERS, Report
from shared.core.clock import parse_time
from shared.core.money import Money
from shared.core.strict_yaml import read_value

_FOLDER: Final = Path(__file__).parent / "pages"
LOCALES: Final = ("pt-BR", "en")
_ZONE: Final = ZoneInfo("America/Sao_Paulo")


def page_of(report: Report, accept_language: str | None) -> str:
    """Return the page, in the language that a client prefers (RFC 9110 §12.5.4); Portuguese when it has no
    preference among pt-BR and en. Times are those of São Paulo."""
    locale = _locale(accept_language)
    language = locale.replace("-", "_")

    def amount(value: Money) -> str:
        places = get_currency_precision(value.currency)
        return format_currency(Decimal(value.value).scaleb(-places), value.currency, locale=language)

    def time(text: str) -> str:
        return format_datetime(parse_time(text), "short", tzinfo=_ZONE, locale=language)

    return _template().render(
        report=report,
        t=_texts()[locale],
        locale=locale,
        day=format_date(date.fromisoformat(report.day), "long", language),
        amount=amount,
        time=time,
        number=lambda value: format_decimal(value, locale=language),
        percent=lambda value: format_percent(value, "#,##0.0%", locale=language),
        most=SHOWN_LETTERS,
    )


def _locale(accept_language: str | None) -> str:
    """Return the first supported locale of the header, by weight."""
    weighted: list[tuple[float, int, str]] = []
    for position, element in enumerate((accept_language or "").split(",")):
        name, _, weight = element.strip().partition(";q=")
        try:
            weighted.append((-float(weight or 1), position, name))
        except ValueError:
            continue  # an element that is not valid is no preference
    preferred = [name for weight, _, name in sorted(weighted) if weight < 0 and name]
    aliases = {"pt": "pt-BR", "pt-br": "pt-BR", "pt-pt": "pt-BR", "en-us": "en", "en-gb": "en"}
    wanted = [aliases.get(name.lower(), name) for name in preferred]
    return negotiate_locale(wanted, LOCALES, sep="-") or LOCALES[0]


@cache
def _template() -> Template:
    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True)
    return environment.from_string((_FOLDER / "report.html").read_text("utf-8"))


@cache
def _texts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_value((_FOLDER / "report.yaml").read_text("utf-8"))
    return found
