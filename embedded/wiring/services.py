"""Functions and the Services that deploy them: one Service for each function, with matching names and places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from embedded.manifests.findings import Finding
from embedded.manifests.serving import SOURCE, TARGET, Service
from embedded.wiring.repository import FunctionFile, Repository
from shared.core.strict_yaml import read_yaml

CORE_DOMAINS: Final = frozenset({"payments", "ledger", "accounts"})
"""Domains whose functions are never scaled to zero, because a payment waits for each of them."""
_KUSTOMIZATION: Final = "kustomization.yaml"
_LABELS: Final = ("metadata", "labels")
_DOMAIN_LABEL: Final = "app.kubernetes.io/component"
_NAME_LABEL: Final = "app.kubernetes.io/name"
_CLASS_LABEL: Final = "lastro.dev/class"


def service_name(function: FunctionFile) -> str:
    """Return the name of a function's Service: `<domain>-<operation>`."""
    return f"{function.domain}-{function.stem.replace('_', '-')}"


def names_of_functions(repository: Repository) -> Iterator[Finding]:
    """A function has the name of its file, its domain the name of its folder, and no two functions have the same
    name."""
    seen: dict[str, str] = {}
    for function in repository.functions.values():
        if function.operation.id != f"{function.domain}/{function.stem}":
            yield function.finding(f"is not called as its file, {function.domain}/{function.stem}")
        first = seen.setdefault(function.stem, function.file)
        if first != function.file:
            yield function.finding(f"has the name of {first}: the framework knows a function by its file's name alone")


def services_of_functions(repository: Repository) -> Iterator[Finding]:
    """Each function has one Service, and each Service starts an existing function."""
    deployed: dict[str, str] = {}
    for name, service in repository.manifests.services.items():
        if service.source not in repository.functions:
            if not any(broken.file == service.source for broken in repository.code.broken):
                reason = f"there is no function {service.source}"
                yield repository.manifests.finding("Service", name, reason, *service.path_of(SOURCE))
            continue
        first = deployed.setdefault(service.source, name)
        if first != name:
            reason = f"the Service {first} runs {service.source} already"
            yield repository.manifests.finding("Service", name, reason, *service.path_of(SOURCE))
            continue
        yield from _names_of_service(repository, name, service)
    for file, function in repository.functions.items():
        if file not in deployed:
            yield function.finding(f"has no Service; add knative/functions/{function.domain}/{function.stem}.yaml")


def _names_of_service(repository: Repository, name: str, service: Service) -> Iterator[Finding]:
    manifests, function = repository.manifests, repository.functions[service.source]
    expected = service_name(function)
    if name != expected:
        reason = f"a Service is called as its function, {expected}"
        yield manifests.finding("Service", name, reason, "metadata", "name")
    if service.target != function.stem:
        reason = f"{TARGET} is {service.target}, and {service.source} holds {function.stem}"
        yield manifests.finding("Service", name, reason, *service.path_of(TARGET))
    scale_class = "core" if function.domain in CORE_DOMAINS else "support"
    if service.scale_class != scale_class:
        reason = (
            f"functions of {function.domain} are never scaled to zero: set min-scale to 1"
            if scale_class == "core"
            else f"functions of {function.domain} may be scaled to zero: set min-scale to 0"
        )
        yield manifests.finding("Service", name, reason, "spec", "template", "metadata", "annotations")
    labels = {_NAME_LABEL: name, _DOMAIN_LABEL: function.domain, _CLASS_LABEL: scale_class}
    for label, value in labels.items():
        if service.metadata.labels.get(label) != value:
            yield manifests.finding("Service", name, f"the label must be {value}", *_LABELS, label)
    file = f"knative/functions/{function.domain}/{function.stem}.yaml"
    written = manifests.places["Service", name].file
    if written != file:
        yield manifests.finding("Service", name, f"it belongs into {file}, where its function's name leads")


def deployed_files(repository: Repository) -> Iterator[Finding]:
    """Each kustomization names every manifest of its folder and nothing else, so that every manifest is deployed."""
    for folder in ("knative", "kafka-sources"):
        root = repository.root / folder
        named: set[Path] = set()
        for path in sorted(root.rglob(_KUSTOMIZATION)):
            for line, listed in _named_by(path):
                target = (path.parent / listed).resolve()
                named.add(target)
                if not target.exists():
                    file = path.relative_to(repository.root).as_posix()
                    yield Finding(file, line, f"There is no {listed} beside this file.")
        for path in sorted(root.rglob("*.yaml")):
            deployed = path.name != _KUSTOMIZATION and "overlays" not in path.relative_to(root).parts
            if deployed and path.resolve() not in named:
                shown = path.relative_to(repository.root).as_posix()
                yield Finding(shown, 1, "No kustomization names this file, so no cluster gets it.")


def _named_by(path: Path) -> Iterator[tuple[int, str]]:
    for document in read_yaml(path.read_text(encoding="utf-8")):
        content = document.value or {}
        for field in ("resources", "components"):
            for position, name in enumerate(content.get(field) or []):
                if "://" not in name:
                    yield document.line((field, position)), name
        for position, patch in enumerate(content.get("patches") or []):
            if "path" in patch:
                yield document.line(("patches", position, "path")), patch["path"]
        for n, generator in enumerate(content.get("configMapGenerator") or []):
            for m, name in enumerate(generator.get("files") or []):
                yield document.line(("configMapGenerator", n, "files", m)), name.rpartition("=")[2]
