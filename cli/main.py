"""The `lastro` command. Each command imports its modules when it runs, so that help is fast."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import (
    bank,
    dead_letters,
    events,
    ledger,
    notifications,
    payments,
    release,
    simulate,
    stack,
    statements,
    topics,
)
from cli.demo import demo
from cli.errors import CliError
from cli.functions import functions
from cli.migrate import migrate
from cli.openapi import openapi
from cli.policies import policies
from cli.report import report
from cli.requests import request, token
from cli.testing import run_tests
from cli.up import up
from cli.wiring import wiring
from shared.core.version import VERSION

app = typer.Typer(
    name="lastro",
    help="A multi-tenant payments platform: small functions on Knative, or one process on one machine.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(demo)
app.command()(request)
app.command()(token)
app.command()(functions)
app.command()(migrate)
app.add_typer(events.app, name="events")
app.add_typer(payments.app, name="payments")
app.add_typer(bank.app, name="bank")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(ledger.app, name="ledger")
app.add_typer(notifications.app, name="notifications")
app.add_typer(release.app, name="release")
app.add_typer(simulate.app, name="simulate")
app.add_typer(stack.app, name="stack")
app.add_typer(statements.app, name="statements")
app.add_typer(topics.app, name="topics")
app.command()(openapi)
app.command()(policies)
app.command()(report)
app.command()(wiring)
app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run_tests)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lastro {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 failure or refusal, 2 wrong usage."""
    try:
        app(prog_name="lastro")
    except CliError as error:
        print(f"lastro: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
