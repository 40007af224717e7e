"""`lastro stack`: runs the servers of compose.yaml with Docker."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import console, print_json, say

app = typer.Typer(help="Servers for the platform on this machine, by Docker Compose.", no_args_is_help=True)
_FILE: Final = "compose.yaml"
_LABEL: Final = "lastro.setting"
_WAIT_SECONDS: Final = 600

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Servers of compose.yaml; else all.")]


@app.command()
def up(names: Names = None, *, as_json: Json = False) -> None:
    """Start servers, wait until they are healthy, and print the settings that `lastro` needs to use them.

    Data are stored in Docker volumes. With these settings, `lastro migrate` creates the collections and tables, and
    `lastro topics apply` the topics.
    """
    settings = _settings(names)
    _compose("up", "--detach", "--wait", "--wait-timeout", str(_WAIT_SECONDS), *settings)
    _show(settings, as_json=as_json)


@app.command()
def down(
    *,
    volumes: Annotated[bool, typer.Option("--volumes", help="Remove their data too.")] = False,
    as_json: Json = False,
) -> None:
    """Stop the servers and remove their containers. The volumes are kept unless --volumes is given."""
    _compose("down", *(["--volumes"] if volumes else []))
    if as_json:
        print_json({"data_removed": volumes})


@app.command()
def status(*, as_json: Json = False) -> None:
    """Show the running servers, their health and their settings."""
    settings = _settings(None)
    # One JSON object per line; Compose before 2.21 prints one list.
    shown = _compose("ps", "--all", "--format", "json", captured=True)
    rows: list[dict[str, Any]] = []
    for line in shown.splitlines():
        value = json.loads(line)
        rows.extend(value if isinstance(value, list) else [value])
    states = {row["Service"]: row.get("Health") or row["State"] for row in rows}
    found = [
        {"name": name, "state": states.get(name, "not started"), "setting": setting}
        for name, setting in settings.items()
    ]
    if as_json:
        print_json({"data": found})
        return
    for server in found:
        setting = " ".join(server["setting"].splitlines())
        console().print(f"{server['name']:<10} {server['state']:<12} {setting}", markup=False)


def _show(settings: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(line.split("=", 1) for setting in settings.values() for line in setting.splitlines()))
        return
    for setting in settings.values():
        print(setting)


def _settings(names: list[str] | None) -> dict[str, str]:
    """Return the settings of each server, one a line, by its name, in the order of the file.

    Raises CliError for an unknown name.
    """
    from shared.core.strict_yaml import read_value

    services = read_value(_path().read_text(encoding="utf-8"))["services"]
    settings = {name: str(service["labels"][_LABEL]) for name, service in services.items()}
    unknown = sorted(set(names or ()) - settings.keys())
    if unknown:
        raise CliError(f"compose.yaml has no server {', '.join(unknown)}: it has {', '.join(settings)}", 2)
    return {name: setting for name, setting in settings.items() if not names or name in names}


def _path() -> Path:
    from embedded.platform.platform import ROOT

    return ROOT / _FILE


def _compose(*arguments: str, captured: bool = False) -> str:
    """Run Docker Compose on the file. Its output goes to stderr, or is returned. Raises CliError if it fails."""
    docker = shutil.which("docker")
    version = ["compose", "version"]
    if docker is None or subprocess.run([docker, *version], capture_output=True, check=False).returncode != 0:
        raise CliError("`lastro stack` needs Docker with Compose 2, and `docker compose version` does not run here")
    command = [docker, "compose", "--file", str(_path()), *arguments]
    ended = subprocess.run(command, stdout=subprocess.PIPE if captured else sys.stderr, text=True, check=False)
    if ended.returncode != 0:
        say(f"the command was: {' '.join(command)}")
        raise CliError(f"Docker Compose ended with {ended.returncode}: the lines above say why")
    return ended.stdout or ""
