"""The runtime of this process, and the start of a process into which the framework loads one function.

A function that runs alone uses `shared.functions.application` (the command of the image), which opens and closes its
runtime with the server. The framework's own application does not notify a function of start and stop; there the first
request makes the runtime. In both cases an invalid setting ends the process before it accepts requests.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from shared.context.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.core.settings import Settings
    from shared.telemetry.logs import Logs

_installed: Runtime | None = None
_begun: tuple[Settings, Logs] | None = None
EXIT_CODE = 1


def install(runtime: Runtime | None) -> None:
    """Make this runtime the one that every function of the process uses. None removes it."""
    global _installed  # noqa: PLW0603 - a framework target is a module-level name and finds its runtime in another
    _installed = runtime


def process_runtime() -> Runtime:
    """Return the installed runtime. Without one, make it from the settings and install it.

    Raises InvalidSettings.
    """
    if _installed is None:
        from shared.bootstrap.process import Process

        settings, logs = begin()
        process = Process(settings, logs=logs)
        process.begin(refuse_to_start)
        install(process.runtime_alone())
    assert _installed is not None
    return _installed


def begin() -> tuple[Settings, Logs]:
    """Read the settings and set up logging, once. Raises InvalidSettings or BadKeyFile."""
    global _begun  # noqa: PLW0603 - as above
    if _begun is None:
        from shared.bootstrap.starting import check_files, read_settings, warn_of_variables
        from shared.telemetry.logs import Logs

        settings = read_settings()
        check_files(settings)
        _begun = settings, Logs(settings.log_level, settings.log_format)
        warn_of_variables()
    return _begun


def begin_or_exit() -> tuple[Settings, Logs]:
    """Read the settings and set up logging, as `begin`. An error ends the process with one log line and exit code 1."""
    from shared.adapters.files.keyfile import BadKeyFile

    try:
        return begin()
    except (ValueError, BadKeyFile) as error:
        refuse_to_start(str(error))


def refuse_to_start(reason: str) -> NoReturn:
    """Log why this process cannot run, in the configured format, and end it with exit code 1."""
    from shared.telemetry.logs import log_once

    log_once("error", __name__, reason, os.environ.get("LASTRO_LOG_FORMAT", ""))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        sys.exit(EXIT_CODE)
    # The framework's application loads the function when uvicorn first calls it. uvicorn takes any exception there,
    # SystemExit too, to mean that the application has no lifespan: it would open the port and answer 500 to everything.
    os._exit(EXIT_CODE)


def check_when_loaded_alone(handler: Callable[..., object]) -> None:
    """End the process when the framework is loading this handler's file and a setting is invalid.

    The decorators call this. It does nothing in a process that has a runtime already, such as `lastro up`.
    """
    name = handler.__name__
    # The framework loads the file as a module named after its stem, outside its package.
    if _installed is None and _begun is None and handler.__module__ == os.environ.get("FUNCTION_TARGET") == name:
        begin_or_exit()
