"""Runs the programs that a deployment needs: kubectl, kustomize, kind, docker, helm."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cli.errors import CliError

ROOT: Final = Path(__file__).parents[1]
_SHOWN_ARGUMENTS: Final = 6
"""A message has no more of a command: later arguments may be long, or a password."""
_SHOWN_LINES: Final = 15


class DeploymentFailed(CliError):
    """A step of a deployment cannot be done. The text has the reason and the remedy."""


class CommandFailed(DeploymentFailed):
    """A program has ended with another code than 0."""


def output_of(
    command: Sequence[str],
    *,
    given: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run a program, with text for its input, and return its output. Raises CommandFailed with its last lines."""
    try:
        done = subprocess.run(
            command,
            input=given,
            env=None if environment is None else {**os.environ, **environment},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise DeploymentFailed(f"{command[0]} is not on the PATH") from None
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-_SHOWN_LINES:])
        shown = " ".join(command[:_SHOWN_ARGUMENTS])
        more = " …" if len(command) > _SHOWN_ARGUMENTS else ""
        raise CommandFailed(f"`{shown}{more}` ended with {done.returncode}\n{last}")
    return done.stdout


def kustomize() -> str:
    """Return the program kustomize, of the PATH or of the cache into which `.ci/run` builds it. Raises
    DeploymentFailed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastro" / "bin"
    found = shutil.which("kustomize") or shutil.which("kustomize", path=cache)
    if found is None:
        raise DeploymentFailed(f"kustomize 5.8 is neither on the PATH nor in {cache}: install it")
    return found
