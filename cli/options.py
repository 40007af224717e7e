"""Options that several commands take, described once."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_DATA_DIR: Final = Path(".lastro")
PROGRAM: Final = shlex.quote(os.environ.get("LASTRO_COMMAND", "lastro"))
"""The name by which the user called the command, from the launcher. Hints use it."""

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir", envvar="LASTRO_DATA_DIR", help="The directory of the platform's data and credentials.json."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="The tenant to act for; the demo tenant when left out.")]
Platform = Annotated[bool, typer.Option("--platform", help="Act as the platform's operator, for no tenant.")]
