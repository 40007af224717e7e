"""A real API server, with the webhooks of Knative, accepts every manifest of every overlay and platform folder."""

from __future__ import annotations

import pytest

from deployment.commands import CommandFailed
from tests.cluster.cluster import Cluster
from tests.cluster.dry_run import (
    KNATIVE,
    definition,
    prepared,
    rendered,
    schemas_of_this_machine,
    structural,
    would_apply,
)

OVERLAYS = ("overlays/kind", "overlays/production", "overlays/test", "overlays/test/release")
MORE = ("overlays/production/migrate", "overlays/production/release", "argo")


def folders() -> list[str]:
    """Return the folders of manifests, by their path from knative/."""
    platform = sorted(path.parent.name for path in KNATIVE.glob("platform/*/kustomization.yaml"))
    return [*OVERLAYS, *MORE, *(f"platform/{name}" for name in platform)]


@pytest.mark.cluster
@pytest.mark.timeout(3600)
def test_the_api_server_accepts_every_manifest(cluster: Cluster) -> None:
    """A server-side dry run with strict validation accepts each resource of each folder whose kind it can know, and
    refuses an unknown field."""
    found = {folder: rendered(KNATIVE / folder) for folder in folders()}
    resources = [each for each_folder in found.values() for each in each_folder]
    refused = []
    with prepared(cluster, resources, schemas_of_this_machine()) as unknown:
        for folder, its in found.items():
            try:
                print(f"\n{folder}: {would_apply(cluster, its, unknown)} of {len(its)} accepted", end="")
            except CommandFailed as error:
                refused.append(f"{folder}: {error}")
        (service,) = [each for each in found["platform/unleash"] if each["kind"] == "Deployment"][:1]
        wrong = {**service, "spec": {**service["spec"], "replica": 1}}
        with pytest.raises(CommandFailed, match="replica"):
            would_apply(cluster, [wrong], unknown)
    print(f"\nonly validated offline: {', '.join(sorted(unknown)) or 'nothing'}")
    assert refused == []


def test_a_schema_becomes_one_that_the_api_server_takes() -> None:
    """What the API server refuses in a schema is left out: `additionalProperties` beside properties, and drafts."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "names": {"type": ["array", "null"], "items": {"type": "string", "x-kubernetes-validations": []}},
            "labels": {
                "type": "object",
                "additionalProperties": {"type": "string", "x-kubernetes-int-or-string": True},
            },
        },
    }
    assert structural(schema) == {
        "type": "object",
        "properties": {
            "names": {"type": "array", "nullable": True, "items": {"type": "string"}},
            "labels": {
                "type": "object",
                "additionalProperties": {"type": "string", "x-kubernetes-int-or-string": True},
            },
        },
    }


def test_a_kind_of_the_whole_cluster_has_no_namespace() -> None:
    """The scope of a definition follows from the kind: a ClusterSecretStore is in no namespace."""
    found = definition("external-secrets.io", "v1", "ClusterSecretStore", "clustersecretstores", {"type": "object"})
    assert found["spec"]["scope"] == "Cluster"
    assert found["metadata"]["name"] == "clustersecretstores.external-secrets.io"
