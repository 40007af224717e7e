"""What is checked before a process starts: a setting that cannot be followed stops it there, with one line.

Nothing is opened here and no driver is imported, so that a function that waits for its first request costs little.
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
    """The settings of this process, all of which can be followed. Raises InvalidSettings."""
    settings = Settings.from_environment()
    refuse_unknown_servers(settings)
    read_variables(os.environ, settings.trace_ratio)
    return settings


def warn_of_misspelt() -> None:
    """Log the variables whose names look like a setting's and are none. Logging is set up before."""
    for name, meant in misspelt():
        log.warning("the environment has %s, which is no setting: is %s meant?", name, meant)


def check_files(settings: Settings) -> None:
    """See that the key files and the flags' file, where they are there, can be used.

    Raises BadKeyFile or InvalidSettings, which name the file.
    """
    check_key_files(settings.data_path)
    YamlFlags(settings.data_path / FLAGS_FILE).check()


def refuse_unknown_servers(settings: Settings) -> None:
    """Raise InvalidSettings for the URLs of servers that this version has no adapter for."""
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
