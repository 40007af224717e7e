"""`lastro release`: what happens to a release that takes traffic step by step."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import console, print_json

if TYPE_CHECKING:
    from shared.release.state import Release

_EXIT_CODES: Final = {"promote": 0, "hold": 3, "pause": 4, "roll back": 5}
_ENDED_WITH: Final = {"complete": 0, "superseded": 0, "running": 3, "observed": 3, "paused": 4, "rolled back": 5}
"""The exit code of the outcome of a release, in the meaning of the decisions."""
_PRESENT: Final = "lastro-release"
_KUBECTL_SECONDS: Final = 60
app = typer.Typer(no_args_is_help=True, help="Releases that take traffic step by step.")


@app.callback()
def _release() -> None:
    """Releases that take traffic step by step."""


@app.command()
def status(
    release_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The release; the present or last one when left out.")
    ] = None,
    *,
    phase: Annotated[
        int | None, typer.Option(min=1, max=4, help="Decide about this phase: 5, 25, 50 or 100 % of the traffic.")
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", metavar="FILE", help="What was measured, as JSON; - reads standard input."),
    ] = None,
    namespace: Annotated[str, typer.Option(help="The namespace of the controller of releases.")] = "lastro-release",
    as_json: Json = False,
) -> None:
    """Show where a release stands by its record in the cluster, which is read with kubectl; or, with --phase and
    --metrics, decide about a release by the figures of a phase, and give the reasons.

    Ends with 0 when the release is complete, superseded or to be promoted, 3 when it goes on, 4 when it is paused, 5
    when it was or is to be taken back.
    """
    if phase is None and metrics is None:
        _show(_stored(release_id, namespace), as_json=as_json)
    elif phase is None or metrics is None or release_id is not None:
        raise CliError("--phase and --metrics belong together, and to no ID: the figures are not those of a record")
    else:
        _decide(phase, metrics, as_json=as_json)


def _decide(phase: int, metrics: Path, *, as_json: bool) -> None:
    """Decide about the figures of a file, and end with the decision's code."""
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


def _stored(release_id: str | None, namespace: str) -> Release:
    """Return a release as the controller has stored it. Raises CliError."""
    from shared.release.state import Release

    name = _PRESENT if release_id is None else f"release-{release_id}"
    data = _config_map(name, namespace)
    try:
        return Release.read(data["release"])
    except (KeyError, TypeError, ValueError) as error:
        raise CliError(f"the ConfigMap {name} in {namespace} has no release: {error!r}") from None


def _config_map(name: str, namespace: str) -> dict[str, str]:
    """Return the data of a ConfigMap of the cluster of kubectl's present context. Raises CliError."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise CliError("kubectl is not installed: with it the record of a release is read from the cluster")
    command = [kubectl, "get", "configmap", name, f"--namespace={namespace}", "--output=json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_KUBECTL_SECONDS)
    except subprocess.TimeoutExpired:
        raise CliError(f"the cluster did not answer kubectl within {_KUBECTL_SECONDS} s") from None
    if done.returncode != 0:
        raise CliError(f"kubectl cannot read the ConfigMap {name} in {namespace}: {done.stderr.strip()}")
    found: dict[str, str] = json.loads(done.stdout).get("data") or {}
    return found


def _show(release: Release, *, as_json: bool) -> None:
    """Print a release, and end with the code of its outcome."""
    percent = release.phase.percent if release.phase is not None else 0
    if as_json:
        known: dict[str, Any] = {"id": release.id, "outcome": release.outcome.replace(" ", "_")}
        known |= {"phase": release.phase_number, "percent": percent, "phase_since": release.phase_since}
        known |= {"image": release.image, "commit": release.commit, "trace_id": release.trace_id}
        print_json(
            known
            | {"started": release.started, "reasons": release.reasons, "revisions": release.new, "log": release.log}
        )
    else:
        out = console()
        out.print(f"[bold]{release.outcome}[/] in phase {release.phase_number} ({percent} % of the traffic)")
        lines = [f"- {reason}" for reason in release.reasons]
        lines += [f"release  {release.id}, {len(release.new)} new revisions, since {release.started}"]
        lines += [f"image    {release.image}", f"commit   {release.commit}", f"trace    {release.trace_id}"]
        lines += [
            f"{line['at']}  {line['action']} in phase {line['phase']}: {'; '.join(line['reasons'])}"
            for line in release.log
        ]
        for line in lines:
            out.print(line, highlight=False, markup=False)
    raise typer.Exit(_ENDED_WITH[release.outcome])
