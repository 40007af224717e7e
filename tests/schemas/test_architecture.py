"""The tables of the architecture document, row by row: what a row requires, and where it is real in this project.

A row is the table, the row's first cell as the document writes it, the required property, and a check of the manifests
or the code. What only a server can show is tested with the servers; these checks say that the property is there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from embedded.policies.uses import uses
from embedded.wiring.repository import read_repository
from shared.adapters.cassandra.url import CassandraUrl
from shared.adapters.mongodb.schema import definitions
from shared.adapters.vault.policies import RIGHTS
from shared.bootstrap.adapters import OPENERS
from shared.core.flags import FLAGS
from shared.core.settings import Settings
from shared.core.strict_yaml import read_value
from shared.records.catalogue import COLLECTIONS
from shared.release.decision import DEAD_LETTERS_PAUSE, LAG_ROLL_BACK_SECONDS, OBSERVATION_MINUTES, Phase
from shared.release.indicators import LAG, OBJECTIVES, Kind
from tests.schemas.test_overlays import ROOT, built
from tests.schemas.test_overlays import of_kind as of_overlay
from tests.schemas.test_platform import of_kind, resources

Check = Callable[[], None]
KNATIVE: Final = ROOT / "knative"
ZONE: Final = "topology.kubernetes.io/zone"
COUNTS: Final = {
    "domains": 7,
    "availability": 12,
    "stack": 15,
    "tenants": 3,
    "headers": 7,
    "objectives": 14,
    "continuity": 2,
    "delivery": 7,
    "flow": 7,
    "canary": 5,
    "rollback": 5,
    "blue-green": 4,
}
"""The tables of the document and the number of their rows."""


class Row(NamedTuple):
    """A row of a table of the document, with what it requires."""

    table: str
    name: str
    required: str
    check: Check


ROWS: Final[list[Row]] = []


def row(table: str, name: str, required: str) -> Callable[[Check], Check]:
    """Register the check of a row."""

    def register(check: Check) -> Check:
        ROWS.append(Row(table, name, required, check))
        return check

    return register


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def argo(name: str) -> dict[str, Any]:
    found: dict[str, Any] = of_kind("argo", "Application")[name]["spec"]["source"]
    return found


def image(folder: str, kind: str, name: str, start: str) -> None:
    """Check that the first container of a workload has an image of this name."""
    found = of_kind(folder, kind)[name]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert found.startswith(f"{start}:"), found


def spread(folder: str, kind: str, name: str) -> None:
    """Check that a workload is spread over zones and has a disruption budget."""
    pod = of_kind(folder, kind)[name]["spec"]["template"]
    assert ZONE in [part["topologyKey"] for part in pod["spec"]["topologySpreadConstraints"]]
    assert of_kind(folder, "PodDisruptionBudget")


def scales(folder: str, name: str) -> None:
    """Check that a workload has two instances or more and a HorizontalPodAutoscaler."""
    spec = of_kind(folder, "HorizontalPodAutoscaler")[name]["spec"]
    assert 2 <= spec["minReplicas"] < spec["maxReplicas"]


# Classificação dos Domínios

for _domain, _functions in {
    "Pagamentos": ("payments", ("create_payment", "authorize", "settle", "create_refund")),
    "Ledger": ("ledger", ("post_transfer", "list_entries", "trial_balance")),
    "Contas de Pagamento": ("accounts", ("open_account", "close_account", "hold_funds", "block_account")),
    "Gestão de Usuários": ("users", ("register_user", "update_user", "get_user")),
    "Saldo e Extratos": ("statements", ("project_transfer", "get_balance", "get_statement")),
    "Integrações com Provedores": ("providers", ("submit_payment", "create_pix_charge", "create_reconciliation")),
    "Notificações": ("notifications", ("notify", "send_notification")),
}.items():

    def _has_functions(domain: str = _functions[0], names: tuple[str, ...] = _functions[1]) -> None:
        found = {path.stem for path in (ROOT / "functions" / domain).glob("[!_]*.py")}
        assert set(names) <= found, sorted(found)
        deployed = of_overlay("production", "Service")
        assert all(f"{domain}-{name.replace('_', '-')}" in deployed for name in names)

    row("domains", _domain, f"functions of the domain {_functions[0]}: {', '.join(_functions[1])}")(_has_functions)


# Escalabilidade e Alta Disponibilidade


@row("availability", "Arquitetura", "each function scales by itself, and has no state of its own")
def _() -> None:
    for service in of_overlay("production", "Service").values():
        annotations = service["spec"]["template"]["metadata"]["annotations"]
        assert "autoscaling.knative.dev/min-scale" in annotations
        pod = service["spec"]["template"]["spec"]
        assert not any("persistentVolumeClaim" in volume for volume in pod["volumes"])
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


@row("availability", "Infraestrutura / Deploy", "several zones; the number follows load (HPA), the size use (VPA)")
def _() -> None:
    for service in of_overlay("production", "Service").values():
        constraints = service["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert ZONE in [part["topologyKey"] for part in constraints]
    for folder, name in (("kong", "kong"), ("keycloak", "keycloak"), ("unleash", "unleash")):
        scales(f"platform/{folder}", name)
    automatic = [one for one in resources("platform/sizes") if one["spec"]["updatePolicy"]["updateMode"] == "Recreate"]
    assert {one["metadata"]["name"] for one in automatic} == {"kong", "keycloak", "unleash", "grafana"}


@row("availability", "Banco de Dados (MongoDB)", "two shards of three nodes, three config servers, sharded by tenantId")
def _() -> None:
    spec = of_kind("platform/mongodb", "PerconaServerMongoDB")["lastro"]["spec"]
    assert [shard["size"] for shard in spec["replsets"]] == [3, 3]
    assert spec["sharding"]["configsvrReplSet"]["size"] == 3
    for part in (*spec["replsets"], spec["sharding"]["configsvrReplSet"], spec["sharding"]["mongos"]):
        assert part["affinity"]["antiAffinityTopologyKey"] == ZONE
    assert "{tenantId: 1}" in text("shared/adapters/mongodb/sharding.py")


@row("availability", "Ledger (Cassandra)", "two data centres, three replicas, LOCAL_QUORUM")
def _() -> None:
    centres = of_kind("platform/cassandra", "CassandraDatacenter")
    assert {name: (one["spec"]["size"], len(one["spec"]["racks"])) for name, one in centres.items()} == {
        "dc1": (3, 3),
        "dc2": (3, 3),
    }
    assert CassandraUrl.parse("cassandra://a/lastro").replicas == 3
    assert "profile(ConsistencyLevel.LOCAL_QUORUM" in text("shared/adapters/cassandra/driver.py")
    assert "'dc1': 3, 'dc2': 3" in text("knative/platform/cassandra/README.md")


@row("availability", "Mensageria (Kafka)", "three brokers, two in sync, partitions by tenant, dead letters")
def _() -> None:
    brokers = of_kind("platform/kafka", "KafkaNodePool")["brokers"]["spec"]
    assert brokers["replicas"] == 3
    kafka = of_kind("platform/kafka", "Kafka")["lastro"]["spec"]["kafka"]
    assert kafka["config"]["min.insync.replicas"] == 2
    assert kafka["rack"] == {"topologyKey": ZONE}
    topics = of_overlay("production", "KafkaTopic")
    for topic in topics.values():
        assert (topic["spec"]["replicas"], topic["spec"]["config"]["min.insync.replicas"]) == (3, 2)
        assert topic["spec"]["partitions"] > 1
    assert "lastro.dead-letters.v1" in topics
    # The key of a record begins with the tenant.
    assert '"partitionkey": f"{tenant_id}/{subject}"' in text("shared/context/context.py")


@row("availability", "Gateway / API Edge", "several replicas in zones, health checks, limits by tenant")
def _() -> None:
    spread("platform/kong", "Deployment", "kong")
    scales("platform/kong", "kong")
    containers = of_kind("platform/kong", "Deployment")["kong"]["spec"]["template"]["spec"]["containers"]
    assert all({"readinessProbe", "livenessProbe"} <= container.keys() for container in containers)
    kong = read_value(text("knative/platform/kong/kong.yaml"))
    (limit,) = (plugin["config"] for plugin in kong["plugins"] if plugin["name"] == "rate-limiting")
    assert limit["header_name"] == "X-Tenant-Id"


@row("availability", "Autenticação (Keycloak)", "two or more nodes with sessions in Infinispan, over PostgreSQL")
def _() -> None:
    spread("platform/keycloak", "StatefulSet", "keycloak")
    scales("platform/keycloak", "keycloak")
    (container,) = of_kind("platform/keycloak", "StatefulSet")["keycloak"]["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert (variables["KC_CACHE"], variables["KC_CACHE_STACK"]) == ("ispn", "jdbc-ping")
    assert variables["KC_DB"] == "postgres"
    assert argo("keycloak-database")["helm"]["valuesObject"]["cluster"]["instances"] == 3


@row("availability", "Cache (Redis)", "Sentinel promotes a replica; keys have an expiry")
def _() -> None:
    redis = of_kind("platform/redis", "StatefulSet")["redis"]["spec"]
    assert redis["replicas"] == 3
    assert [one["name"] for one in redis["template"]["spec"]["containers"]] == ["redis", "sentinel"]
    assert "sentinel monitor lastro $primary 6379 2" in text("knative/platform/redis/config/configure.sh")
    assert "maxmemory-policy allkeys-lru" in text("knative/platform/redis/config/configure.sh")
    spread("platform/redis", "StatefulSet", "redis")


@row("availability", "CI/CD", "Argo CD, steps of traffic, and back without a new pod")
def _() -> None:
    assert len(of_kind("argo", "Application")) > 20
    assert [phase.percent for phase in Phase] == [5, 25, 50, 100]
    assert of_kind("platform/release", "Deployment")["release-controller"]
    assert of_kind("platform/knative", "ConfigMap")["config-gc"]["data"]["min-non-active-revisions"] == "3"


@row("availability", "Observabilidade", "collector, Prometheus, Loki, Tempo, Grafana; alerts by objectives")
def _() -> None:
    folder = "platform/observability"
    assert of_kind(folder, "OpenTelemetryCollector")["opentelemetry"]["spec"]["replicas"] == 2
    for name, start in (("prometheus", "prom/prometheus"), ("loki", "grafana/loki"), ("tempo", "grafana/tempo")):
        image(folder, "StatefulSet", name, start)
    image(folder, "Deployment", "grafana", "grafana/grafana")
    rules = read_value(text("knative/platform/observability/config/objectives.yml"))
    alerts = {rule["labels"]["slo"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert alerts == {*OBJECTIVES, LAG.key}


@row("availability", "Resiliência de Rede", "mutual TLS, retries that repeat no POST, circuit breaking")
def _() -> None:
    modes = [one["spec"]["mtls"]["mode"] for one in resources("platform/istio") if one["kind"] == "PeerAuthentication"]
    assert "STRICT" in modes
    values = argo("istiod")["helm"]["valuesObject"]
    assert values["meshConfig"]["defaultHttpRetryPolicy"]["retryOn"] == "connect-failure,refused-stream"
    policy = of_kind("platform/istio", "DestinationRule")["functions"]["spec"]["trafficPolicy"]
    assert {"connectionPool", "outlierDetection"} == policy.keys()


@row("availability", "Backpressure e Proteção", "events wait in Kafka, are retried, and end as dead letters")
def _() -> None:
    for kind in ("Trigger", "KafkaSource"):
        for one in of_overlay("production", kind).values():
            delivery = one["spec"]["delivery"]
            assert delivery["retry"] > 0
            assert delivery["backoffPolicy"] == "exponential"
            assert "deadLetterSink" in delivery
    assert Settings().bus_buffer_bytes > 0


# Stack Tecnológica


@row("stack", "Banco de dados (Core)", "MongoDB, with transactions")
def _() -> None:
    assert {"mongodb", "mongodb+srv"} <= OPENERS["documents"].keys()
    assert "start_transaction" in text("shared/adapters/mongodb/driver.py")


@row("stack", "Ledger (Contábil)", "Apache Cassandra, append-only")
def _() -> None:
    assert {"cassandra", "cassandra+tls"} <= OPENERS["ledger"].keys()
    entries = text("shared/adapters/cassandra/cql.py")
    assert not re.search(r"\bDELETE FROM \{keyspace\}\.(entries|lines|journal)", entries)


@row("stack", "Cache / Estado de Saga", "Redis, with expiry")
def _() -> None:
    assert {"redis", "rediss", "redis+sentinel", "rediss+sentinel"} <= OPENERS["cache"].keys()
    image("platform/redis", "StatefulSet", "redis", "redis")


@row("stack", "Mensageria / Eventos", "Apache Kafka, ordered by key")
def _() -> None:
    assert {"kafka", "kafka+tls"} <= OPENERS["bus"].keys()
    assert all(source["spec"]["ordering"] == "ordered" for source in of_overlay("production", "KafkaSource").values())


@row("stack", "Autenticação / Autorização", "Keycloak: OIDC, MFA and WebAuthn, roles")
def _() -> None:
    realm = json.loads(text("knative/platform/keycloak/lastro-realm.json"))
    assert realm["otpPolicyType"] == "totp"
    assert realm["webAuthnPolicyUserVerificationRequirement"] == "required"
    used = {
        part.get("authenticator") for flow in realm["authenticationFlows"] for part in flow["authenticationExecutions"]
    }
    assert {"auth-otp-form", "webauthn-authenticator"} <= used
    assert "operator" in {role["name"] for role in realm["roles"]["realm"]}


@row("stack", "API Edge", "Kong: routes, tokens, limits, sizes, metrics")
def _() -> None:
    image("platform/kong", "Deployment", "kong", "kong")
    kong = read_value(text("knative/platform/kong/kong.yaml"))
    assert {"jwt", "rate-limiting", "request-size-limiting", "prometheus", "opentelemetry"} <= {
        plugin["name"] for plugin in kong["plugins"]
    }


@row("stack", "Service Mesh", "Envoy in every pod of functions and gateway")
def _() -> None:
    for service in of_overlay("production", "Service").values():
        assert service["metadata"]["namespace"] == "lastro"
    namespaces = [one["metadata"] for one in built("production") if one["kind"] == "Namespace"]
    assert {one["name"] for one in namespaces if one["labels"]["istio-injection"] == "enabled"} == {"lastro", "kong"}


@row("stack", "Infraestrutura / Orquestração", "Kubernetes with Knative, in several zones")
def _() -> None:
    assert len(of_overlay("production", "Service")) > 100
    for one in of_overlay("production", "Service").values():
        core = one["metadata"]["labels"]["lastro.dev/class"] == "core"
        annotations = one["spec"]["template"]["metadata"]["annotations"]
        # A sweep has at most one instance.
        least = annotations.get("autoscaling.knative.dev/max-scale", "3") if core else "0"
        assert annotations["autoscaling.knative.dev/min-scale"] == least


@row("stack", "CI/CD", "GitHub Actions and Argo CD")
def _() -> None:
    for name in ("test", "release", "confirm"):
        assert read_value(text(f".github/workflows/{name}.yml"))["name"] == name
    assert "argocd" in {one["metadata"]["namespace"] for one in resources("argo")}


@row("stack", "Segredos / Criptografia", "Vault: keys that do not leave it, rights by domain, rotation")
def _() -> None:
    image("platform/vault", "StatefulSet", "vault", "hashicorp/vault")
    assert of_kind("platform/vault", "StatefulSet")["vault"]["spec"]["replicas"] == 3
    for domain in RIGHTS:
        assert "transit/" in text(f"knative/platform/vault/lastro-{domain}.hcl")
    assert "users-rewrap-users" in of_overlay("production", "Service")


@row("stack", "Logs", "Loki")
def _() -> None:
    image("platform/observability", "StatefulSet", "loki", "grafana/loki")
    assert [one for one in resources("platform/observability") if one["metadata"]["name"] == "logs"]


@row("stack", "Métricas", "Prometheus")
def _() -> None:
    image("platform/observability", "StatefulSet", "prometheus", "prom/prometheus")


@row("stack", "Traces distribuídos", "OpenTelemetry, from the gateway to the functions")
def _() -> None:
    settings = of_overlay("production", "ConfigMap")["lastro-settings"]["data"]
    assert settings["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(":4318")
    assert "opentelemetry" in text("knative/platform/kong/kong.yaml")


@row("stack", "Dashboards / Observabilidade", "Grafana with metrics, logs and traces")
def _() -> None:
    sources = read_value(text("knative/platform/observability/config/datasources.yml"))["datasources"]
    assert [one["type"] for one in sources] == ["prometheus", "loki", "tempo"]
    panels = json.loads(text("knative/platform/observability/dashboards/objectives.json"))["panels"]
    assert len(panels) == len(OBJECTIVES) + 1


@row("stack", "Feature Flags (opcional)", "Unleash, by tenant")
def _() -> None:
    image("platform/unleash", "Deployment", "unleash", "unleashorg/unleash-server")
    defined = json.loads(text("knative/platform/unleash/flags.json"))["data"]
    assert {one["name"] for one in defined["features"]} == set(FLAGS)
    assert "tenantId" in {one["name"] for one in defined["contextFields"]}


# Estratégia de Multi-Tenant


@row("tenants", "Modelo de Dados (MongoDB)", "tenantId is required in every collection and begins every index")
def _() -> None:
    defined = definitions(COLLECTIONS)
    assert len(defined) > 10
    for collection in defined:
        assert "tenantId" in collection.validator["required"], collection.name
        for index in collection.indexes:
            # The sweep of the outbox, and expiries, are about all tenants.
            of_all = (collection.name, index.name) == ("outbox", "unsent") or index.expire_seconds is not None
            assert index.keys[0] == "tenantId" or of_all, (collection.name, index)


@row("tenants", "Cassandra (Ledger)", "partitions by tenant and account, ordered, and bounded")
def _() -> None:
    keys = re.findall(r"PRIMARY KEY \(\((.*?)\)", text("shared/adapters/cassandra/schema.py"))
    assert "tenant_id, account_id, bucket" in keys
    assert all(key.startswith("tenant_id") for key in keys)


@row("tenants", "Roteamento de Requisições", "the gateway sets X-Tenant-Id from the token; functions trust the token")
def _() -> None:
    assert 'kong.service.request.set_header("X-Tenant-Id", tenant)' in text("knative/platform/kong/kong.yaml")
    assert "tenant_mismatch" in text("shared/http/admission.py")


# HTTP Header

for _header, _module in {
    "Authorization": "shared/identity/tokens.py",
    "X-Tenant-Id": "shared/http/messages.py",
    "Idempotency-Key": "shared/http/idempotency_key.py",
    "X-Timestamp": "shared/http/signing.py",
    "X-Key-Id": "shared/http/admission.py",
    "X-Signature": "shared/http/admission.py",
    "X-Request-Id": "shared/http/request_id.py",
}.items():

    def _is_read(header: str = _header, module: str = _module) -> None:
        assert header.lower() in text("shared/http/messages.py").lower()
        assert header.lower() in text(module).lower() or header == "Authorization"
        assert header in text("shared/http/openapi.py") + text("shared/http/openapi.yaml") or header == "Authorization"
        if header == "X-Timestamp":
            assert Settings().timestamp_window_seconds == 300
        if header == "X-Signature":
            assert "sha256" in text("shared/http/signing.py").lower()

    row("headers", _header, "read, checked and described")(_is_read)


# Service Level Objectives

for _title, _key, _kind, _limit in (
    ("API – Disponibilidade", "unavailable", Kind.SHARE, 1 - 0.9995),
    ("API – Latência", "latency", Kind.P95, 0.3),
    ("API – Erros", "errors", Kind.SHARE, 0.001),
    ("API – Idempotência", "reprocessed", Kind.SHARE, 0.0001),
    ("Ledger – Consistência", "ledger_missing", Kind.SHARE, 0.0),
    ("Ledger – Latência", "ledger_latency", Kind.P99, 0.5),
    ("Eventos – Entrega", "undelivered", Kind.SHARE, 1 - 0.999),
    ("Eventos – Latência E2E", "event_latency", Kind.P95, 1.0),
    ("Eventos – Reprocessamento", "redelivered", Kind.SHARE, 0.001),
    ("DLQ – Volume", "dead_letters", Kind.SHARE, 0.0001),
    ("DLQ – Tempo de limpeza", "dead_letter_age", Kind.LEVEL, 15 * 60),
    ("Pagamentos – Sucesso", "payments_failed", Kind.SHARE, 1 - 0.999),
    ("Pagamentos – Tempo médio", "payment_time", Kind.P95, 5.0),
    ("Conciliação", "unreconciled", Kind.SHARE, 1 - 0.995),
):

    def _is_an_objective(key: str = _key, kind: Kind = _kind, limit: float = _limit) -> None:
        objective = OBJECTIVES[key]
        assert objective.kind is kind
        assert objective.limit == pytest.approx(limit)
        rules = text("knative/platform/observability/config/objectives.yml")
        assert f"slo: {key}\n" in rules
        titles = [
            one["title"]
            for one in json.loads(text("knative/platform/observability/dashboards/objectives.json"))["panels"]
        ]
        assert objective.title in titles

    row("objectives", _title, f"{_key}: {_kind.value} at most {_limit:g}, with an alert and a panel")(_is_an_objective)


# Parâmetros de Continuidade


@row("continuity", "RTO (Recovery Time Objective)", "five minutes: replicas in every zone, and steps of a restore")
def _() -> None:
    assert "## Restore" in text("docs/backup.md")
    assert "not measured" in text("docs/backup.md").lower()
    assert len(of_kind("platform/cassandra", "PodDisruptionBudget")) == 1
    assert [one for one in built("production") if one["kind"] == "PodDisruptionBudget"]


@row("continuity", "RPO (Recovery Point Objective)", "one minute: no store copies later than that")
def _() -> None:
    backup = of_kind("platform/mongodb", "PerconaServerMongoDB")["lastro"]["spec"]["backup"]
    assert backup["enabled"] is True
    assert backup["pitr"]["enabled"] is True
    assert backup["pitr"]["oplogSpanMin"] <= 1
    for name in ("keycloak-database", "unleash-database"):
        values = argo(name)["helm"]["valuesObject"]
        assert values["backups"]["enabled"] is True
        assert values["cluster"]["postgresql"]["parameters"]["archive_timeout"] == "60s"
    assert of_kind("platform/vault", "CronJob")["vault-backup"]["spec"]["schedule"] == "* * * * *"
    cassandra = json.loads(text("knative/platform/cassandra/config/cassandra.json"))["cassandra-yaml"]
    assert cassandra["commitlog_sync"] == "group"
    assert len(of_kind("platform/cassandra", "CassandraDatacenter")) == 2


# Estratégia de Deploy: Modelo de Entrega


@row("delivery", "Padrão principal", "GitOps by Argo CD")
def _() -> None:
    for name, one in of_kind("argo", "Application").items():
        assert one["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}, name


@row("delivery", "Tipo de rollout", "a canary in steps, and blue-green by tags")
def _() -> None:
    from shared.release.cluster import BLUE, GREEN

    assert (BLUE, GREEN) == ("blue", "green")
    assert [phase.number for phase in Phase] == [1, 2, 3, 4]


@row("delivery", "Controle de promoção", "by the objectives of latency, errors and stability")
def _() -> None:
    assert "OBJECTIVES" in text("shared/release/decision.py")


@row("delivery", "Orquestração", "an analysis by itself: a controller of ours, because Argo Rollouts steers no Knative")
def _() -> None:
    assert of_kind("platform/release", "Deployment")["release-controller"]
    assert "Argo Rollouts" in text("docs/decisions/0042-a-controller-of-ours-moves-the-traffic-of-a-release.md")


@row("delivery", "Rollback", "by itself, when an objective is violated")
def _() -> None:
    assert "ROLL_BACK" in text("shared/release/controller.py")


@row("delivery", "Ambiente", "manifests with versions, by Kustomize")
def _() -> None:
    for name, one in of_kind("argo", "Application").items():
        assert one["spec"]["source"]["targetRevision"] not in ("HEAD", "main", "*"), name


@row("delivery", "Auditoria", "commit, image and trace of every release in a record")
def _() -> None:
    workflow = text(".github/workflows/release.yml")
    assert "traceparent=" in workflow
    assert "cosign sign" in workflow
    assert "commit" in text("shared/release/state.py") + text("shared/release/controller.py")


# Fluxo de Deploy


@row("flow", "1. Build & Test", "the checks of a change")
def _() -> None:
    assert ".ci/run" in text(".github/workflows/test.yml")


@row("flow", "2. Gerar imagem e manifestos", "an image by digest, signed, in a branch of the release")
def _() -> None:
    workflow = text(".github/workflows/release.yml")
    assert "cosign sign --yes" in workflow
    assert "sbom: true" in workflow
    assert (
        "@sha256:"
        in next(iter(of_overlay("production", "Service").values()))["spec"]["template"]["spec"]["containers"][0][
            "image"
        ]
    )


@row("flow", "3. Argo CD Sync", "Argo CD applies the branch")
def _() -> None:
    lastro = of_kind("argo", "Application")["lastro"]["spec"]
    assert lastro["source"]["targetRevision"] == "production"
    assert lastro["syncPolicy"]["automated"]["selfHeal"] is True


@row("flow", "4. Canary", "5, 25, 50 and 100 % of the traffic")
def _() -> None:
    assert [phase.percent for phase in Phase] == [5, 25, 50, 100]


@row("flow", "5. Observação pós-rollout", "30 to 60 minutes")
def _() -> None:
    from shared.release.decision import OBSERVATION_ENDS_MINUTES

    assert (OBSERVATION_MINUTES, OBSERVATION_ENDS_MINUTES) == (30, 60)


@row("flow", "6. Blue-Green fallback", "the former revision stays and takes the traffic back")
def _() -> None:
    garbage = of_kind("platform/knative", "ConfigMap")["config-gc"]["data"]
    assert garbage["retain-since-last-active-time"] == "24h"


@row("flow", "7. Aprovação de produção", "a pull request confirms")
def _() -> None:
    assert "pull-request" in text(".github/workflows/confirm.yml") or "gh pr create" in text(
        ".github/workflows/confirm.yml"
    )
    assert of_kind("platform/release", "ConfigMap")["lastro-release-confirmed"]


# Estratégia de Canary and Rollback Automático: tests/shared/release/test_decision.py has a case for each row.

for _table, _name, _required, _fact in (
    ("canary", "Fase 1", "5 %: no 5xx, P95 below 300 ms", Phase.FIRST.percent == 5),
    (
        "canary",
        "Fase 2",
        "25 %: dead letters at most 0.01 %, lag at most 1 s",
        (Phase.SECOND.percent, LAG.limit) == (25, 1),
    ),
    ("canary", "Fase 3", "50 %: all objectives", Phase.THIRD.percent == 50),
    ("canary", "Fase 4", "100 %: 30 minutes", (Phase.FOURTH.percent, OBSERVATION_MINUTES) == (100, 30)),
    ("canary", "Rollback", "an objective is violated, or readiness fails", True),
    ("rollback", "Aumento de erros 5xx", "back within a minute", True),
    ("rollback", "Latência P95 > 300 ms", "paused and back", OBJECTIVES["latency"].limit == 0.3),
    ("rollback", "Consumer lag > 5 s", "consumers go back", LAG_ROLL_BACK_SECONDS == 5),
    ("rollback", "DLQ > 0.05%", "paused, with an alert", DEAD_LETTERS_PAUSE == 0.0005),
    ("rollback", "Falha de readiness / liveness", "back at once", True),
):

    def _is_decided(fact: bool = _fact) -> None:
        assert fact
        cases = text("tests/shared/release/test_decision.py")
        for name in (
            "test_a_phase_has_the_criteria_of_its_row",
            "test_the_last_phase_is_observed",
            "test_a_failing_release_is_stopped",
            "test_an_instance_that_is_not_ready_ends_the_release",
        ):
            assert f"def {name}(" in cases
        # A step every ten seconds or less, on figures of ten seconds: within a minute.
        settings = of_overlay("production", "ConfigMap")["lastro-settings"]["data"]
        assert int(settings["OTEL_METRIC_EXPORT_INTERVAL"]) <= 10_000

    row(_table, _name, _required)(_is_decided)


# Blue-Green


@row("blue-green", "Estratégia", "the new revision runs beside the former one, with an address of its own")
def _() -> None:
    assert "GREEN" in text("shared/release/cluster.py")


@row("blue-green", "Switch", "the traffic of Knative's Services")
def _() -> None:
    ignored = of_kind("argo", "Application")["lastro"]["spec"]["ignoreDifferences"]
    assert "/spec/traffic" in ignored[0]["jsonPointers"]
    (role,) = (
        one["rules"]
        for one in resources("platform/release")
        if one["kind"] == "Role" and one["metadata"]["namespace"] == "lastro"
    )
    assert role == [
        {"apiGroups": ["serving.knative.dev"], "resources": ["services"], "verbs": ["get", "list", "patch"]},
        {"apiGroups": ["serving.knative.dev"], "resources": ["revisions"], "verbs": ["list"]},
    ]


@row("blue-green", "Rollback", "only the share of the traffic changes")
def _() -> None:
    assert "changes two numbers" in text("docs/decisions/0042-a-controller-of-ours-moves-the-traffic-of-a-release.md")


@row("blue-green", "Tempo médio de reversão", "less than 30 s: the controller steps every five seconds")
def _() -> None:
    assert "five seconds" in text("knative/platform/release/controller.yaml")


@pytest.mark.parametrize("each", ROWS, ids=lambda each: f"{each.table}: {each.name}")
def test_a_row_of_the_architecture_is_real(each: Row) -> None:
    """What a row of the architecture document's tables requires is in the manifests or in the code."""
    each.check()


def test_no_row_is_left_out() -> None:
    """Every table of the document has all its rows here, each once."""
    assert Counter(each.table for each in ROWS) == COUNTS
    assert max(Counter((each.table, each.name) for each in ROWS).values()) == 1


def test_every_system_of_the_architecture_is_used_by_functions() -> None:
    """Each port behind which a system of the stack stands is used by some function."""
    used = {port for ports in uses(read_repository(ROOT)).values() for port in ports}
    assert {"documents", "ledger", "cache", "bus", "identity", "secrets", "flags", "rails", "notifiers"} <= used
