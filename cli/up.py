"""`lastro up`: the whole platform in this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, PROGRAM, DataDir, Json
from cli.output import console, print_json

if TYPE_CHECKING:
    from embedded.platform.platform import Platform
    from shared.core.settings import Settings

_LOCK_SECONDS: Final = 5.0


def up(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.", min=0, max=65535)] = 8080,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Make no demo tenant at the first start.")] = False,
    faithful: Annotated[
        bool, typer.Option("--faithful", help="Call every function through the functions framework, as on a cluster.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start the platform in one process: gateway, broker, schedules, identity and stores.

    Ctrl-C or SIGTERM finishes what is in progress and ends it, within ten seconds: with exit code 0, or with 1 and a
    line that says what was not written.
    """
    from embedded.server.listening import AddressInUse, listen, url_of
    from embedded.server.running import run
    from shared.bootstrap.starting import warn_of_variables
    from shared.telemetry.logs import Logs

    settings = _settings(data_dir)
    logs = Logs(settings.log_level, settings.log_format)
    warn_of_variables()
    try:
        listening = listen(host, port)
    except AddressInUse as error:
        ours = f"; the data directory {data_dir} is in use by another Lastro process" if _is_in_use(data_dir) else ""
        raise CliError(f"{error}{ours}") from None
    if "LASTRO_BASE_URL" not in os.environ:
        settings = settings._replace(base_url=url_of(listening))

    from embedded.platform.platform import Options

    try:
        options = Options(demo=not no_demo, faithful=faithful, logs=logs)
        run(settings, options, listening, lambda platform: _ready(platform, as_json=as_json))
    except _failures() as error:
        raise CliError(_text_of(error)) from None
    finally:
        logs.close()


def _is_in_use(data_dir: Path) -> bool:
    """Return whether a platform uses the directory. That platform then most probably uses the address, too."""
    import fcntl

    from shared.adapters.sqlite.schema import LOCK

    try:
        with (data_dir / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of a start or stop that the user can do something about."""
    from embedded.identity.credentials import BadCredentials
    from embedded.manifests.findings import ManifestError
    from shared.adapters.files.keyfile import BadKeyFile
    from shared.adapters.sqlite.store import NotWritten
    from shared.ports.documents import Unavailable

    return BadCredentials, BadKeyFile, ManifestError, ValueError, NotWritten, Unavailable, OSError


def _text_of(error: Exception) -> str:
    """One line that names the file, where it is about one."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _settings(data_dir: Path) -> Settings:
    from shared.bootstrap.starting import read_settings
    from shared.core.settings import InvalidSettings

    try:
        settings = read_settings()
    except InvalidSettings as error:
        raise CliError(str(error)) from None
    if "LASTRO_WEBHOOKS_ALLOW_PRIVATE" not in os.environ:
        # Who tries the platform on one machine receives webhooks on the same machine.
        settings = settings._replace(webhooks_allow_private=1)
    waiting = settings.data_lock_seconds if "LASTRO_DATA_LOCK_SECONDS" in os.environ else _LOCK_SECONDS
    return settings._replace(data_dir=str(data_dir), data_lock_seconds=waiting)


def _ready(platform: Platform, *, as_json: bool) -> None:
    settings = platform.settings
    data_dir = settings.data_dir
    if as_json:
        fields = {"base_url": settings.base_url, "data_dir": data_dir, "pid": os.getpid()}
        print_json({**fields, "credentials": str(platform.credentials.path)}, indent=None)
        return
    where = "" if data_dir == str(DEFAULT_DATA_DIR) else f" --data-dir {data_dir}"
    out = console()
    out.print(f"[bold green]Lastro is up[/] at [bold]{settings.base_url}[/]  (Ctrl-C stops it)\n")
    if platform.credentials.demo is not None:
        out.print("In another terminal:")
        out.print(f"  {PROGRAM} demo{where}                       makes example payments and checks the results")
        out.print(f"  {PROGRAM} request GET /v1/accounts{where}   signs and sends a request of the demo tenant")
        out.print(f"  {PROGRAM} events tail{where}                prints events as they are published")
        out.print(f"  {PROGRAM} functions{where}                  lists functions with their route or trigger")
    else:
        out.print(f'  {PROGRAM} request --platform POST /v1/tenants -d \'{{"name": "…"}}\'{where}   creates a tenant')
    out.print(f"\nCredentials: {platform.credentials.path}   OpenAPI: {settings.base_url}/v1/openapi.json")
    sys.stdout.flush()
