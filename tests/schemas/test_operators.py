"""What operators, charts and jobs make of the manifests: pods that may start, waves that wait, backups with keys."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.schemas.test_platform import FOLDERS, KNATIVE, Document, of_kind, resources
from tests.waiting import PATIENCE_SECONDS


def made_by_operators(folder: str) -> Iterator[tuple[str, Document, Document]]:
    """Yield each container that an operator starts for a resource of a folder: its name, and the security contexts of
    its pod and its own. These are the containers of Percona's operator 1.21 and of cass-operator 1.27."""
    for one in of_kind(folder, "PerconaServerMongoDB").values():
        spec = one["spec"]
        sharding = spec["sharding"]
        backup = [spec["backup"]] if spec["backup"]["enabled"] else []
        for part in (*spec["replsets"], sharding["configsvrReplSet"], sharding["mongos"], *backup):
            pod, name = part.get("podSecurityContext", {}), part.get("name", "")
            yield f"mongodb {name}", pod, part.get("containerSecurityContext", {})
            yield f"mongo-init of {name}", pod, spec.get("initContainerSecurityContext", {})
    for one in of_kind(folder, "CassandraDatacenter").values():
        pod = one["spec"]["podTemplateSpec"]["spec"]
        containers = {each["name"]: each for each in (*pod["containers"], *pod.get("initContainers", []))}
        for name in ("server-config-init-base", "server-config-init", "cassandra", "server-system-logger"):
            yield name, pod["securityContext"], containers.get(name, {}).get("securityContext", {})


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder.endswith(("mongodb", "cassandra"))])
def test_what_an_operator_starts_may_start_in_its_namespace(folder: str) -> None:
    """Each container that an operator makes of a store's resource has what the namespace's `restricted` demands,
    without which the API server refuses its pod; a pod keeps the group of its volume."""
    containers = list(made_by_operators(folder))
    assert len(containers) >= 4
    for name, pod, own in containers:
        both = {**pod, **own}
        assert both.get("runAsNonRoot") is True, name
        assert both.get("seccompProfile") == {"type": "RuntimeDefault"}, name
        assert own.get("allowPrivilegeEscalation") is False, name
        assert own.get("capabilities") == {"drop": ["ALL"]}, name
        assert pod.get("fsGroup") in (999, 1001), name


def test_strimzi_keeps_the_standard_and_the_policies_of_its_namespace() -> None:
    """Strimzi gives its containers what `restricted` demands and keeps the group of its volumes, which a security
    context in the resource would replace; and it makes no NetworkPolicy: its own let every pod reach the listener."""
    values = of_kind("argo", "Application")["strimzi"]["spec"]["source"]["helm"]["valuesObject"]
    assert {"name": "STRIMZI_POD_SECURITY_PROVIDER_CLASS", "value": "restricted"} in values["extraEnvs"]
    assert values["generateNetworkPolicy"] is False
    on_kind = yaml.safe_load((KNATIVE / "overlays/kind/memory.yaml").read_text())["values"]["strimzi-kafka-operator"]
    assert {"generateNetworkPolicy=false", "extraEnvs[0].value=restricted"} <= set(on_kind)
    for folder in ("platform/kafka", "overlays/kind/platform/kafka"):
        template = of_kind(folder, "Kafka")["lastro"]["spec"]["kafka"].get("template", {})
        assert "securityContext" not in template.get("pod", {})


def test_argo_knows_how_healthy_an_application_is_before_the_first_wave() -> None:
    """The health checks come before every application, because Argo CD without them waits for none; and the root tries
    again for ever, because the first installation waits for an operator."""
    found = {
        (one["kind"], one["metadata"]["name"]): int(
            one["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0")
        )
        for one in resources("argo")
    }
    checks = found.pop(("ConfigMap", "argocd-cm"))
    assert checks < min(found.values())
    assert of_kind("argo", "Application")["root"]["spec"]["syncPolicy"]["retry"]["limit"] == -1


def test_the_databases_have_the_keys_of_their_bucket() -> None:
    """The chart of each PostgreSQL reads the keys of its backups from a Secret that is made of Vault: it does not
    render when it is to make one of keys that it does not have."""
    secrets = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): {each["secretKey"] for each in one["spec"]["data"]}
        for one in resources("platform/vault")
        if one["kind"] == "ExternalSecret"
    }
    for name in ("keycloak", "unleash"):
        values = of_kind("argo", "Application")[f"{name}-database"]["spec"]["source"]["helm"]["valuesObject"]
        assert values["backups"]["secret"]["create"] is False
        assert secrets[name, values["backups"]["secret"]["name"]] == {"ACCESS_KEY_ID", "ACCESS_SECRET_KEY"}


VAULT = """#!/bin/sh
case "$1 $2" in
    "status ") case $VAULT_ADDR in *vault-1*) mode=active ;; *) mode=standby ;; esac; echo "HA Mode    $mode" ;;
    "write -field=token") echo "token of $VAULT_ADDR" ;;
    "operator raft") echo "$VAULT_ADDR $VAULT_TOKEN" >"$5" ;;
esac
"""


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def test_vault_is_backed_up_by_its_active_node(tmp_path: Path) -> None:
    """The job asks the active node for the snapshot, by a name of its certificate, and fails when no node is active."""
    (job,) = of_kind("platform/vault", "CronJob").values()
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    *shell, text = container["command"]
    (tmp_path / "backups").mkdir()
    vault = tmp_path / "vault"
    vault.write_text(VAULT)
    vault.chmod(0o755)
    command = [*shell, text.replace("/backups", str(tmp_path / "backups"))]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (snapshot,) = (tmp_path / "backups").iterdir()
    address = "https://vault-1.vault-nodes:8200"
    assert snapshot.read_text() == f"{address} token of {address}\n"
    vault.write_text(VAULT.replace("mode=active", "mode=standby"))
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (ran.returncode, ran.stderr) == (1, "no node of Vault is active\n")
    (node,) = of_kind("platform/vault", "StatefulSet")["vault"]["spec"]["template"]["spec"]["containers"]
    values = {one["name"]: one.get("value", "") for one in node["env"]}
    assert values["VAULT_API_ADDR"] == values["VAULT_ADDR"] == "https://$(VAULT_RAFT_NODE_ID).vault-nodes:8200"


def test_each_prometheus_has_all_metrics() -> None:
    """The collector writes to every Prometheus by its name. Behind one address each had a part, and a release was
    judged by half of its requests."""
    spec = of_kind("platform/observability", "OpenTelemetryCollector")["opentelemetry"]["spec"]["config"]
    exporters = spec["service"]["pipelines"]["metrics"]["exporters"]
    places = sorted(spec["exporters"][name]["endpoint"] for name in exporters)
    replicas = of_kind("platform/observability", "StatefulSet")["prometheus"]["spec"]["replicas"]
    assert places == [
        f"http://prometheus-{number}.prometheus-nodes.observability.svc.cluster.local:9090/api/v1/write"
        for number in range(replicas)
    ]


def test_argo_leaves_the_number_of_replicas_to_the_autoscaler() -> None:
    """What a HorizontalPodAutoscaler scales is not scaled back: its application ignores the number of its replicas."""
    found = 0
    for application in of_kind("argo", "Application").values():
        path = application["spec"]["source"].get("path", "")
        if not path.startswith("knative/") or path == "knative/argo":
            continue
        ignored = {
            (one["kind"], one.get("name"))
            for one in application["spec"].get("ignoreDifferences", [])
            if one.get("jsonPointers") == ["/spec/replicas"]
        }
        for one in of_kind(path.removeprefix("knative/"), "HorizontalPodAutoscaler").values():
            found += 1
            target = one["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in ignored, path
    assert found == 4
