"""Kong's declarative configuration, format 3.0: the parts that the embedded gateway supports.

A field that selects routes or changes a request is refused when it is not supported. Otherwise a route that accepts one
host on a cluster would accept every host on one machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from embedded.manifests.findings import FieldError

_SIZE_UNITS: Final = {"bytes": 1, "kilobytes": 1024, "megabytes": 1024 * 1024}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _Open(BaseModel):
    """Settings of a plugin. Only Kong uses the settings that are not listed here."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class RateLimit(_Open):
    """Settings of Kong's plugin rate-limiting: the requests per second, minute or hour for each value of a header."""

    second: int | None = Field(default=None, ge=1)
    minute: int | None = Field(default=None, ge=1)
    hour: int | None = Field(default=None, ge=1)
    limit_by: str = "consumer"
    header_name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _limits_something(cls, config: Any) -> Any:
        known = {"second", "minute", "hour", "day", "month", "year"}
        if isinstance(config, dict):
            if not known & config.keys():
                raise FieldError("none of second, minute and hour is set")
            if config.get("limit_by") == "header" and not config.get("header_name"):
                raise FieldError("limit_by header needs header_name")
        return config


class SizeLimit(_Open):
    """Settings of Kong's plugin request-size-limiting."""

    allowed_payload_size: int = Field(default=128, ge=1)
    size_unit: Literal["bytes", "kilobytes", "megabytes"] = "megabytes"

    @property
    def bytes(self) -> int:
        """The largest body in bytes."""
        return self.allowed_payload_size * _SIZE_UNITS[self.size_unit]


_SETTINGS: Final[dict[str, type[BaseModel]]] = {"rate-limiting": RateLimit, "request-size-limiting": SizeLimit}


class KongPlugin(_Strict):
    """A plugin and its settings, for one service, one route or (both None) everything."""

    name: str
    config: dict[str, Any] = {}
    enabled: bool = True
    service: str | None = None
    route: str | None = None
    tags: list[str] = []

    @model_validator(mode="after")
    def _settings_are_understood(self) -> KongPlugin:
        settings = _SETTINGS.get(self.name)
        if settings is None:
            return self
        try:
            settings.model_validate(self.config)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise FieldError(first["msg"].removeprefix("Value error, "), "config", *first["loc"]) from None
        return self


def _listed(value: object) -> object:
    return [] if value is None else value


class KongRoute(_Strict):
    """The methods and paths that lead to a service. A path that begins with `~` is a regular expression."""

    name: str
    paths: list[str] = Field(min_length=1)
    methods: Annotated[list[str], BeforeValidator(_listed)] = []
    strip_path: bool = True
    preserve_host: bool = False
    regex_priority: int = 0
    response_buffering: bool = True
    protocols: list[Literal["http", "https"]] = []
    tags: list[str] = []
    plugins: list[KongPlugin] = []

    @field_validator("paths")
    @classmethod
    def _compile(cls, paths: list[str]) -> list[str]:
        for position, path in enumerate(paths):
            try:
                _compiled(path)
            except re.error as error:
                raise FieldError(f"{path}: {error}", position) from None
        return paths

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The paths as patterns that match from the start of a request's path."""
        return tuple(_compiled(path) for path in self.paths)


class KongService(_Strict):
    """An upstream, its timeouts in milliseconds, and the routes that lead to it."""

    name: str
    host: str
    port: int = Field(default=80, ge=1, le=65535)
    protocol: Literal["http", "https"] = "http"
    enabled: Literal[True] = True
    retries: int = 5
    connect_timeout: int = 60_000
    read_timeout: int = 60_000
    write_timeout: int = 60_000
    tags: list[str] = []
    routes: list[KongRoute] = []
    plugins: list[KongPlugin] = []

    @property
    def function(self) -> str:
        """The Knative Service behind it: the first label of the host."""
        return self.host.partition(".")[0]


class KongConsumer(_Strict):
    """Who may have credentials at the gateway. The embedded gateway verifies tokens in the functions and uses none."""

    username: str


class Kong(_Strict):
    """A declarative configuration of Kong (format 3.0): its services with their routes, its consumers and plugins."""

    format_version: Literal["3.0"] = Field(alias="_format_version")
    transform: bool = Field(default=True, alias="_transform")
    consumers: list[KongConsumer] = []
    services: list[KongService] = []
    plugins: list[KongPlugin] = []

    @model_validator(mode="after")
    def _names_are_unique(self) -> Kong:
        _refuse_repeated([(service.name, ("services", n)) for n, service in enumerate(self.services)])
        _refuse_repeated(
            [
                (route.name, ("services", n, "routes", m))
                for n, service in enumerate(self.services)
                for m, route in enumerate(service.routes)
            ]
        )
        return self

    def rate_limit(self, service: KongService, route: KongRoute) -> RateLimit | None:
        """Return the limit of a route: its own, otherwise its service's, otherwise the general one."""
        plugin = self._plugin("rate-limiting", service, route)
        return RateLimit.model_validate(plugin.config) if plugin is not None else None

    def max_body_bytes(self, service: KongService, route: KongRoute) -> int | None:
        """The largest request body on a route, or None."""
        plugin = self._plugin("request-size-limiting", service, route)
        return SizeLimit.model_validate(plugin.config).bytes if plugin is not None else None

    def with_plugins(self, plugins: Sequence[KongPlugin]) -> Kong:
        """Return the configuration with these plugins in place of the general plugins with the same names."""
        names = {plugin.name for plugin in plugins}
        kept = [
            plugin
            for plugin in self.plugins
            if plugin.name not in names or plugin.service is not None or plugin.route is not None
        ]
        return self.model_copy(update={"plugins": [*kept, *plugins]})

    def _plugin(self, name: str, service: KongService, route: KongRoute) -> KongPlugin | None:
        scopes = (
            [*route.plugins, *(plugin for plugin in self.plugins if plugin.route == route.name)],
            [*service.plugins, *(plugin for plugin in self.plugins if plugin.service == service.name)],
            [plugin for plugin in self.plugins if plugin.route is None and plugin.service is None],
        )
        for plugins in scopes:
            for plugin in plugins:
                if plugin.name == name and plugin.enabled:
                    return plugin
        return None


def _refuse_repeated(names: Sequence[tuple[str, tuple[str | int, ...]]]) -> None:
    seen: set[str] = set()
    for name, path in names:
        if name in seen:
            raise FieldError(f"the name {name!r} is used twice", *path, "name")
        seen.add(name)


def _compiled(path: str) -> re.Pattern[str]:
    if not path.startswith("~"):
        return re.compile(re.escape(path))
    # Kong writes named groups as PCRE does. Look-behinds begin with the same characters and are not changed.
    return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", path[1:]))
