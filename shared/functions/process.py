"""The one runtime of this process, and what happens when the framework loads a function into a process of its own.

A function runs alone as `shared.functions.application` (the image's command), which opens and closes its runtime with
the server. Loaded by the framework's own application, which tells a function nothing of start and stop, its runtime is
made with the first request. Either way a setting that cannot be followed ends the process before it takes requests.
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
    """Make this runtime the one that every function of the process uses; None removes it."""
    global _installed  # noqa: PLW0603 - a framework target is a module's global: it finds its runtime in another
    _installed = runtime


def process_runtime() -> Runtime:
    """The installed runtime; in a process that the framework began, one made from the settings at the first request.

    Raises InvalidSettings.
    """
    if _installed is None:
        from shared.bootstrap.process import Process

        settings, logs = begin()
        process = Process(settings, logs=logs)
        process.begin()
        install(process.runtime(process.lazy_store()))
    assert _installed is not None
    return _installed


def begin() -> tuple[Settings, Logs]:
    """Read the settings and set up logging, once. Raises InvalidSettings or BadKeyFile."""
    global _begun  # noqa: PLW0603 - as above
    if _begun is None:
        from shared.bootstrap.starting import check_files, read_settings, warn_of_misspelt
        from shared.telemetry.logs import Logs

        settings = read_settings()
        check_files(settings)
        _begun = settings, Logs(settings.log_level, settings.log_format)
        warn_of_misspelt()
    return _begun


def begin_or_exit() -> tuple[Settings, Logs]:
    """As `begin`; what cannot be followed ends the process, with one line and exit code 1."""
    from shared.adapters.files.keyfile import BadKeyFile

    try:
        return begin()
    except (ValueError, BadKeyFile) as error:
        refuse_to_start(str(error))


def refuse_to_start(reason: str) -> NoReturn:
    """Log why this process cannot run, in the form of its other lines, and end it with exit code 1."""
    from shared.telemetry.logs import log_once

    log_once("error", __name__, reason, os.environ.get("LASTRO_LOG_FORMAT", ""))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        sys.exit(EXIT_CODE)
    # The framework's application loads the function when uvicorn first calls it, and uvicorn takes whatever is raised
    # there, SystemExit too, for an application without a start: it would open the port and answer 500 for ever.
    os._exit(EXIT_CODE)


def check_when_loaded_alone(handler: Callable[..., object]) -> None:
    """End the process when the framework is loading this handler's file into it and its settings cannot be followed.

    Called by the decorators. In a process that has a runtime already, as `lastro up` has, it does nothing.
    """
    name = handler.__name__
    # The framework loads the file as a module by the name of its stem, outside the package that it lies in.
    if _installed is None and _begun is None and handler.__module__ == os.environ.get("FUNCTION_TARGET") == name:
        begin_or_exit()
