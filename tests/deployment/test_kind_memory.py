"""The cluster on kind fits into 8 GiB."""

from __future__ import annotations

import pytest

from deployment.commands import DeploymentFailed
from deployment.kind.memory import KIND, Part, mebibytes, of_file, of_functions, of_manifests, read_file
from deployment.kind.steps import EXTRAS, STORES
from tests.schemas.test_overlays import built
from tests.schemas.test_platform import resources


def _parts() -> list[Part]:
    content = read_file()
    stores = [part for name in STORES for part in of_manifests(resources(f"overlays/kind/platform/{name}"))]
    functions = of_functions(built("kind"), content["functionsAtOnce"])
    return [*of_file(content), *stores, *of_manifests(built("kind")), functions]


def test_the_requests_fit_into_eight_gibibytes() -> None:
    """What Kubernetes, Knative, the operators, the stores, Kong and the functions of a payment request is at most 8 GiB
    together, the figure of memory.yaml, and no limit is below its request."""
    parts = _parts()
    total = sum(part.requested for part in parts)
    print(f"\nrequests {total:.0f} MiB, limits {sum(part.limit for part in parts):.0f} MiB")
    for part in parts:
        print(f"{part.requested:7.0f} {part.limit:7.0f} {part.name}")
        assert 0 < part.requested <= part.limit, part.name
    assert total <= mebibytes(read_file()["total"]) == 8192


def test_what_is_added_on_request_fits_into_ten_gibibytes() -> None:
    """With Unleash, observability, its operator and the controller of releases the requests are at most the other
    figure of memory.yaml."""
    content = read_file()
    charts = [chart for added in content["onRequest"].values() for chart in added.values()]
    operators = [mebibytes(amounts["requests"]) for chart in charts for amounts in chart.values()]
    folders = [f"overlays/kind/platform/{name}" for name in (*EXTRAS, "release")]
    parts = [*_parts(), *(part for folder in folders for part in of_manifests(resources(folder)))]
    assert operators
    assert sum(part.requested for part in parts) + sum(operators) <= mebibytes(content["totalOnRequest"]) == 10240


def test_every_store_and_the_gateway_are_counted() -> None:
    """The sum has each store with all its parts, Kong, and as many functions as memory.yaml says."""
    names = " ".join(part.name for part in _parts())
    for name in (
        *("KafkaNodePool brokers", "Kafka lastro", "PerconaServerMongoDB lastro", "CassandraDatacenter dc1"),
        *("StatefulSet redis", "StatefulSet vault", "StatefulSet keycloak", "Deployment kong", "16 functions"),
    ):
        assert name in names


def test_replicas_are_multiplied_and_jobs_and_preparations_are_not_counted() -> None:
    """A Deployment counts once a replica; a job, a container that prepares a pod, and what is disabled do not."""
    container = {"name": "a", "resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "1Gi"}}}
    pod = {
        "containers": [container, container],
        "initContainers": [container],
        "sidecar": {**container, "enabled": False},
    }
    spec = {"replicas": 3, "template": {"spec": pod}}
    metadata = {"name": "x"}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    assert list(of_manifests([deployment, job])) == [Part("Deployment x", 3 * 2 * 64, 3 * 2 * 1024)]


def test_an_amount_that_is_none_is_refused() -> None:
    """An amount of memory without a known unit is refused with its text, so that no sum is wrong."""
    assert [mebibytes(each) for each in ("64Mi", "2Gi", "512Ki")] == [64, 2048, 0.5]
    with pytest.raises(DeploymentFailed, match="'512M' is not an amount"):
        mebibytes("512M")


def test_each_folder_of_kind_has_a_step() -> None:
    """Every folder of kind's platform is a store, what is installed on request, or a step of its own."""
    folders = {path.name for path in (KIND / "platform").iterdir()}
    assert folders == {*STORES, *EXTRAS, "migrate", "release"}
