"""What the manifests say, typed: the parts of each kind that the embedded platform plays.

Field names and defaults are those of the custom resources (Knative Serving 1.23, Eventing 1.22, eventing-kafka-broker
1.23, Strimzi's v1 API) and of Kong's declarative format 3.0. In the parts that are interpreted an unknown field is
refused: a misspelt `retry` would silently mean no retries.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

_GO_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_GO_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_ORDER: Final = "kafka.eventing.knative.dev/delivery.order"
_SCALING: Final = "autoscaling.knative.dev/"
_SIZE_UNITS: Final = {"bytes": 1, "kilobytes": 1024, "megabytes": 1024 * 1024}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class _Open(BaseModel):
    """Other fields belong to the cluster alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Reference(_Strict):
    """A resource by its kind and name."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None


class Destination(_Strict):
    """Where events go: `ref`, `uri`, or a `uri` relative to a `ref`."""

    ref: Reference | None = None
    uri: str | None = None
    ca_certs: str | None = Field(default=None, alias="CACerts")
    audience: str | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Destination:
        if self.ref is None and self.uri is None:
            raise ValueError("neither ref nor uri is set")
        return self


class DeliverySpec(_Strict):
    """`delivery` as it is written; embedded/broker/delivery.py reads its durations."""

    dead_letter_sink: Destination | None = None
    retry: int | None = Field(default=None, ge=0)
    timeout: str | None = None
    backoff_policy: Literal["linear", "exponential"] | None = None
    backoff_delay: str | None = None
    retry_after_max: str | None = None
    format: str | None = None


class Metadata(_Open):
    name: str
    namespace: str | None = None
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}


class _Variable(_Open):
    name: str
    value: str | None = None


class _Container(_Open):
    env: list[_Variable] = []


class _PodSpec(_Open):
    containers: list[_Container] = Field(min_length=1)
    container_concurrency: int = Field(default=0, ge=0)
    timeout_seconds: int = Field(default=300, gt=0)


class _TemplateMetadata(_Open):
    annotations: dict[str, str] = {}


class _Template(_Open):
    metadata: _TemplateMetadata = _TemplateMetadata()
    spec: _PodSpec


class _ServiceSpec(_Open):
    template: _Template


class _Resource(_Open):
    metadata: Metadata

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The namespace, `default` where an overlay is left to set it."""
        return self.metadata.namespace or "default"


class Service(_Resource):
    """A Knative Service: one function."""

    spec: _ServiceSpec

    @model_validator(mode="after")
    def _is_a_function(self) -> Service:
        for variable in ("FUNCTION_TARGET", "FUNCTION_SOURCE"):
            if not self._environment(variable):
                raise ValueError(f"spec.template.spec.containers.0.env: {variable} is not set")
        if not self.source.endswith(".py") or len(PurePosixPath(self.source).parts) < 2:
            raise ValueError("spec.template.spec.containers.0.env: FUNCTION_SOURCE is no path <package>/<file>.py")
        # Read now, so that a bad annotation is an error of this document and not of a later moment.
        _ = self.min_scale, self.idle_seconds
        return self

    def _environment(self, name: str) -> str:
        for variable in self.spec.template.spec.containers[0].env:
            if variable.name == name:
                return variable.value or ""
        return ""

    def _annotation(self, name: str) -> str | None:
        return self.spec.template.metadata.annotations.get(_SCALING + name)

    @property
    def target(self) -> str:
        """The name of the function in its module."""
        return self._environment("FUNCTION_TARGET")

    @property
    def source(self) -> str:
        """The function's file, relative to the repository."""
        return self._environment("FUNCTION_SOURCE")

    @property
    def module(self) -> str:
        """The file as a module: `functions/payments/settle.py` is `functions.payments.settle`."""
        return ".".join(PurePosixPath(self.source).with_suffix("").parts)

    @property
    def consumer(self) -> str:
        """`<folder>/<target>`: the operation's id, by which the inbox knows the function."""
        return f"{PurePosixPath(self.source).parent.name}/{self.target}"

    @property
    def min_scale(self) -> int:
        text = self._annotation("min-scale")
        if text is None:
            return 0
        if not text.isdigit():
            raise ValueError(f"annotation {_SCALING}min-scale: {text!r} is no number")
        return int(text)

    @property
    def scale_class(self) -> Literal["core", "support"]:
        """`core` functions are never scaled to zero."""
        return "core" if self.min_scale > 0 else "support"

    @property
    def idle_seconds(self) -> float:
        """How long the function goes unused before it is let go: the stable window, then the retention period."""
        window = self._annotation("window") or "60s"
        retention = self._annotation("scale-to-zero-pod-retention-period") or "0s"
        return go_seconds(window) + go_seconds(retention)

    @property
    def container_concurrency(self) -> int:
        """How many requests one instance takes at once; 0 is no bound."""
        return self.spec.template.spec.container_concurrency

    @property
    def timeout_seconds(self) -> int:
        return self.spec.template.spec.timeout_seconds

    @property
    def url(self) -> str:
        """The address that the cluster would deliver to."""
        return f"http://{self.name}.{self.namespace}.svc.cluster.local"


class _BrokerSpec(_Open):
    delivery: DeliverySpec | None = None


class Broker(_Resource):
    """A Broker: what it is given it offers to its Triggers."""

    spec: _BrokerSpec = _BrokerSpec()


class _LegacyFilter(_Strict):
    attributes: dict[str, str] = {}


class _TriggerSpec(_Strict):
    broker: str | None = None
    broker_ref: Reference | None = None
    filter: _LegacyFilter | None = None
    filters: list[dict[str, Any]] = []
    subscriber: Destination
    delivery: DeliverySpec | None = None

    @model_validator(mode="after")
    def _has_one_broker(self) -> _TriggerSpec:
        if (self.broker is None) == (self.broker_ref is None):
            raise ValueError("one of broker and brokerRef is set")
        return self


class Trigger(_Resource):
    """A Trigger: which events of a Broker go to which subscriber, and how."""

    spec: _TriggerSpec

    @model_validator(mode="after")
    def _has_a_known_order(self) -> Trigger:
        if self.metadata.annotations.get(_ORDER, "unordered") not in ("ordered", "unordered"):
            raise ValueError(f"metadata.annotations: {_ORDER} is neither ordered nor unordered")
        return self

    @property
    def broker(self) -> str:
        """The Broker's name."""
        return self.spec.broker_ref.name if self.spec.broker_ref is not None else self.spec.broker or ""

    @property
    def ordered(self) -> bool:
        """Whether events of one key are delivered strictly one after another. A Trigger's default is no."""
        return self.metadata.annotations.get(_ORDER) == "ordered"


class _Overrides(_Strict):
    extensions: dict[str, str] = {}


class _KafkaSourceSpec(_Open):
    topics: list[str] = Field(min_length=1)
    sink: Destination
    ordering: Literal["ordered", "unordered"] = "ordered"
    delivery: DeliverySpec | None = None
    ce_overrides: _Overrides | None = None


class KafkaSource(_Resource):
    """A KafkaSource: what it reads from topics it gives to its sink."""

    spec: _KafkaSourceSpec


class _KafkaTopicSpec(_Open):
    topic_name: str | None = None
    partitions: int = Field(default=1, ge=1)


class KafkaTopic(_Resource):
    """A topic of Strimzi's topic operator."""

    spec: _KafkaTopicSpec

    @property
    def topic(self) -> str:
        """The topic's name in Kafka."""
        return self.spec.topic_name or self.name


class _KafkaSinkSpec(_Open):
    topic: str


class KafkaSink(_Resource):
    """A KafkaSink: what is posted to it goes to a topic."""

    spec: _KafkaSinkSpec


class _PingSourceSpec(_Strict):
    schedule: str = "* * * * *"
    timezone: str = ""
    content_type: str = ""
    data: str = ""
    data_base64: str = Field(default="", alias="dataBase64")
    sink: Destination
    ce_overrides: _Overrides | None = None

    @model_validator(mode="after")
    def _has_one_kind_of_data(self) -> _PingSourceSpec:
        if self.data and self.data_base64:
            raise ValueError("data and dataBase64 exclude each other")
        return self


class PingSource(_Resource):
    """A PingSource: an event at set times."""

    spec: _PingSourceSpec


def _listed(value: object) -> object:
    return [] if value is None else value


_Names = Annotated[list[str], BeforeValidator(_listed)]


class _KongOpen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class KongPlugin(_KongOpen):
    """A plugin and its settings, for one service, one route or (both None) everything."""

    name: str
    config: dict[str, Any] = {}
    enabled: bool = True
    service: str | None = None
    route: str | None = None

    @model_validator(mode="after")
    def _settings_are_understood(self) -> KongPlugin:
        if self.name == "rate-limiting":
            RateLimit.model_validate(self.config)
        elif self.name == "request-size-limiting":
            _SizeLimit.model_validate(self.config)
        return self


class RateLimit(_KongOpen):
    """Settings of Kong's rate-limiting: so many requests a second, minute or hour for each value of a header."""

    second: int | None = Field(default=None, ge=1)
    minute: int | None = Field(default=None, ge=1)
    hour: int | None = Field(default=None, ge=1)
    limit_by: str = "consumer"
    header_name: str | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> RateLimit:
        if self.second is None and self.minute is None and self.hour is None:
            raise ValueError("none of second, minute and hour is set")
        if self.limit_by == "header" and not self.header_name:
            raise ValueError("limit_by header needs header_name")
        return self


class _SizeLimit(_KongOpen):
    allowed_payload_size: int = Field(default=128, ge=1)
    size_unit: Literal["bytes", "kilobytes", "megabytes"] = "megabytes"


class KongRoute(_KongOpen):
    """Which methods and paths lead to a service. A path that begins with `~` is a regular expression."""

    name: str
    paths: list[str] = Field(min_length=1)
    methods: _Names = []
    strip_path: bool = True
    regex_priority: int = 0
    plugins: list[KongPlugin] = []

    @field_validator("paths")
    @classmethod
    def _compiles(cls, paths: list[str]) -> list[str]:
        for path in paths:
            _compiled(path)
        return paths

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The paths as patterns to be matched from the start of a request's path."""
        return tuple(_compiled(path) for path in self.paths)


class KongService(_KongOpen):
    """An upstream and its routes."""

    name: str
    host: str
    port: int = 80
    routes: list[KongRoute] = []
    plugins: list[KongPlugin] = []

    @property
    def function(self) -> str:
        """The Knative Service behind it: the first label of the host."""
        return self.host.partition(".")[0]


class Kong(_KongOpen):
    """A declarative configuration of Kong."""

    format_version: Literal["3.0"] = Field(alias="_format_version")
    services: list[KongService] = []
    plugins: list[KongPlugin] = []

    def rate_limit(self, service: KongService, route: KongRoute) -> RateLimit | None:
        """The limit in force on a route: its own, else its service's, else the general one."""
        plugin = self._plugin("rate-limiting", service, route)
        return RateLimit.model_validate(plugin.config) if plugin is not None else None

    def max_body_bytes(self, service: KongService, route: KongRoute) -> int | None:
        """The largest request body on a route, or None."""
        plugin = self._plugin("request-size-limiting", service, route)
        if plugin is None:
            return None
        limit = _SizeLimit.model_validate(plugin.config)
        return limit.allowed_payload_size * _SIZE_UNITS[limit.size_unit]

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


def go_seconds(text: str) -> float:
    """Seconds of a Go duration (`1m30s`). Raises ValueError when it is none."""
    pieces = _GO_DURATION.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * _GO_UNITS[unit] for number, unit in pieces)


def _compiled(path: str) -> re.Pattern[str]:
    if not path.startswith("~"):
        return re.compile(re.escape(path))
    # Kong writes named groups as PCRE does; look-behinds begin alike and are left as they are.
    expression = re.sub(r"\(\?<(?![=!])", "(?P<", path[1:])
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(f"{path}: {error}") from None
