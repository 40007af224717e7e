"""Reads the manifests that are deployed. They alone define how functions are wired.

The base manifests are read. The overlays of a cluster change replicas and addresses, its policies and platform install
and protect what is in this process here; they are not read. This platform
has an overlay of its own, with plugins of Kong that replace those of the base with the same name (the rate limit of one
machine).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError

from embedded.manifests.eventing import Broker, PingSource, Trigger
from embedded.manifests.findings import FieldError, Finding, ManifestError, Place
from embedded.manifests.kafka import KafkaSink, KafkaSource, KafkaTopic
from embedded.manifests.kong import Kong
from embedded.manifests.resource import DEFAULT_NAMESPACE
from embedded.manifests.serving import Service
from shared.core.strict_yaml import YamlDocument, YamlError, read_yaml

FOLDERS: Final = ("knative", "kafka-sources")
KONG_OVERLAY: Final = Path("knative/overlays/embedded/kong.yaml")
_OVERLAYS: Final = "overlays"
_OF_A_CLUSTER: Final = frozenset({"argo", "policies", "platform"})
_GATEWAY: Final = Path("knative/platform/kong/kong.yaml")
_KUSTOMIZATIONS: Final = frozenset({"kustomization.yaml", "kustomization.yml"})
_KONG_KEY: Final = "_format_version"


class Kind(NamedTuple):
    """A kind of resource that is supported, and its versions that a cluster of the supported releases serves."""

    table: str
    model: type[BaseModel]
    versions: frozenset[str]


KINDS: Final[dict[tuple[str, str], Kind]] = {
    ("serving.knative.dev", "Service"): Kind("services", Service, frozenset({"v1"})),
    ("eventing.knative.dev", "Broker"): Kind("brokers", Broker, frozenset({"v1"})),
    ("eventing.knative.dev", "Trigger"): Kind("triggers", Trigger, frozenset({"v1"})),
    ("eventing.knative.dev", "KafkaSink"): Kind("sinks", KafkaSink, frozenset({"v1alpha1"})),
    ("sources.knative.dev", "KafkaSource"): Kind("sources", KafkaSource, frozenset({"v1", "v1beta1"})),
    ("sources.knative.dev", "PingSource"): Kind("pings", PingSource, frozenset({"v1", "v1beta2"})),
    ("kafka.strimzi.io", "KafkaTopic"): Kind("topics", KafkaTopic, frozenset({"v1"})),
}
_KNATIVE: Final = ".knative.dev"


@dataclass(slots=True)
class Manifests:
    """All resources that were read, by kind and name. Topics are listed by their names in Kafka."""

    services: dict[str, Service] = field(default_factory=dict)
    brokers: dict[str, Broker] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    sources: dict[str, KafkaSource] = field(default_factory=dict)
    topics: dict[str, KafkaTopic] = field(default_factory=dict)
    sinks: dict[str, KafkaSink] = field(default_factory=dict)
    pings: dict[str, PingSource] = field(default_factory=dict)
    config_maps: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """The data of ConfigMaps, by namespace and name."""
    kong: Kong | None = None
    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    """The place of each (kind, name). The place of Kong's file is ("Kong", "")."""

    def finding(self, kind: str, name: str, reason: str, *path: str | int) -> Finding:
        """Return a finding about a field of a resource, with its file and line."""
        return self.places[kind, name].finding(reason, *path)


def load(root: Path, folders: tuple[str, ...] = FOLDERS) -> Manifests:
    """Read every manifest under the folders of `root`. Raises ManifestError with all findings."""
    manifests = Manifests()
    findings: list[Finding] = []
    for folder in folders:
        if not (root / folder).is_dir():
            findings.append(Finding(folder, 0, "There is no such folder."))
            continue
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".yaml", ".yml") and path.is_file() and _is_read(path.relative_to(root)):
                findings += _read(manifests, root, path)
    if findings:
        raise ManifestError(findings)
    _apply_overlay(manifests, root)
    return manifests


def _is_read(file: Path) -> bool:
    return file == _GATEWAY or file.parts[1] not in _OF_A_CLUSTER


def _read(manifests: Manifests, root: Path, path: Path) -> list[Finding]:
    """Read the deployed resources from a file. In other files (kustomizations, overlays), check only the YAML."""
    shown = path.relative_to(root)
    try:
        documents = read_yaml(path.read_text(encoding="utf-8"))
    except YamlError as error:
        return [Finding(shown.as_posix(), error.line, f"This is not valid YAML for a manifest: {error.reason}.")]
    except UnicodeDecodeError as error:
        return [Finding(shown.as_posix(), 0, f"The file is not UTF-8 (byte {error.start}).")]
    if path.name in _KUSTOMIZATIONS or _OVERLAYS in shown.parts[1:-1]:
        return []
    return [
        finding
        for document in documents
        if document.value is not None
        for finding in _take(manifests, shown.as_posix(), document)
    ]


def _take(manifests: Manifests, file: str, document: YamlDocument) -> Iterator[Finding]:
    value = document.value
    if not isinstance(value, dict):
        yield Finding(file, document.line(), "The document is not a mapping.")
        return
    if _KONG_KEY in value:
        yield from _take_kong(manifests, file, document)
        return
    group, slash, version = str(value.get("apiVersion", "")).rpartition("/")
    kind, name = value.get("kind"), _name(value)
    place = Place(file, document, f"{kind} {name}")
    if not isinstance(kind, str) or not version or not name:
        field, path = next(
            (shown, path)
            for shown, path, found in (
                ("kind", ("kind",), isinstance(kind, str)),
                ("apiVersion", ("apiVersion",), version),
                ("metadata.name", ("metadata", "name"), name),
            )
            if not found
        )
        yield Finding(file, document.line(path), f"The document has no {field}.")
        return
    if (group, kind) == ("", "ConfigMap"):
        _take_config_map(manifests, value, name)
        return
    known = KINDS.get((group, kind)) if slash else None
    if known is None:
        if group.endswith(_KNATIVE):
            carried_out = ", ".join(sorted(kind for (of, kind) in KINDS if of == group)) or "none"
            yield place.finding(
                f"a {kind} of {group} is not supported here; supported of this group: {carried_out}", "kind"
            )
        return
    if version not in known.versions:
        served = " and ".join(sorted(f"{group}/{one}" for one in known.versions))
        yield place.finding(f"a cluster does not serve this version; it serves {served}", "apiVersion")
        return
    yield from _add(manifests, kind, known, place)


def _add(manifests: Manifests, kind: str, known: Kind, place: Place) -> Iterator[Finding]:
    try:
        resource = known.model.model_validate(place.document.value)
    except ValidationError as error:
        yield from findings_of(error, place)
        return
    assert isinstance(resource, Service | Broker | Trigger | KafkaSource | KafkaTopic | KafkaSink | PingSource)
    table: dict[str, Any] = getattr(manifests, known.table)
    key = resource.topic if isinstance(resource, KafkaTopic) else resource.name
    if key in table:
        first = manifests.places[kind, key]
        where = f"{first.file}:{first.document.line()}"
        yield place.finding(f"the name is used already, in {where}", "metadata", "name")
        return
    table[key] = resource
    manifests.places[kind, key] = place


def _take_config_map(manifests: Manifests, value: dict[str, Any], name: str) -> None:
    data = value.get("data")
    namespace = value["metadata"].get("namespace") or DEFAULT_NAMESPACE
    if isinstance(data, dict):
        manifests.config_maps[namespace, name] = {str(key): str(text) for key, text in data.items()}


def _take_kong(manifests: Manifests, file: str, document: YamlDocument) -> Iterator[Finding]:
    place = Place(file, document, "Kong")
    first = manifests.places.get(("Kong", ""))
    if first is not None:
        yield place.finding(f"a declarative configuration of Kong was read already, from {first.file}")
        return
    try:
        manifests.kong = Kong.model_validate(document.value)
    except ValidationError as error:
        yield from findings_of(error, place)
    manifests.places["Kong", ""] = place


def _apply_overlay(manifests: Manifests, root: Path) -> None:
    path = root / KONG_OVERLAY
    if manifests.kong is None or not path.is_file():
        return
    for document in read_yaml(path.read_text(encoding="utf-8")):
        place = Place(KONG_OVERLAY.as_posix(), document, "Kong")
        try:
            over = Kong.model_validate(document.value)
        except ValidationError as error:
            raise ManifestError(findings_of(error, place)) from None
        if over.services:
            raise ManifestError([place.finding("an overlay may contain only plugins", "services")])
        manifests.kong = manifests.kong.with_plugins(over.plugins)


def _name(document: dict[str, Any]) -> str | None:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else None


def findings_of(error: ValidationError, place: Place) -> list[Finding]:
    """Return the errors of a model as sentences with their places."""
    findings = []
    for one in error.errors(include_url=False, include_input=False):
        cause = one.get("ctx", {}).get("error")
        path = list(one["loc"])
        if isinstance(cause, FieldError):
            path += cause.path
        findings.append(place.finding(_reason(one["type"], one["msg"], cause), *path))
    return findings


def _reason(type: str, message: str, cause: object) -> str:
    if isinstance(cause, FieldError):
        return cause.reason
    if type == "extra_forbidden":
        return "there is no such field, or it is not supported here"
    if type == "missing":
        return "it is missing"
    if cause is not None:
        return message.removeprefix("Value error, ")
    return f"it{message.removeprefix('Input')}" if message.startswith("Input ") else message[0].lower() + message[1:]
