"""Checks before a process starts: an invalid setting or file stops it with one log line.

Nothing is opened here and no driver is imported, so the check is cheap for a function that waits for its first request.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from shared.adapters.files.keyfile import check_key_files
from shared.adapters.files.yaml_flags import FLAGS_FILE, YamlFlags
from shared.adapters.otlp.variables import read_variables
from shared.core.settings import InvalidSettings, Settings, misspelt

log = logging.getLogger(__name__)
_PORTS: Final = ("documents", "ledger", "cache", "bus", "secrets", "flags")


def read_settings() -> Settings:
    """Read and check the settings of this process. Raises InvalidSettings."""
    settings = Settings.from_environment()
    refuse_unknown_servers(settings)
    read_variables(os.environ, settings.trace_ratio)
    return settings


def warn_of_misspelt() -> None:
    """Log a warning for each variable whose name resembles a setting's name but is none. Needs logging to be set up."""
    for name, meant in misspelt():
        log.warning("the environment has %s, which is no setting: is %s meant?", name, meant)


def check_files(settings: Settings) -> None:
    """Check the key files and the file of flags, if they exist.

    Raises BadKeyFile or InvalidSettings, which name the file.
    """
    check_key_files(settings.data_path)
    YamlFlags(settings.data_path / FLAGS_FILE).check()


def refuse_unknown_servers(settings: Settings) -> None:
    """Raise InvalidSettings for each URL of a server for which this version has no adapter."""
    wrong = []
    for port in _PORTS:
        url: str = getattr(settings, port)
        if url:
            scheme = url.partition("://")[0]
            wrong.append(
                f"LASTRO_{port.upper()} names a {scheme!r} server, and this version has only the embedded {port} "
                f"adapter: leave the setting out"
            )
    if wrong:
        raise InvalidSettings("; ".join(wrong))
