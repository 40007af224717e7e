"""`lastro release`: what happens to a release that takes traffic step by step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import console, print_json

_EXIT_CODES: Final = {"promote": 0, "hold": 3, "pause": 4, "roll back": 5}
app = typer.Typer(no_args_is_help=True, help="Releases that take traffic step by step.")


@app.callback()
def _release() -> None:
    """Releases that take traffic step by step."""


@app.command()
def status(
    *,
    phase: Annotated[int, typer.Option(min=1, max=4, help="The phase: 5, 25, 50 or 100 % of the traffic.")],
    metrics: Annotated[
        Path, typer.Option("--metrics", metavar="FILE", help="What was measured, as JSON; - reads standard input.")
    ],
    as_json: Json = False,
) -> None:
    """Decide about a release by the figures of its present phase, and give the reasons.

    Ends with 0 to promote it, 3 to go on, 4 to pause and alert, 5 to roll back.
    """
    from shared.release.decision import Phase, decide
    from shared.release.reading import InvalidObservation, read_observation

    try:
        seen = read_observation(_text(metrics))
    except InvalidObservation as error:
        raise CliError(f"{'standard input' if str(metrics) == '-' else metrics}: {error}") from None
    (present,) = (each for each in Phase if each.number == phase)
    decision = decide(present, seen)
    if as_json:
        print_json(
            {
                "phase": phase,
                "percent": present.percent,
                "action": decision.action.value.replace(" ", "_"),
                "reasons": decision.reasons,
                "with_consumers": decision.with_consumers,
            }
        )
    else:
        out = console()
        out.print(f"[bold]{decision.action.value}[/] in phase {phase} ({present.percent} % of the traffic)")
        for reason in decision.reasons:
            out.print(f"- {reason}", highlight=False, markup=False)
    raise typer.Exit(_EXIT_CODES[decision.action.value])


def _text(metrics: Path) -> str:
    try:
        return sys.stdin.read() if str(metrics) == "-" else metrics.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CliError(f"{metrics} cannot be read: {reason}") from None
