"""The manifests are validated against the schemas of a cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource

from shared.core.strict_yaml import read_values
from tests.schemas.test_overlays import OVERLAYS, built

ROOT = Path(__file__).resolve().parent.parent.parent
# Schemas of custom resources, `<group>/<kind>_<version>.json`, made from their projects' CustomResourceDefinitions.
CRD_SCHEMAS = os.environ.get("LASTRO_CRD_SCHEMAS")
PLACES = [Path(CRD_SCHEMAS)] if CRD_SCHEMAS else []
# Of kinds that are not among those: what this repository uses of them.
OWN = Path(__file__).parent / "kinds"
needs_crd_schemas = pytest.mark.skipif(not PLACES, reason="LASTRO_CRD_SCHEMAS names no folder of schemas")
KUBERNETES = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
OVERLAY_FOLDER = ROOT / "knative" / "overlays"
# Files for kustomize and Kong, which the overlay tests and the wiring tests check.
NOT_RESOURCES = ("kustomize.config.k8s.io", "_format_version")

Document = dict[str, Any]


def documents_of(text: str) -> Iterator[Document]:
    yield from (document for document in read_values(text) if document is not None)


def manifests() -> list[Path]:
    found = [path for folder in ("knative", "kafka-sources") for path in (ROOT / folder).rglob("*.yaml")]
    return sorted(path for path in found if OVERLAY_FOLDER not in path.parents and path.name != "kustomization.yaml")


def is_resource(document: Document) -> bool:
    return "_format_version" not in document and not str(document.get("apiVersion")).startswith(NOT_RESOURCES)


def is_custom(group: str) -> bool:
    """Return whether an API group is not one of Kubernetes' own."""
    return "." in group and not group.endswith(".k8s.io")


@cache
def validator_of(group: str, version: str, kind: str) -> Validator | None:
    name = f"{group}/{kind.lower()}_{version}.json"
    for place in (*PLACES, OWN):
        if (place / name).is_file():
            schema = json.loads((place / name).read_text())
            kind_of_schema = validator_for(schema)
            if place is OWN:
                # An API server has accepted the others; one of them takes longer to check than all resources.
                kind_of_schema.check_schema(schema)
            return kind_of_schema(schema)
    return None


@cache
def definitions() -> tuple[Path, Registry[Any]]:
    """Return the folder of the newest schemas of Kubernetes' own kinds, which allow no unknown field, and the
    definitions that these schemas share."""
    folder = KUBERNETES / f"v{kubernetes_validate.latest_version()}-local-strict"
    shared = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    return folder, shared @ Registry()


@cache
def validator_of_kubernetes(group: str, version: str, kind: str) -> Validator:
    """Return what kubernetes_validate.validate makes for every resource, which reads the definitions each time. Raises
    LookupError for an unknown kind."""
    folder, registry = definitions()
    path = folder / "-".join(filter(None, (kind.lower(), group.partition(".")[0], f"{version}.json")))
    if not path.is_file():
        raise LookupError(f"there is no schema of {group}/{version} {kind}")
    schema = json.loads(path.read_text())
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ registry)


def check(document: Document) -> None:
    """Validate a resource. Raises ValidationError when a cluster would refuse it, LookupError for an unknown kind."""
    group, _, version = document["apiVersion"].rpartition("/")
    validator = validator_of(group, version, document["kind"])
    if validator is not None:
        validator.validate(document)
        return
    if not PLACES and is_custom(group):
        pytest.skip(f"{document['kind']} of {group}: LASTRO_CRD_SCHEMAS names no folder of schemas")
    validator_of_kubernetes(group, version, document["kind"]).validate(document)


@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_manifest_is_valid_for_a_cluster(path: Path) -> None:
    """Each resource in knative/ and kafka-sources/ is valid by its kind's schema, with no unknown field."""
    resources = [document for document in documents_of(path.read_text()) if is_resource(document)]

    for document in resources:
        check(document)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_valid_resources(overlay: str) -> None:
    """Kustomize builds the overlay, and each of its resources is valid and has a unique name."""
    resources = built(overlay)
    identities = [
        (document["apiVersion"], document["kind"], document["metadata"].get("namespace"), document["metadata"]["name"])
        for document in resources
    ]
    for document in resources:
        check(document)
    assert len(set(identities)) == len(identities) > 0


@needs_crd_schemas
@pytest.mark.parametrize(
    "spec",
    [
        {"topics": ["a"]},
        {"topics": ["a"], "bootstrapServers": ["b:9092"], "retries": 3},
        {"topics": "a", "bootstrapServers": ["b:9092"]},
    ],
    ids=["missing", "unknown", "mistyped"],
)
def test_the_check_refuses_what_a_cluster_refuses(spec: Document) -> None:
    """A KafkaSource with a missing field, an unknown field or a value of another type is refused."""
    source = {"apiVersion": "sources.knative.dev/v1", "kind": "KafkaSource", "metadata": {"name": "any"}, "spec": spec}

    with pytest.raises(jsonschema.ValidationError):
        check(source)


def test_the_check_refuses_a_misspelt_field_of_kubernetes_own() -> None:
    """An unknown field of a built-in kind is refused, as a strict validation on a cluster does."""
    with pytest.raises(jsonschema.ValidationError, match="dta"):
        check({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "any"}, "dta": {}})


@needs_crd_schemas
def test_the_check_refuses_a_kind_without_a_schema() -> None:
    """A kind without a schema is an error."""
    with pytest.raises(LookupError, match="there is no schema of example"):
        check({"apiVersion": "example.org/v1", "kind": "Anything", "metadata": {"name": "any"}})
