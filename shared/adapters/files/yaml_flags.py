"""The flags port on a YAML file: `<flag>: true`, or `<flag>: [<tenant>, …]`. Without the file every flag is off."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.core.settings import InvalidSettings
from shared.ports.lifecycle import Adapter, AdapterOptions

FLAGS_FILE: Final = "flags.yaml"


class YamlFlags(Adapter):
    """Flags, read from the file at first use. Raises InvalidSettings for an invalid file."""

    adapter_name = "file of flags"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._flags: dict[str, bool | frozenset[str]] | None = None

    def check(self) -> None:
        """Read the file now and not at first use. Raises InvalidSettings for an invalid file."""
        self._flags = _read(self._path)

    def enabled(self, flag: str, tenant_id: str | None) -> bool:
        self.require_open()
        if self._flags is None:
            self._flags = _read(self._path)
        value = self._flags.get(flag, False)
        return value if isinstance(value, bool) else tenant_id in value


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
    return {str(flag): _value(path, flag, value) for flag, value in content.items()}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _value(path: Path, flag: object, value: object) -> bool | frozenset[str]:
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and all(isinstance(tenant, str) for tenant in value):
        return frozenset(value)
    raise InvalidSettings(f"{path}: {flag} is neither true, false nor a list of tenants")


def yaml_flags(options: AdapterOptions) -> YamlFlags:
    """Return the flags of the data directory."""
    return YamlFlags(options.settings.data_path / FLAGS_FILE)
