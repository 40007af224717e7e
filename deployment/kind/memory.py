"""The memory of the cluster on kind, added up from the manifests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from deployment.commands import ROOT, DeploymentFailed
from shared.core.strict_yaml import read_value

KIND: Final = ROOT / "knative" / "overlays" / "kind"
FILE: Final = KIND / "memory.yaml"
_QUANTITY: Final = re.compile(r"(\d+)([KMG]i)")
_MEBIBYTES: Final = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024}
_ONCE: Final = frozenset({"Job", "CronJob"})


class Part(NamedTuple):
    """A part of the cluster: the memory that is requested for it, and its limit, in mebibytes."""

    name: str
    requested: float
    limit: float


def read_file(path: Path = FILE) -> dict[str, Any]:
    """Return the content of memory.yaml."""
    found: dict[str, Any] = read_value(path.read_text(encoding="utf-8"))
    return found


def mebibytes(quantity: str) -> float:
    """Return a quantity of Kubernetes (`64Mi`, `8Gi`) in mebibytes. Raises DeploymentFailed."""
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        raise DeploymentFailed(f"{quantity!r} is not an amount of memory such as 64Mi or 2Gi")
    return int(found[1]) * _MEBIBYTES[found[2]]


def of_manifests(resources: Iterable[Mapping[str, Any]]) -> Iterator[Part]:
    """Yield the parts that always run: the pods of Deployments and StatefulSets, and those that operators start for
    their resources. Functions run when they are needed, and jobs end."""
    for one in resources:
        if one["kind"] in _ONCE or one["apiVersion"].startswith("serving.knative.dev/"):
            continue
        spec = one.get("spec") or {}
        copies = spec.get("replicas", spec.get("size", 1)) if isinstance(spec, Mapping) else 1
        amounts = list(_amounts(spec))
        if amounts:
            requested, limit = (sum(each) * copies for each in zip(*amounts, strict=True))
            yield Part(f"{one['kind']} {one['metadata']['name']}", requested, limit)


def of_functions(resources: Iterable[Mapping[str, Any]], count: int) -> Part:
    """Return the part of so many functions that run at the same time: the largest ones."""
    amounts = [next(_amounts(one["spec"])) for one in resources if one["apiVersion"].startswith("serving.knative.dev/")]
    largest = sorted(amounts, reverse=True)[:count]
    return Part(f"{count} functions", sum(each for each, _ in largest), sum(each for _, each in largest))


def of_file(content: Mapping[str, Any]) -> Iterator[Part]:
    """Yield the parts of memory.yaml: Kubernetes, Knative and the operators."""
    kubernetes = mebibytes(content["kubernetes"])
    yield Part("Kubernetes", kubernetes, kubernetes)
    for one in content["knative"]:
        yield Part(one["workload"], mebibytes(one["requests"]), mebibytes(one["limits"]))
    for chart, containers in content["operators"].items():
        for path, amounts in containers.items():
            yield Part(f"{chart} {path}", mebibytes(amounts["requests"]), mebibytes(amounts["limits"]))


def _amounts(value: Any) -> Iterator[tuple[float, float]]:
    """Yield what each `resources` at any depth requests, and its limit; those of a container that only prepares its
    pod, and those of volumes, are none."""
    if isinstance(value, Mapping):
        resources = value.get("resources")
        resources = resources if isinstance(resources, Mapping) else {}
        requests = resources.get("requests", {})
        if value.get("enabled") is not False:
            if "memory" in requests:
                yield mebibytes(requests["memory"]), mebibytes(resources["limits"]["memory"])
            for name, inner in value.items():
                if name not in ("initContainers", "resources"):
                    yield from _amounts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _amounts(inner)
