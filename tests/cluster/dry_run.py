"""Asks the API server of the cluster whether it would accept the manifests: all overlays and platform folders.

Kinds that the cluster does not have get a definition from their schema (LASTRO_CRD_SCHEMAS), so that it refuses unknown
fields and wrong values of them as well; what an operator's own webhook would refuse is not found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from deployment.cluster import Kubernetes, Resource
from deployment.commands import ROOT, CommandFailed, kustomize, output_of
from deployment.functions import NAMESPACE
from deployment.payment import until

KNATIVE: Final = ROOT / "knative"
_ATTEMPTS: Final = 5
_ELSEWHERE: Final = "lastro-dry-run"
_BY: Final = "lastro.dev/dry-run"
_KEPT: Final = frozenset(
    {"description", "type", "format", "enum", "pattern", "required", "nullable", "default", "minimum", "maximum"}
    | {"minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "multipleOf", "minProperties", "maxProperties"}
)
_EXTENSION: Final = "x-kubernetes-"
_RULES: Final = f"{_EXTENSION}validations"


def rendered(folder: Path) -> list[Resource]:
    """Return the resources that kustomize builds of a folder, those of the functions in another namespace."""
    return [elsewhere(each) for each in yaml.safe_load_all(output_of([kustomize(), "build", str(folder)])) if each]


def definition(group: str, version: str, kind: str, plural: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CustomResourceDefinition with this schema."""
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": structural(schema)}}
    scope = "Cluster" if kind.startswith("Cluster") else "Namespaced"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": {_BY: "true"}},
        "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural}, "versions": [served]},
    }


def structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema as the API server wants it. `additionalProperties: false` is its own rule, and left out."""
    found = {name: value for name, value in schema.items() if name in _KEPT or _is_extension(name)}
    if "properties" in schema:
        found["properties"] = {key: structural(value) for key, value in schema["properties"].items()}
    if "items" in schema:
        found["items"] = structural(schema["items"])
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping) and "properties" not in schema:
        found["additionalProperties"] = structural(more)
    if isinstance(found.get("type"), list):
        found["nullable"] = True
        found["type"] = next(each for each in found["type"] if each != "null")
    return found


def _is_extension(name: str) -> bool:
    # Rules of the expression language have limits of cost that only the original definition keeps.
    return name.startswith(_EXTENSION) and name != _RULES


@contextmanager
def prepared(cluster: Kubernetes, resources: Iterable[Resource], schemas: Path | None) -> Iterator[set[str]]:
    """Give the cluster the namespaces and, from schemas, the kinds of these resources that it lacks, until the end.

    Yields the kinds that stay unknown, as GROUP/VERSION/KIND.
    """
    resources = list(resources)
    known = _known(cluster)
    missing = {(each["apiVersion"], each["kind"]) for each in resources} - known
    definitions, unknown = [], set()
    for api, kind in sorted(missing):
        group, _, version = api.partition("/")
        file = schemas / group / f"{kind.lower()}_{version}.json" if schemas is not None else None
        if file is not None and file.exists():
            schema = json.loads(file.read_text(encoding="utf-8"))
            definitions.append(definition(group, version, kind, f"{kind.lower()}s", schema))
        else:
            unknown.add(f"{api}/{kind}")
    wanted = {each["metadata"].get("namespace") for each in resources} - {None}
    present = {each["metadata"]["name"] for each in cluster.get("namespace")["items"]}
    named = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {_BY: "true"}}}
        for name in sorted(wanted - present)
    ]
    try:
        _applied(cluster, [*named, *definitions])
        # Serving makes a pod of each function on trial, which needs its account.
        accounts = [each for each in resources if each["kind"] == "ServiceAccount"]
        _applied(cluster, [each for each in accounts if each["metadata"]["namespace"] == _ELSEWHERE])
        until(lambda: _established(cluster) >= len(definitions), "the kinds are served")
        yield unknown
    finally:
        cluster.kubectl("delete", "crd,namespace", f"--selector={_BY}=true", "--ignore-not-found", "--wait=false")


def elsewhere(resource: Resource) -> Resource:
    """Return a resource of the functions' namespace as one of another namespace, where nothing of it exists yet.

    Some fields of what runs here may not be changed, and those of another overlay differ.
    """
    metadata = resource["metadata"]
    return {**resource, "metadata": {**metadata, "namespace": _ELSEWHERE}} if _is_ours(metadata) else resource


def _is_ours(metadata: Mapping[str, Any]) -> bool:
    return metadata.get("namespace") == NAMESPACE


def would_apply(cluster: Kubernetes, resources: Iterable[Resource], unknown: set[str]) -> int:
    """Let the API server check resources of kinds that it knows, and return how many it accepts. Raises Unavailable."""
    asked = [each for each in resources if f"{each['apiVersion']}/{each['kind']}" not in unknown]
    return len(_applied(cluster, asked, "--dry-run=server", "--validate=strict")) if asked else 0


def _applied(cluster: Kubernetes, resources: Sequence[Resource], *options: str) -> list[str]:
    """Apply resources, again when the API server or a webhook on a busy machine has not answered in time."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return cluster.apply(resources, *options)
        except CommandFailed as error:
            if "imeout" not in str(error) and "deadline exceeded" not in str(error):
                raise
    return cluster.apply(resources, *options)


def schemas_of_this_machine() -> Path | None:
    """Return the folder of LASTRO_CRD_SCHEMAS, or None without one."""
    given = os.environ.get("LASTRO_CRD_SCHEMAS")
    return Path(given) if given else None


def _established(cluster: Kubernetes) -> int:
    found = cluster.get("crd", f"--selector={_BY}=true")["items"]
    conditions = [each.get("status", {}).get("conditions") or [] for each in found]
    return sum(any((one["type"], one["status"]) == ("Established", "True") for one in each) for each in conditions)


def _known(cluster: Kubernetes) -> set[tuple[str, str]]:
    found = set()
    for line in cluster.kubectl("api-resources", "--no-headers").splitlines():
        *_, api, _, kind = line.split()
        found.add((api, kind))
    return found
