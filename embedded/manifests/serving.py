"""Knative Services (serving.knative.dev/v1), by the rules of Serving 1.23's webhook."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from embedded.manifests.autoscaling import PREFIX, check_annotations, scale, seconds
from embedded.manifests.durations import go_seconds
from embedded.manifests.findings import FieldError, Path
from embedded.manifests.names import Annotations, Labels, is_service_name
from embedded.manifests.resource import Resource, Strict

MAX_TIMEOUT_SECONDS: Final = 600
"""`max-revision-timeout-seconds` of Serving's config-defaults: the longest time of a request."""
MAX_CONCURRENCY: Final = 1000
"""`container-concurrency-max-limit` of Serving's config-defaults."""
_DEFAULT_WINDOW_SECONDS: Final = 60.0
_RESERVED_VARIABLES: Final = frozenset({"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"})
_GROUP: Final = "serving.knative.dev/"
_ROLLOUT: Final = f"{_GROUP}rollout-duration"
_VISIBILITY: Final = "networking.knative.dev/visibility"
SOURCE: Final = "FUNCTION_SOURCE"
TARGET: Final = "FUNCTION_TARGET"
_ENVIRONMENT: Final = ("spec", "template", "spec", "containers", 0, "env")


class Variable(Strict):
    """An environment variable of a container: its name, and its value or where the cluster has it from."""

    name: str = Field(min_length=1, pattern="^[^=]+$")
    value: str | None = None
    value_from: Any = None


class Container(Strict):
    """A container. Fields other than `env` are used only by the cluster, and are those that Knative allows."""

    name: str | None = None
    image: str
    env: list[Variable] = Field(default_factory=list)
    env_from: list[Any] = Field(default_factory=list)
    command: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    working_dir: str | None = None
    ports: list[Any] = Field(default_factory=list)
    resources: Any = None
    security_context: Any = None
    image_pull_policy: str | None = None
    liveness_probe: Any = None
    readiness_probe: Any = None
    startup_probe: Any = None
    volume_mounts: list[Any] = Field(default_factory=list)
    termination_message_path: str | None = None
    termination_message_policy: str | None = None

    @field_validator("env")
    @classmethod
    def _names_are_free(cls, variables: list[Variable]) -> list[Variable]:
        seen: set[str] = set()
        for position, variable in enumerate(variables):
            if variable.name in _RESERVED_VARIABLES:
                raise FieldError(f"{variable.name} is set by Knative and may not be set here", position, "name")
            if variable.name in seen:
                raise FieldError(f"{variable.name} is set twice", position, "name")
            seen.add(variable.name)
        return variables


class PodSpec(Strict):
    """The content of a revision. It has one container, that of the function."""

    containers: list[Container] = Field(min_length=1, max_length=1)
    container_concurrency: int = Field(default=0, ge=0, le=MAX_CONCURRENCY)
    timeout_seconds: int = Field(default=300, ge=1, le=MAX_TIMEOUT_SECONDS)
    response_start_timeout_seconds: int | None = Field(default=None, ge=1)
    idle_timeout_seconds: int | None = Field(default=None, ge=0)
    service_account_name: str | None = None
    automount_service_account_token: bool | None = None
    enable_service_links: bool | None = None
    image_pull_secrets: list[Any] = Field(default_factory=list)
    volumes: list[Any] = Field(default_factory=list)
    node_selector: dict[str, str] = Field(default_factory=dict)
    affinity: Any = None
    tolerations: list[Any] = Field(default_factory=list)
    security_context: Any = None

    @model_validator(mode="after")
    def _parts_fit_into_the_timeout(self) -> PodSpec:
        parts = {
            "responseStartTimeoutSeconds": self.response_start_timeout_seconds,
            "idleTimeoutSeconds": self.idle_timeout_seconds,
        }
        for name, value in parts.items():
            if value is not None and value > self.timeout_seconds:
                raise FieldError(f"{value} is more than the timeoutSeconds, {self.timeout_seconds}", name)
        return self


class TemplateMetadata(Strict):
    """The metadata of the revisions of a Service."""

    name: str | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)

    @field_validator("annotations")
    @classmethod
    def _are_valid_annotations(cls, annotations: dict[str, str]) -> dict[str, str]:
        check_annotations(annotations)
        return annotations


class Template(Strict):
    """The template from which each revision is made."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: PodSpec


class Traffic(Strict):
    """A share of the requests for one revision, or for the latest."""

    tag: str | None = None
    revision_name: str | None = None
    latest_revision: bool | None = None
    percent: int | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _names_one_revision(self) -> Traffic:
        if self.latest_revision is not None and self.latest_revision == bool(self.revision_name):
            raise FieldError("it contradicts revisionName", "latestRevision")
        return self


class ServiceSpec(Strict):
    """The template of the revisions, and the share of the traffic that each revision gets."""

    template: Template
    traffic: list[Traffic] | None = None

    @field_validator("traffic")
    @classmethod
    def _is_all_of_the_traffic(cls, traffic: list[Traffic] | None) -> list[Traffic] | None:
        total = sum(share.percent or 0 for share in traffic or ())
        if traffic is not None and total != 100:
            raise FieldError(f"the shares sum to {total} percent and not to 100")
        return traffic


class Service(Resource):
    """A Knative Service, which runs the function that its environment names (FUNCTION_SOURCE, FUNCTION_TARGET)."""

    spec: ServiceSpec

    @model_validator(mode="after")
    def _has_valid_metadata(self) -> Service:
        if not is_service_name(self.name):
            reason = f"{self.name!r} is not a DNS label by RFC 1035: a letter, then at most 62 of a-z, 0-9 and '-'"
            raise FieldError(reason, "metadata", "name")
        for name, value in self.metadata.labels.items():
            if name.startswith(_GROUP) or (name == _VISIBILITY and value != "cluster-local"):
                raise FieldError(
                    f"Serving does not accept the label with the value {value!r}", "metadata", "labels", name
                )
        for name in self.metadata.annotations:
            if name.startswith(PREFIX):
                reason = "annotations for the autoscaler work in spec.template.metadata.annotations only"
                raise FieldError(reason, "metadata", "annotations", name)
        _check_rollout(self.metadata.annotations.get(_ROLLOUT))
        revision = self.spec.template.metadata.name
        if revision is not None and not (revision.startswith(f"{self.name}-") and is_service_name(revision)):
            reason = f"{revision!r} is not the name of a revision, which begins with {self.name}-"
            raise FieldError(reason, "spec", "template", "metadata", "name")
        return self

    @model_validator(mode="after")
    def _is_a_function(self) -> Service:
        for variable in (TARGET, SOURCE):
            if not self._environment(variable):
                raise FieldError(f"{variable} is not set", *_ENVIRONMENT)
        path = PurePosixPath(self.source)
        if path.suffix != ".py" or len(path.parts) < 2 or path.is_absolute() or ".." in path.parts:
            raise FieldError(f"{SOURCE} is {self.source!r} and not <package>/<file>.py", *self.path_of(SOURCE))
        return self

    def path_of(self, variable: str) -> Path:
        """Return the path of the value of an environment variable."""
        for position, one in enumerate(self.spec.template.spec.containers[0].env):
            if one.name == variable:
                return (*_ENVIRONMENT, position, "value")
        return _ENVIRONMENT

    def _environment(self, name: str) -> str:
        for variable in self.spec.template.spec.containers[0].env:
            if variable.name == name:
                return variable.value or ""
        return ""

    @property
    def target(self) -> str:
        """The name of the function in its module."""
        return self._environment(TARGET)

    @property
    def source(self) -> str:
        """The function's file, relative to the repository."""
        return self._environment(SOURCE)

    @property
    def module(self) -> str:
        """The file as the name of a module: `functions/payments/settle.py` is `functions.payments.settle`."""
        return ".".join(PurePosixPath(self.source).with_suffix("").parts)

    @property
    def consumer(self) -> str:
        """`<folder>/<target>`: the id of the operation, and the name of the function in the inbox."""
        return f"{PurePosixPath(self.source).parent.name}/{self.target}"

    @property
    def min_scale(self) -> int:
        """The least number of instances."""
        return scale(self.spec.template.metadata.annotations, "min-scale")

    @property
    def scale_class(self) -> Literal["core", "support"]:
        """`core` for a function that is never scaled to zero, otherwise `support`."""
        return "core" if self.min_scale > 0 else "support"

    @property
    def idle_seconds(self) -> float:
        """The seconds without a call after which the function is unloaded: the stable window plus the retention
        period."""
        annotations = self.spec.template.metadata.annotations
        window = seconds(annotations, "window", _DEFAULT_WINDOW_SECONDS)
        return window + seconds(annotations, "scale-to-zero-pod-retention-period", 0.0)

    @property
    def container_concurrency(self) -> int:
        """The most requests that one instance processes at once; 0 means no bound."""
        return self.spec.template.spec.container_concurrency

    @property
    def timeout_seconds(self) -> int:
        """The longest time in which the function may answer, in seconds."""
        return self.spec.template.spec.timeout_seconds

    @property
    def url(self) -> str:
        """The URL to which the cluster would deliver."""
        return f"http://{self.name}.{self.namespace}.svc.cluster.local"


def _check_rollout(text: str | None) -> None:
    if text is None:
        return
    try:
        duration = go_seconds(text)
    except ValueError as error:
        raise FieldError(str(error), "metadata", "annotations", _ROLLOUT) from None
    if duration != int(duration):
        raise FieldError(f"{text!r} is not a whole number of seconds", "metadata", "annotations", _ROLLOUT)
