"""Checks before a process starts: an invalid setting or file stops it with one log line.

Nothing is opened here and no driver is imported, so the check is cheap for a function that waits for its first request.
"""

from __future__ import annotations

import logging
import os

from shared.adapters.files.keyfile import check_key_files
from shared.adapters.files.yaml_flags import FLAGS_FILE, YamlFlags
from shared.adapters.otlp.variables import read_variables
from shared.bootstrap.adapters import choose
from shared.core import crash_points
from shared.core.clock import SystemClock
from shared.core.settings import InvalidSettings, Settings, misspelt

log = logging.getLogger(__name__)


def read_settings() -> Settings:
    """Read and check the settings of this process. Raises InvalidSettings."""
    settings = Settings.from_environment()
    choose(settings)
    read_variables(os.environ, settings.trace_ratio)
    return settings


def warn_of_variables() -> None:
    """Log a warning for each variable whose name resembles a setting's name but is none, and for an armed crash point.

    Needs logging to be set up.
    """
    point = os.environ.get(crash_points.VARIABLE)
    if point:
        log.warning("%s=%s is set: this process kills itself there, which is for tests", crash_points.VARIABLE, point)
    for name, meant in misspelt():
        log.warning("the environment has %s, which is not a setting; did you mean %s?", name, meant)


def check_files(settings: Settings) -> None:
    """Check the key files, the file of flags and the certificates for providers, if they exist and are used.

    Raises BadKeyFile or InvalidSettings, which name the file.
    """
    check_key_files(settings.data_path)
    for provider in ("pix", "bank"):
        _check_certificates(settings, provider)
    if not settings.flags:
        YamlFlags(settings.data_path / FLAGS_FILE, SystemClock(), settings.flags_refresh_seconds).check()


def _check_certificates(settings: Settings, provider: str) -> None:
    certificate: str = getattr(settings, f"{provider}_certificate")
    authority: str = getattr(settings, f"{provider}_authority")
    if not certificate and not authority:
        return
    from shared.adapters.providers.credentials import Credentials, tls_context

    try:
        tls_context(Credentials(certificate=certificate, authority=authority))
    except ValueError as error:
        name = f"LASTRO_{provider.upper()}"
        raise InvalidSettings(f"{name}_CERTIFICATE or {name}_AUTHORITY: {error}") from None
