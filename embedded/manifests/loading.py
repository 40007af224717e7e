"""Reads the manifests that are deployed: the one truth for what is wired to what.

The base manifests; what a cluster's overlay changes (replicas, addresses) is the cluster's. This platform's own overlay
holds plugins of Kong that stand in place of the base's of the same name (the rate limit of one machine).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from embedded.manifests.models import Broker, KafkaSink, KafkaSource, KafkaTopic, Kong, PingSource, Service, Trigger

FOLDERS: Final = ("knative", "kafka-sources")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KONG_OVERLAY: Final = Path("knative/overlays/embedded/kong.yaml")
_SKIPPED_FOLDERS: Final = frozenset({"overlays"})
_SKIPPED_FILES: Final = frozenset({"kustomization.yaml", "kustomization.yml"})
_KONG_KEY: Final = "_format_version"
_KINDS: Final[dict[tuple[str, str], tuple[str, type[BaseModel]]]] = {
    ("serving.knative.dev", "Service"): ("services", Service),
    ("eventing.knative.dev", "Broker"): ("brokers", Broker),
    ("eventing.knative.dev", "Trigger"): ("triggers", Trigger),
    ("eventing.knative.dev", "KafkaSink"): ("sinks", KafkaSink),
    ("sources.knative.dev", "KafkaSource"): ("sources", KafkaSource),
    ("sources.knative.dev", "PingSource"): ("pings", PingSource),
    ("kafka.strimzi.io", "KafkaTopic"): ("topics", KafkaTopic),
}


class ManifestError(ValueError):
    """A manifest cannot be played; the text names file, document and field."""


@dataclass(slots=True)
class Manifests:
    """All that was read, each kind by name."""

    services: dict[str, Service] = field(default_factory=dict)
    brokers: dict[str, Broker] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    sources: dict[str, KafkaSource] = field(default_factory=dict)
    topics: dict[str, KafkaTopic] = field(default_factory=dict)
    sinks: dict[str, KafkaSink] = field(default_factory=dict)
    pings: dict[str, PingSource] = field(default_factory=dict)
    kong: Kong | None = None
    origins: dict[tuple[str, str], str] = field(default_factory=dict)
    """Which document each (kind, name) was read from."""

    def origin(self, kind: str, name: str) -> str:
        """`<file>: document <n> (<kind> <name>)`."""
        return self.origins.get((kind, name), f"({kind} {name})")


def load(root: Path, folders: tuple[str, ...] = FOLDERS) -> Manifests:
    """Read every manifest under the folders of `root`. Raises ManifestError."""
    manifests = Manifests()
    for folder in folders:
        for path in _files(root / folder):
            shown = path.relative_to(root).as_posix()
            for number, document in enumerate(_documents(path, shown), start=1):
                _take(manifests, document, f"{shown}: document {number}")
    _lay_over(manifests, root)
    return manifests


def _lay_over(manifests: Manifests, root: Path) -> None:
    path = root / KONG_OVERLAY
    if manifests.kong is None or not path.is_file():
        return
    shown = KONG_OVERLAY.as_posix()
    for number, document in enumerate(_documents(path, shown), start=1):
        over: Kong = _validated(Kong, document, f"{shown}: document {number} (Kong)")
        if over.services:
            raise ManifestError(f"{shown}: document {number} (Kong): services: an overlay holds plugins alone")
        names = {plugin.name for plugin in over.plugins}
        kept = [plugin for plugin in manifests.kong.plugins if plugin.name not in names]
        manifests.kong = manifests.kong.model_copy(update={"plugins": [*kept, *over.plugins]})


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise ManifestError(f"{folder}: there is no such folder")
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".yaml", ".yml") or path.name in _SKIPPED_FILES or not path.is_file():
            continue
        if not _SKIPPED_FOLDERS.intersection(path.relative_to(folder).parts[:-1]):
            yield path


def _documents(path: Path, shown: str) -> list[Any]:
    try:
        return list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_LOADER))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{shown}: {error}") from None


def _take(manifests: Manifests, document: Any, origin: str) -> None:
    if document is None:
        return
    if not isinstance(document, dict):
        raise ManifestError(f"{origin}: it is no mapping")
    if _KONG_KEY in document:
        if manifests.kong is not None:
            raise ManifestError(f"{origin}: a declarative configuration of Kong was read already")
        manifests.kong = _validated(Kong, document, f"{origin} (Kong)")
        return
    kind = document.get("kind")
    group = str(document.get("apiVersion", "")).partition("/")[0]
    if not isinstance(kind, str):
        raise ManifestError(f"{origin}: kind: it is not set")
    known = _KINDS.get((group, kind))
    if known is None:
        return
    attribute, model = known
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    origin = f"{origin} ({kind} {name})"
    resource = _validated(model, document, origin)
    table: dict[str, Any] = getattr(manifests, attribute)
    key = resource.topic if isinstance(resource, KafkaTopic) else str(name)
    if key in table:
        raise ManifestError(f"{origin}: metadata.name: it was used before, in {manifests.origin(kind, key)}")
    table[key] = resource
    manifests.origins[kind, key] = origin


def _validated(model: type[BaseModel], document: dict[str, Any], origin: str) -> Any:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ManifestError(f"{origin}: {where + ': ' if where else ''}{reason}") from None
