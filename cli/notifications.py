"""`lastro notifications`: the messages to users."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import console, print_json

app = typer.Typer(help="Messages to users about their payments.", no_args_is_help=True)
_SAMPLE: Final = {
    "id": "pay_01a2179d643d700180a62acf7b853528",
    "amount": "1050",
    "currency": "BRL",
    "time": "2026-01-31T15:00:00.000000Z",
    "reason": "insufficient_funds",
}
_NAME: Final = "Ana Souza"


@app.callback()
def _group() -> None:
    """Keep the name of the command in the command line: a group of one command would lose it."""


@app.command()
def preview(
    event: Annotated[
        str | None, typer.Argument(help="The event type, such as lastro.payment.settled.v1; all without one.")
    ] = None,
    channel: Annotated[str | None, typer.Option(help="email, sms or push; all without it.")] = None,
    locale: Annotated[str | None, typer.Option(help="pt-BR or en; both without it.")] = None,
    role: Annotated[str, typer.Option(help="payer or payee.")] = "payer",
    *,
    as_json: Json = False,
) -> None:
    """Print the messages that users get, with the values of an example."""
    from functions.notifications._templates import EVENTS, LOCALES, TemplateFailed, render
    from shared.ports.notifier import CHANNELS

    if role not in ("payer", "payee"):
        raise CliError(f"there is no role {role}; use payer or payee", 2)
    out = console()
    found: list[dict[str, str | None]] = []
    for type in _chosen("event type", event, EVENTS):
        for each in _chosen("channel", channel, CHANNELS):
            for language in _chosen("locale", locale, LOCALES):
                try:
                    text = render(type, each, language, {**_SAMPLE, "role": role}, _NAME)
                except TemplateFailed as failure:
                    raise CliError(str(failure)) from None
                if as_json:
                    named = {"event_type": type, "channel": each, "locale": language, "role": role}
                    found.append({**named, **text._asdict()})
                    continue
                out.print(f"[bold]{type}[/] {each} {language} {role}")
                out.print("\n".join(filter(None, text)).rstrip() + "\n", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json({"messages": found})


T = TypeVar("T", bound=str)


def _chosen(name: str, wanted: str | None, known: tuple[T, ...]) -> list[T]:
    """Return the known value that is wanted, or all. Raises CliError."""
    found = [value for value in known if wanted in (None, value)]
    if not found:
        raise CliError(f"there is no {name} {wanted}; use {', '.join(known)}", 2)
    return found
