"""The texts of messages: templates by event, channel and locale, rendered in a sandbox.

The templates are in `templates/<locale>.yaml`. They can use the values that they are given and nothing of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from functions.notifications._quiet_hours import BRASILIA
from shared.core.clock import parse_time
from shared.ports.notifier import CHANNELS, Channel

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER: Final = Path(__file__).parent / "templates"
LOCALES: Final = ("pt-BR", "en")
EVENTS: Final = (
    "lastro.payment.settled.v1",
    "lastro.payment.declined.v1",
    "lastro.payment.failed.v1",
    "lastro.refund.settled.v1",
    "lastro.deposit.settled.v1",
)


class TemplateFailed(Exception):
    """A template cannot be rendered. The text names it, and says why."""


class Text(NamedTuple):
    """The rendered title and text of a message. An SMS has an empty title."""

    title: str
    text: str


def render(type: str, channel: Channel, locale: str, facts: Mapping[str, str], name: str) -> Text:
    """Return the text of a message about an event of this type.

    `facts` has the `role` of the user (payer or payee), the `id` of the payment, refund or deposit, `amount` in minor
    units, `currency`, `time` (RFC 3339) and `reason` (a failure's code, or ""). Raises TemplateFailed for a template
    that does not exist, or cannot be rendered.
    """
    from babel.dates import format_date, format_time
    from babel.numbers import format_currency, get_currency_precision

    language = locale.replace("-", "_")
    here = parse_time(facts["time"]).astimezone(BRASILIA)
    places = get_currency_precision(facts["currency"])
    values = {
        **facts,
        "name": name,
        "amount": format_currency(_decimal(facts["amount"], places), facts["currency"], locale=language),
        "time": f"{format_date(here, 'medium', language)}, {format_time(here, 'short', locale=language)}",
    }
    try:
        template, environment = _templates(locale)[type][channel], _sandbox()
        title = environment.from_string(template.get("title", "")).render(values)
        text = environment.from_string(template["text"]).render(values)
    except Exception as error:  # noqa: BLE001 - Jinja raises whatever an expression of the template raises
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise TemplateFailed(f"the template of {type} for {channel} in {locale} cannot be rendered: {reason}") from None
    return Text(_plain(title), _plain(text, lines=True))


def _decimal(amount: str, places: int) -> Any:
    from decimal import Decimal

    return Decimal(amount).scaleb(-places)


def _plain(text: str, *, lines: bool = False) -> str:
    """Return the text with ordinary blanks, which every SMS alphabet and mail client has, and in one line unless it may
    have several."""
    text = text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")
    return text if lines else " ".join(text.split())


@cache
def _sandbox() -> Environment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The messages are plain text, so nothing is escaped.
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


@cache
def _templates(locale: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return the templates of a locale by event type and channel. Raises KeyError for an unknown locale."""
    from shared.core.strict_yaml import read_value

    if locale not in LOCALES:
        raise KeyError(locale)
    found: dict[str, dict[str, dict[str, str]]] = read_value((_FOLDER / f"{locale}.yaml").read_text("utf-8"))
    assert set(found) == set(EVENTS), f"{locale}.yaml does not have the templates of all events"
    assert all(set(channels) == set(CHANNELS) for channels in found.values()), f"{locale}.yaml lacks a channel"
    return found
