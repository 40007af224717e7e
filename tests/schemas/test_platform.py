"""The systems around the functions: each folder builds, keeps the rules for pods, and has what is asked for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from embedded.manifests.loading import load
from embedded.wiring.repository import read_repository
from shared.adapters.kafka.address import read_address
from shared.core.strict_yaml import read_value, read_values
from shared.http.operation import Access
from shared.release.decision import DEAD_LETTERS_PAUSE
from shared.release.indicators import LAG, OBJECTIVES
from tests.schemas.test_manifests import PLACES, check, is_custom
from tests.schemas.test_overlays import CACHE, built
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
KNATIVE = ROOT / "knative"
PLACES_OF_SYSTEMS = ("platform/*/kustomization.yaml", "overlays/kind/platform/*/kustomization.yaml")
FOLDERS = [
    *sorted(path.parent.relative_to(KNATIVE).as_posix() for place in PLACES_OF_SYSTEMS for path in KNATIVE.glob(place)),
    "overlays/production/release",
    "overlays/production/migrate",
    "argo",
]
PRODUCTION = [folder for folder in FOLDERS if folder.startswith("platform/")]
Document = dict[str, Any]

# A container that may not keep a rule, with the reason beside it in its manifest.
WRITES_TO_ITS_IMAGE = {"keycloak"}


@cache
def resources(folder: str) -> tuple[Document, ...]:
    kustomize = shutil.which("kustomize") or shutil.which("kustomize", path=CACHE)
    if kustomize is None:
        pytest.skip(f"kustomize is neither on the PATH nor in {CACHE}")
    ran = subprocess.run(
        [kustomize, "build", str(KNATIVE / folder)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return tuple(read_values(ran.stdout))


def of_kind(folder: str, kind: str) -> dict[str, Document]:
    return {one["metadata"]["name"]: one for one in resources(folder) if one["kind"] == kind}


def pods(folder: str) -> Iterator[tuple[str, Document]]:
    """Yield the specification of each pod that a folder starts, with the name of its owner."""
    for one in resources(folder):
        spec = one.get("spec") or {}
        if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet") or one["kind"] == "Job":
            yield one["metadata"]["name"], spec["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield one["metadata"]["name"], spec["jobTemplate"]["spec"]["template"]["spec"]


def images(value: Any) -> Iterator[str]:
    """Yield every image that a resource names, at any depth: those of operators' resources too."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("image", "serverImage") and isinstance(inner, str):
                yield inner
            else:
                yield from images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from images(inner)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_builds_valid_resources(folder: str) -> None:
    """Kustomize builds the folder, each resource is valid for a cluster with no unknown field, and no name is there
    twice."""
    found = resources(folder)
    names = [
        (one["apiVersion"], one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found
    ]
    assert len(set(names)) == len(names) > 0
    for one in found:
        if PLACES or not is_custom(one["apiVersion"].rpartition("/")[0]):
            check(one)


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_image_has_an_exact_version(folder: str) -> None:
    """No image is `latest` or without a tag; the tag of another's image is an exact version."""
    for one in resources(folder):
        for image in images(one) if one["kind"] != "ConfigMap" else ():
            name, _, tag = image.rpartition(":")
            assert name, image
            own = name in ("dev.local/lastro", "dev.local/lastro-operator") or "@sha256:" in image
            assert own or re.fullmatch(r"v?\d+\.\d+(\.\d+)?([.-].*)?", tag), image


def test_every_image_is_in_the_list() -> None:
    """The list of images, which says where each version was read, has those of the manifests and no other."""
    listed = re.findall(r"^\| `(\S+)` \| (\S+) \|", (KNATIVE / "platform/IMAGES.md").read_text(), re.MULTILINE)
    named = {
        image
        for folder in PRODUCTION
        for one in resources(folder)
        if one["kind"] != "ConfigMap"
        for image in images(one)
        if not image.startswith("dev.local/")
    }
    assert named == {f"{name}:{version}" for name, version in listed}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_pod_has_no_privilege_and_its_limits(folder: str) -> None:
    """Every pod runs as another user than root, without privileges, with a read-only file system, with requests and
    limits, with probes, and without a token for the cluster's API that it does not need."""
    for owner, pod in pods(folder):
        assert pod["securityContext"]["runAsNonRoot"] is True, owner
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), owner
        assert pod["serviceAccountName"] != "default", owner
        assert pod["automountServiceAccountToken"] is (owner in ("vault", "prometheus", "release-controller")), owner
        assert not any("hostPath" in volume for volume in pod.get("volumes", [])), owner
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            name = container["name"]
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert security["readOnlyRootFilesystem"] is (name not in WRITES_TO_ITS_IMAGE), name
            assert set(container["resources"]) == {"requests", "limits"}, name
            assert {"cpu", "memory"} == container["resources"]["limits"].keys(), name
            assert {"cpu", "memory"} == container["resources"]["requests"].keys(), name
        for container in pod["containers"]:
            if not any(
                one["kind"] in ("CronJob", "Job") and one["metadata"]["name"] == owner for one in resources(folder)
            ):
                assert {"readinessProbe", "livenessProbe"} <= container.keys(), container["name"]


@pytest.mark.parametrize("folder", PRODUCTION)
def test_what_has_replicas_survives_a_drain_and_a_zone(folder: str) -> None:
    """Every system with more than one replica has a disruption budget and is spread over the zones; a Deployment with
    replicas scales by itself."""
    budgets = [one["spec"]["selector"]["matchLabels"] for one in of_kind(folder, "PodDisruptionBudget").values()]
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in of_kind(folder, "HorizontalPodAutoscaler").values()}
    for one in resources(folder):
        if one["kind"] not in ("Deployment", "StatefulSet") or one["spec"]["replicas"] < 2:
            continue
        template = one["spec"]["template"]
        labels = template["metadata"]["labels"].items()
        name = one["metadata"]["name"]
        assert any(selector.items() <= labels for selector in budgets), name
        keys = [part["topologyKey"] for part in template["spec"]["topologySpreadConstraints"]]
        assert "topology.kubernetes.io/zone" in keys, name
        if one["kind"] == "Deployment":
            assert name in scaled, name


def test_everything_that_stands_has_a_size_that_is_watched() -> None:
    """Each Deployment and StatefulSet has a VerticalPodAutoscaler for its containers, with an upper limit; one whose
    number follows the CPU has only its memory changed; a store is only recommended a size."""
    sizes = {
        (one["metadata"]["namespace"], one["spec"]["targetRef"]["kind"], one["metadata"]["name"]): one["spec"]
        for one in resources("platform/sizes")
    }
    for folder in PRODUCTION:
        scaled = {one["spec"]["scaleTargetRef"]["name"] for one in of_kind(folder, "HorizontalPodAutoscaler").values()}
        for one in resources(folder):
            if one["kind"] not in ("Deployment", "StatefulSet"):
                continue
            name = one["metadata"]["name"]
            spec = sizes.pop((one["metadata"]["namespace"], one["kind"], name))
            policies = {part["containerName"]: part for part in spec["resourcePolicy"]["containerPolicies"]}
            policies.pop("istio-proxy", None)
            containers = one["spec"]["template"]["spec"]["containers"]
            assert policies.keys() == {part["name"] for part in containers}, name
            for part in policies.values():
                assert part["controlledResources"] == (["memory"] if name in scaled else ["cpu", "memory"]), name
                assert "memory" in part["maxAllowed"], name
            mode = spec["updatePolicy"]["updateMode"]
            assert mode == ("Recreate" if name in scaled else "Initial" if one["kind"] == "Deployment" else "Off"), name
    # What is left is that of the operators' StatefulSets.
    assert {namespace for namespace, _, _ in sizes} == {"mongodb", "cassandra"}
    assert {spec["updatePolicy"]["updateMode"] for spec in sizes.values()} == {"Off"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_namespace_enforces_a_pod_security_standard(folder: str) -> None:
    """Every namespace enforces `restricted`, except those that read nodes; Knative's own are those of its releases."""
    other = {"logging": "privileged", "observability": "baseline", "istio-system": "privileged"}
    for name, one in of_kind(folder, "Namespace").items():
        if not name.startswith("knative-"):
            assert one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == other.get(name, "restricted")


@pytest.mark.parametrize("folder", FOLDERS)
def test_rights_are_few(folder: str) -> None:
    """No role names all resources or all verbs, and none may read Secrets or start pods."""
    for one in resources(folder):
        if one["kind"] in ("Role", "ClusterRole"):
            for rule in one["rules"]:
                assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
                assert not {"secrets", "pods/exec", "roles", "clusterroles"} & set(rule["resources"])
                assert one["kind"] == "Role" or set(rule["verbs"]) <= {"get", "list", "watch"}
    for one in of_kind(folder, "ClusterRoleBinding").values():
        assert one["roleRef"]["name"] in ("lastro-prometheus", "system:auth-delegator")


SYSTEMS = {
    "platform/mongodb": "PerconaServerMongoDB",
    "platform/cassandra": "CassandraDatacenter",
    "platform/kafka": "Kafka",
    "platform/redis": "StatefulSet",
    "platform/keycloak": "StatefulSet",
    "platform/kong": "Deployment",
    "platform/vault": "StatefulSet",
    "platform/unleash": "Deployment",
    "platform/istio": "PeerAuthentication",
    "platform/observability": "OpenTelemetryCollector",
    "platform/release": "Deployment",
    "argo": "Application",
}


@pytest.mark.parametrize(("folder", "kind"), SYSTEMS.items())
def test_each_system_of_the_architecture_has_manifests(folder: str, kind: str) -> None:
    """Each system of the architecture's tables has a folder that installs it, with a short README."""
    assert of_kind(folder, kind)
    readme = (KNATIVE / folder / "README.md").read_text()
    assert re.search(r"^# .*", readme)
    assert len(readme.splitlines()) <= 20


def test_the_stores_are_as_large_as_the_architecture_says() -> None:
    """MongoDB has two shards of three, three config servers and routers; Cassandra two data centres of three nodes;
    Kafka three brokers and two in sync; Redis three nodes with a Sentinel each; Vault three; Keycloak two or more."""
    mongodb = of_kind("platform/mongodb", "PerconaServerMongoDB")["lastro"]["spec"]
    assert [shard["size"] for shard in mongodb["replsets"]] == [3, 3]
    assert (mongodb["sharding"]["configsvrReplSet"]["size"], mongodb["sharding"]["mongos"]["size"]) == (3, 3)
    assert mongodb["backup"]["pitr"] == {"enabled": True, "oplogSpanMin": 0.5, "compressionType": "gzip"}
    centres = of_kind("platform/cassandra", "CassandraDatacenter")
    assert {name: (one["spec"]["size"], len(one["spec"]["racks"])) for name, one in centres.items()} == {
        "dc1": (3, 3),
        "dc2": (3, 3),
    }
    pools = of_kind("platform/kafka", "KafkaNodePool")
    assert {name: one["spec"]["replicas"] for name, one in pools.items()} == {"brokers": 3, "controllers": 3}
    assert of_kind("platform/kafka", "Kafka")["lastro"]["spec"]["kafka"]["config"]["min.insync.replicas"] == 2
    redis = of_kind("platform/redis", "StatefulSet")["redis"]["spec"]
    assert redis["replicas"] == 3
    assert [one["name"] for one in redis["template"]["spec"]["containers"]] == ["redis", "sentinel"]
    assert of_kind("platform/vault", "StatefulSet")["vault"]["spec"]["replicas"] == 3
    assert of_kind("platform/keycloak", "StatefulSet")["keycloak"]["spec"]["replicas"] >= 2


@pytest.mark.parametrize(
    ("overlay", "folder"), [("production", "platform/kafka"), ("kind", "overlays/kind/platform/kafka")]
)
def test_topics_fit_the_brokers(overlay: str, folder: str) -> None:
    """No topic has more replicas than there are brokers, or needs more in sync than it has; each belongs to this
    cluster and is in its namespace."""
    brokers = sum(
        one["spec"]["replicas"] for one in of_kind(folder, "KafkaNodePool").values() if "broker" in one["spec"]["roles"]
    )
    (kafka,) = of_kind(folder, "Kafka").values()
    topics = [one for one in built(overlay) if one["kind"] == "KafkaTopic"]
    assert topics
    for one in topics:
        spec = one["spec"]
        assert spec["config"]["min.insync.replicas"] <= spec["replicas"] <= brokers
        assert one["metadata"]["labels"]["strimzi.io/cluster"] == kafka["metadata"]["name"]
        assert one["metadata"]["namespace"] == kafka["metadata"]["namespace"]
    (listener,) = kafka["spec"]["kafka"]["listeners"]
    (settings,) = (one["data"] for one in built(overlay) if "LASTRO_BUS" in one.get("data", {}))
    address = read_address(settings["LASTRO_BUS"])
    assert address.servers == (f"lastro-kafka-bootstrap.kafka.svc.cluster.local:{listener['port']}",)
    assert address.tls is listener["tls"]


def test_only_providers_call_without_a_token() -> None:
    """At Kong every route needs a token of the realm but those of the providers' callbacks, which sign in their own
    way: a new callback needs `anonymous` at its route."""
    repository = read_repository(ROOT)
    kong = repository.manifests.kong
    assert kong is not None
    general = [plugin for plugin in kong.plugins if plugin.name == "jwt"]
    assert [plugin.config["key_claim_name"] for plugin in general] == ["kid"]
    assert "anonymous" not in general[0].config
    for service in kong.services:
        for route in service.routes:
            function = repository.behind(service.function)
            assert function is not None
            open_to = [plugin.config.get("anonymous") for plugin in route.plugins if plugin.name == "jwt"]
            provider = getattr(function.operation, "access", None) is Access.PROVIDER
            assert open_to == (["provider"] if provider else []), route.name
            # No token confirms a tenant there, so a header must not use up the limit of one.
            limits = [plugin.config["limit_by"] for plugin in route.plugins if plugin.name == "rate-limiting"]
            assert limits == (["ip"] if provider else []), route.name
    assert {consumer.username for consumer in kong.consumers} == {"realm", "provider"}


def test_each_header_of_the_contract_reaches_the_functions() -> None:
    """Kong passes every header of the contract on: it sets X-Tenant-Id where it is absent, and removes none."""
    kong = load(ROOT).kong
    assert kong is not None
    text = (KNATIVE / "platform" / "kong" / "kong.yaml").read_text()
    assert 'kong.service.request.set_header("X-Tenant-Id", tenant)' in text
    # A client cannot use up another tenant's limit: a header that differs from the token is refused before it counts.
    assert text.index("named ~= tenant") < text.index('"code":"tenant_mismatch"') < text.index("- name: rate-limiting")
    assert "clear_header" not in text
    assert not {"request-transformer", "response-transformer"} & {plugin.name for plugin in kong.plugins}
    # Idempotency-Key, X-Timestamp, X-Key-Id and X-Signature cover path and query, which reach a function unchanged.
    assert all(not route.strip_path for service in kong.services for route in service.routes)
    limits = {plugin.name: plugin.config for plugin in kong.plugins}
    assert limits["rate-limiting"]["header_name"] == "X-Tenant-Id"
    assert limits["request-size-limiting"]["allowed_payload_size"] == 256


def test_each_objective_has_its_alerts() -> None:
    """Every objective, and the lag of consumers, has alerts: four burn rates over two windows each for a share or a
    percentile, and what is due at once for a level."""
    rules = read_value((KNATIVE / "platform/observability/config/objectives.yml").read_text())
    alerts: dict[str, list[Document]] = {}
    for group in rules["groups"]:
        for rule in group["rules"]:
            if rule.get("alert", "").startswith("Objective"):
                alerts.setdefault(rule["labels"]["slo"], []).append(rule)
    assert alerts.keys() == {*OBJECTIVES, LAG.key}
    burning = {key: [rule["labels"].get("window") for rule in found] for key, found in alerts.items()}
    at_once = {"ledger_missing", "dead_letter_age", "unreconciled", "lag"}
    for key, windows in burning.items():
        assert windows == ["1h", "6h", "1d", "3d"] or key in at_once, key
    errors = alerts["errors"]
    assert errors[0]["expr"] == ("lastro:errors:bad_share1h > 0.0144 and lastro:errors:bad_share5m > 0.0144")
    assert [rule["labels"]["severity"] for rule in errors] == ["page", "page", "message", "message"]
    # Of a percentile, what is slower may be one in twenty.
    assert "> 0.72 and" in alerts["latency"][0]["expr"]


def test_dead_letters_that_pause_a_release_call_a_person() -> None:
    """The share of dead letters above which a release is paused pages at once, though no budget of a month burns as
    fast at that share."""
    rules = read_value((KNATIVE / "platform/observability/config/objectives.yml").read_text())
    recorded = {rule.get("record") for group in rules["groups"] for rule in group["rules"]}
    (alert,) = (one for group in rules["groups"] for one in group["rules"] if one.get("alert") == "ReleaseDeadLetters")
    shares = re.findall(r"(lastro:dead_letters:\S+) > (\S+)", alert["expr"])
    assert {float(limit) for _, limit in shares} == {DEAD_LETTERS_PAUSE}
    assert {name for name, _ in shares} <= recorded
    assert (alert["labels"]["severity"], alert["for"]) == ("page", "0m")


def test_the_dashboard_shows_each_objective() -> None:
    """The dashboard has a panel for every objective and the lag, with the objective as a line."""
    dashboard = json.loads((KNATIVE / "platform/observability/dashboards/objectives.json").read_text())
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert titles == [one.title for one in (*OBJECTIVES.values(), LAG)]


def test_argo_installs_in_waves_and_leaves_traffic_alone() -> None:
    """Operators come before what they install, stores before the functions; every folder of the platform has an
    application; and what the controller of releases writes is not repaired."""
    found = of_kind("argo", "Application")
    wave = {name: int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for name, one in found.items()}
    assert (
        wave["strimzi"] < wave["vault"] < wave["keycloak-database"] < wave["kafka"] < wave["keycloak"] < wave["lastro"]
    )
    paths = {one["spec"]["source"].get("path") for one in found.values()}
    # Kong is in the overlay of the functions, whose routes it has; the controller of releases has its own overlay.
    assert {f"knative/{folder}" for folder in PRODUCTION} - paths == {
        *("knative/platform/kong", "knative/platform/release", "knative/platform/migrate"),
    }
    assert {"knative/overlays/production/release", "knative/overlays/production/migrate"} <= paths
    ignored = [one for one in found["lastro"]["spec"]["ignoreDifferences"] if one["kind"] == "Service"]
    assert ignored[0]["jsonPointers"] == ["/spec/traffic"]
    for name, one in found.items():
        options = one["spec"]["syncPolicy"]["syncOptions"]
        assert {"ServerSideApply=true", "RespectIgnoreDifferences=true"} <= set(options), name
        source = one["spec"]["source"]
        assert source["targetRevision"] not in ("HEAD", "main", "*"), name


def waves() -> list[tuple[set[str], list[Document]]]:
    """Return the waves in their order: the namespaces that Argo CD creates itself in each, and its resources. Charts
    have none here."""
    found: dict[int, tuple[set[str], list[Document]]] = {}
    for one in of_kind("argo", "Application").values():
        wave = int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        namespaces, documents = found.setdefault(wave, (set(), []))
        namespaces.add(one["spec"]["destination"]["namespace"])
        path = one["spec"]["source"].get("path", "")
        if path and path != "knative/argo":
            documents.extend(resources(path.removeprefix("knative/")))
    return [found[wave] for wave in sorted(found)]


def test_a_wave_has_its_namespaces() -> None:
    """No wave of Argo CD has a resource for a namespace that only a later one brings: it would wait for ever."""
    step = re.search(r"`kubectl apply (-f knative/\S+/namespace\.yaml.*?)`", (ROOT / "docs" / "deploy.md").read_text())
    assert step is not None
    by_hand = re.findall(r"-f (\S+)", step[1])
    there = {read_value((ROOT / path).read_text())["metadata"]["name"] for path in by_hand}
    there |= {"argocd", "kube-system", "knative-serving", "knative-eventing"}
    for namespaces, documents in waves():
        there |= namespaces | {one["metadata"]["name"] for one in documents if one["kind"] == "Namespace"}
        for one in documents:
            assert one["metadata"].get("namespace", "argocd") in there, (one["kind"], one["metadata"])


def test_the_job_that_prepares_the_stores_has_what_its_pod_names_in_its_wave() -> None:
    """The account, the settings and the Secrets of the job come in its wave or an earlier one; otherwise its pod could
    not start, and the wave with them would wait for the job."""
    made: set[str] = set()
    for _, documents in waves():
        own = [one for one in documents if one["metadata"].get("namespace") == "lastro"]
        made |= {one["metadata"]["name"] for one in own if one["kind"] in ("ServiceAccount", "ConfigMap")}
        made |= {one["spec"]["target"]["name"] for one in own if one["kind"] == "ExternalSecret"}
        made |= {one["spec"]["secretName"] for one in own if one["kind"] == "Certificate"}
        for job in (one for one in own if one["kind"] == "Job"):
            pod = job["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            sources = [next(iter(one.values())) for one in container["envFrom"]]
            sources += [one["valueFrom"]["secretKeyRef"] for one in container["env"] if "valueFrom" in one]
            named = {one["name"] for one in sources if not one.get("optional")}
            named |= {one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one}
            assert len(named) == 4
            assert named | {pod["serviceAccountName"]} <= made
            return
    raise AssertionError("no wave has the job")


SECRET_OF_A_FIELD = {"secretKeyRef", "secretRef", "passwordSecretRef", "secret"}


def secrets_named(value: Any) -> Iterator[str]:
    """Yield the name of each Secret that a resource reads, at any depth."""
    if isinstance(value, dict):
        for field, inner in value.items():
            if field == "secretName" and isinstance(inner, str):
                yield inner
            elif field in SECRET_OF_A_FIELD and isinstance(inner, dict) and "name" in inner:
                yield inner["name"]
            yield from secrets_named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from secrets_named(inner)


def test_every_secret_that_production_reads_is_made() -> None:
    """A manifest makes each Secret that pods, sources and databases read in its namespace; the others are values that
    docs/deploy.md tells to choose."""
    made, read = set(), set()
    databases = of_kind("argo", "Application").values()
    for one in (*databases, *(one for _, documents in waves() for one in documents)):
        spec, name = one.get("spec") or {}, one["metadata"]["name"]
        place = one["metadata"].get("namespace", "operators")
        match one["kind"]:
            case "Secret":
                made.add((place, name))
            case "ExternalSecret":
                made.add((place, spec["target"]["name"]))
            case "Certificate":
                made.add((place, spec["secretName"]))
            case "Application":
                read |= {(spec["destination"]["namespace"], each) for each in secrets_named(spec["source"].get("helm"))}
            case _:
                read |= {(place, each) for each in secrets_named(spec)}
    chosen = {("vault", "vault-tls"), ("keycloak", "keycloak-tls"), ("kong", "kong-tls"), ("lastro", "lastro-operator")}
    assert ("keycloak", "keycloak-database-owner") in read
    assert read - made == chosen
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert all(name in page for _, name in chosen)


def table(begin: str) -> list[tuple[list[str], list[str]]]:
    """Return the code spans of both columns of the first table after these words in docs/deploy.md."""
    _, _, rest = (ROOT / "docs" / "deploy.md").read_text().partition(begin)
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", rest.partition("\n\n|")[2].partition("\n\n")[0], re.MULTILINE)
    return [(re.findall(r"`([^`]+)`", left), re.findall(r"`([^`]+)`", right)) for left, right in rows]


def test_the_page_names_every_secret_of_vault() -> None:
    """The table of docs/deploy.md has each path of Vault from which a Secret is made and no other, with its keys."""
    wanted: dict[str, set[str]] = {}
    for one in (one for _, documents in waves() for one in documents if one["kind"] == "ExternalSecret"):
        places = [each["remoteRef"] for each in one["spec"].get("data", [])]
        for each in (*places, *(each["extract"] for each in one["spec"].get("dataFrom", []))):
            keys = wanted.setdefault(each["key"].removeprefix("lastro/platform/"), set())
            keys |= {each["property"]} if "property" in each else set()
    listed = {path: set(keys) for paths, keys in table("In Vault, under") for path in paths}
    assert listed.keys() == wanted.keys()
    for path, keys in wanted.items():
        assert keys <= listed[path], path


def test_the_page_names_every_file_with_a_value_to_choose() -> None:
    """Each manifest that has a name or a region of an example is in the table of docs/deploy.md, or its folder is."""
    named = {
        span for _, spans in table("## The values that you choose") for span in spans if span.startswith("knative/")
    }
    covered = {path for span in named for place in ROOT.glob(span) for path in (place, *place.rglob("*"))}
    files = [path for path in KNATIVE.rglob("*") if path.suffix in (".yaml", ".hcl", ".ini", ".json")]
    found = [path for path in files if re.search(r"lastro\.example|sa-east-1", path.read_text())]
    assert len(found) > 10
    assert [path for path in found if path not in covered] == []


def test_argo_knows_when_a_resource_is_healthy() -> None:
    """Each kind of the wiring that reports its readiness has a health check, so that a wave waits for it."""
    checks = of_kind("argo", "ConfigMap")["argocd-cm"]["data"]
    for kind in (
        "serving.knative.dev_Service",
        "eventing.knative.dev_Broker",
        "eventing.knative.dev_Trigger",
        "sources.knative.dev_KafkaSource",
        "sources.knative.dev_PingSource",
        "kafka.strimzi.io_Kafka",
        "argoproj.io_Application",
    ):
        assert "return hs" in checks[f"resource.customizations.health.{kind}"], kind
