"""The flags port on a YAML file: `<flag>: true`, `<flag>: false`, or `<flag>: [<tenant>, …]` (on for these tenants).

A flag that the file does not have, and every flag without the file, has its default.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.core.clock import Clock
from shared.core.settings import InvalidSettings
from shared.ports.lifecycle import Adapter, AdapterOptions

if TYPE_CHECKING:
    from shared.core.flags import Flag

log = logging.getLogger(__name__)
FLAGS_FILE: Final = "flags.yaml"

_Stamp = tuple[int, int, int]


class YamlFlags(Adapter):
    """Flags, read from the file at first use, and again when it has changed.

    `refresh_seconds` is the time between two looks at the file. At first use an invalid file raises InvalidSettings.
    When a file becomes invalid later, the flags stay as they were and the reason is logged.
    """

    adapter_name = "file of flags"

    def __init__(self, path: Path, clock: Clock, refresh_seconds: float) -> None:
        self._path = path
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._flags: dict[str, bool | frozenset[str]] | None = None
        self._stamp: _Stamp | None = None
        self._looked_at = 0.0

    def check(self) -> None:
        """Read the file now and not at first use. Raises InvalidSettings for an invalid file."""
        self._looked_at = self._clock.monotonic()
        self._stamp = _stamp(self._path)
        self._flags = _read(self._path)

    def enabled(self, flag: Flag, tenant_id: str | None) -> bool:
        self.require_open()
        if self._flags is None:
            self.check()
        elif self._clock.monotonic() - self._looked_at >= self._refresh_seconds:
            self._look_again()
        assert self._flags is not None
        value = self._flags.get(flag.name, flag.default)
        return value if isinstance(value, bool) else tenant_id in value

    def _look_again(self) -> None:
        self._looked_at = self._clock.monotonic()
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._flags = _read(self._path)
        except InvalidSettings as error:
            log.error("the flags stay as they were: %s", error)  # noqa: TRY400 - the text has all there is to know
        else:
            log.info("the flags were read again from %s", self._path)


def _stamp(path: Path) -> _Stamp | None:
    """Return what differs when the file was written or replaced; None without the file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> dict[str, bool | frozenset[str]]:
    if not path.exists():
        return {}
    from shared.core.strict_yaml import YamlError, read_yaml

    try:
        documents = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YamlError) as error:
        raise InvalidSettings(f"{path} cannot be read as YAML: {_first_line(error)}") from None
    content = (documents[0].value if documents else None) or {}
    if not isinstance(content, dict):
        raise InvalidSettings(f"{path} is not a mapping of flags")
    return {_name(path, flag): _value(path, flag, value) for flag, value in content.items()}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _name(path: Path, flag: object) -> str:
    # Imported here, because most functions use no flag.
    from shared.core.flags import FLAGS

    # A misspelt switch would be found out when it is needed.
    if flag not in FLAGS:
        raise InvalidSettings(f"{path}: there is no flag {flag}; the flags are {', '.join(FLAGS)}")
    return str(flag)


def _value(path: Path, flag: object, value: object) -> bool | frozenset[str]:
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and all(isinstance(tenant, str) for tenant in value):
        return frozenset(value)
    raise InvalidSettings(f"{path}: {flag} is neither true, false nor a list of tenants")


def yaml_flags(options: AdapterOptions) -> YamlFlags:
    """Return the flags of the data directory."""
    settings = options.settings
    return YamlFlags(settings.data_path / FLAGS_FILE, options.clock, settings.flags_refresh_seconds)
