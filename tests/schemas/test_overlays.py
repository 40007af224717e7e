"""The resources that kustomize builds for each kind of cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shared.core.settings import Settings
from shared.core.strict_yaml import read_values
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
# Where .ci/run puts the kustomize that it builds.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastro" / "bin"
OVERLAYS = ("kind", "production")
COMMAND = ["python", "-m", "uvicorn", "--factory", "shared.functions.application:application"]
Document = dict[str, Any]


@cache
def built(overlay: str) -> list[Document]:
    kustomize = shutil.which("kustomize") or shutil.which("kustomize", path=CACHE)
    if kustomize is None:
        pytest.skip(f"kustomize is neither on the PATH nor in {CACHE}")
    output = subprocess.run(
        [kustomize, "build", str(ROOT / "knative" / "overlays" / overlay)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert output.returncode == 0, output.stderr
    return read_values(output.stdout)


def of_kind(overlay: str, kind: str) -> dict[str, Document]:
    """Return the resources of a kind by name; the Services are those of Knative."""
    group = "serving.knative.dev/" if kind == "Service" else ""
    return {
        document["metadata"]["name"]: document
        for document in built(overlay)
        if document["kind"] == kind and document["apiVersion"].startswith(group)
    }


def container(service: Document) -> Document:
    (only,) = service["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_function_is_deployed(overlay: str) -> None:
    """Each function file has a Service in the overlay, with its own target and source."""
    sources = {
        variable["value"]
        for service in of_kind(overlay, "Service").values()
        for variable in container(service)["env"]
        if variable["name"] == "FUNCTION_SOURCE"
    }
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "functions").glob("*/[!_]*.py")}

    assert sources == files


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_function_has_rights_it_does_not_need(overlay: str) -> None:
    """Every function runs as the user nobody, with a read-only file system, no capabilities, and only a cluster-local
    address."""
    for name, service in of_kind(overlay, "Service").items():
        security = container(service)["securityContext"]
        assert security["runAsNonRoot"], name
        assert security["readOnlyRootFilesystem"], name
        assert not security["allowPrivilegeEscalation"], name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert service["spec"]["template"]["spec"]["automountServiceAccountToken"] is False, name
        assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local", name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_function_has_the_account_of_its_domain(overlay: str) -> None:
    """Every function has the service account and Vault's role of its domain, and a token that is for Vault only."""
    accounts = of_kind(overlay, "ServiceAccount")
    for name, service in of_kind(overlay, "Service").items():
        role = f"lastro-{service['metadata']['labels']['app.kubernetes.io/component']}"
        pod = service["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == role, name
        assert accounts[role]["automountServiceAccountToken"] is False
        assert {"name": "VAULT_ROLE", "value": role} in container(service)["env"], name
        token, authority = pod["volumes"][0]["projected"]["sources"]
        assert authority == {"configMap": {"name": "vault-ca", "optional": True}}, name
        assert token["serviceAccountToken"]["audience"] == "vault", name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_function_is_started_by_the_framework(overlay: str) -> None:
    """Every function has the image's command, bounded resources, and the settings."""
    for name, service in of_kind(overlay, "Service").items():
        started = container(service)
        assert started["command"] == COMMAND, name
        assert set(started["resources"]) == {"requests", "limits"}, name
        assert [one["configMapRef"]["name"] for one in started["envFrom"] if "configMapRef" in one] == [
            "lastro-settings"
        ], name


def test_production_runs_an_image_by_its_digest() -> None:
    """In production the image of every function has a digest; on kind it has the tag that was built there."""
    assert {container(service)["image"] for service in of_kind("kind", "Service").values()} == {"dev.local/lastro:kind"}
    for service in of_kind("production", "Service").values():
        assert "@sha256:" in container(service)["image"]


def test_production_has_three_instances_of_core_functions() -> None:
    """Core functions have three instances in production, and a sweep among them never more than its one; the others,
    and all on kind, may scale to zero."""
    for overlay, least in (("production", "3"), ("kind", "0")):
        for name, service in of_kind(overlay, "Service").items():
            core = service["metadata"]["labels"]["lastro.dev/class"] == "core"
            annotations = service["spec"]["template"]["metadata"]["annotations"]
            scale = annotations["autoscaling.knative.dev/min-scale"]
            wanted = min(least, annotations.get("autoscaling.knative.dev/max-scale", least)) if core else "0"
            assert (name, scale) == (name, wanted)


@pytest.mark.parametrize(("overlay", "copies", "in_sync"), [("kind", 1, 1), ("production", 3, 2)])
def test_topics_have_as_many_replicas_as_brokers(overlay: str, copies: int, in_sync: int) -> None:
    """Topics have three replicas, two in sync, in production, and one on kind, which has one broker; the ledger's
    facts are retained for thirty days, others for seven."""
    day = 24 * 60 * 60 * 1000
    for name, topic in of_kind(overlay, "KafkaTopic").items():
        spec = topic["spec"]
        assert (spec["partitions"], spec["replicas"], spec["config"]["min.insync.replicas"]) == (12, copies, in_sync)
        assert spec["config"]["retention.ms"] == (30 * day if name == "lastro.ledger.v1" else 7 * day)
    broker = of_kind(overlay, "ConfigMap")["kafka-broker-config"]["data"]
    assert broker["default.topic.replication.factor"] == str(copies)
    assert broker["default.topic.config.min.insync.replicas"] == str(in_sync)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_settings(overlay: str) -> None:
    """Every LASTRO_ variable of the ConfigMap is a setting of the functions, with a valid value."""
    data = of_kind(overlay, "ConfigMap")["lastro-settings"]["data"]
    known = {f"LASTRO_{name.upper()}" for name in Settings._fields}

    assert {name for name in data if name.startswith("LASTRO_")} <= known
    assert Settings.from_environment(data).base_url == data["LASTRO_BASE_URL"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_gets_the_repositorys_file(overlay: str) -> None:
    """Kong's configuration in the cluster is the file of the repository."""
    maps = [name for name in of_kind(overlay, "ConfigMap") if name.startswith("kong-declarative-")]

    assert len(maps) == 1
    content = of_kind(overlay, "ConfigMap")[maps[0]]["data"]["kong.yaml"]
    assert content == (ROOT / "knative" / "platform" / "kong" / "kong.yaml").read_text()
