"""What the functions of production connect to is encrypted and needs a login (decision 0046)."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from embedded.policies.edges import edges_to_systems
from embedded.policies.systems import SYSTEM_OF_PORT, SYSTEMS
from embedded.wiring.repository import read_repository
from shared.adapters.cassandra.url import CassandraUrl
from shared.adapters.kafka.address import read_address as read_kafka
from shared.adapters.redis.address import read_address as read_redis
from shared.bootstrap.adapters import OPENERS
from shared.core.settings import Settings
from tests.schemas.test_mesh import is_in_the_mesh
from tests.schemas.test_overlays import ROOT, built, container
from tests.schemas.test_overlays import of_kind as of_overlay
from tests.schemas.test_platform import PRODUCTION, of_kind, resources

Document = dict[str, Any]
AUTHORITY = "/var/run/secrets/authority/ca.crt"
KAFKA = "lastro-kafka-bootstrap.kafka.svc.cluster.local:9093"
DOMAINS = sorted(path.name for path in (ROOT / "functions").iterdir() if (path / "__init__.py").exists())


def filled(text: str) -> str:
    """Return a template of External Secrets with a value in each place."""
    assert re.findall(r"\{\{ \.\w+ \| urlquery \}\}", text), "a password that is not escaped breaks the URL"
    return re.sub(r"\{\{ \.\w+ \| urlquery \}\}", "s3cret", text)


def templates(name: str) -> dict[str, str]:
    """Return the values that an ExternalSecret makes, by their keys."""
    (one,) = (
        one
        for one in (*resources("platform/vault"), *built("production"))
        if one["kind"] == "ExternalSecret" and one["metadata"]["name"] == name
    )
    return {key: filled(text) for key, text in one["spec"]["target"]["template"]["data"].items()}


def urls(domain: str) -> dict[str, str]:
    """Return the connections of a domain's functions in production, by their settings."""
    settings: dict[str, str] = of_overlay("production", "ConfigMap")["lastro-settings"]["data"]
    connected = {**settings, **templates("lastro-connections"), "LASTRO_BUS": templates("lastro-bus")[domain]}
    return {f"LASTRO_{port.upper()}": connected[f"LASTRO_{port.upper()}"] for port in OPENERS}


def test_every_connection_of_a_function_is_encrypted() -> None:
    """Each system that a function uses has TLS in its URL, or its pods are in the mesh."""
    used = {use.system for use in edges_to_systems(read_repository(ROOT))}
    for domain in DOMAINS:
        for setting, url in urls(domain).items():
            scheme = url.partition("://")[0]
            tls = scheme in ("https", "vault+https", "kafka+tls", "cassandra+tls", "rediss+sentinel") or (
                scheme == "mongodb" and "tls=true" in url
            )
            system = SYSTEMS[SYSTEM_OF_PORT[setting.removeprefix("LASTRO_").lower()]]
            assert system.name in used
            assert tls or is_in_the_mesh(system.pods), setting


def test_the_functions_accept_the_authority_of_the_stores() -> None:
    """The URLs of the stores name the authority's file, which every function and the job that prepares the stores
    have; the certificates of all stores are of this authority, with the names that the URLs have."""
    connections = templates("lastro-connections")
    ledger = CassandraUrl.parse(connections["LASTRO_LEDGER"])
    cache = read_redis(connections["LASTRO_CACHE"])
    bus = read_kafka(templates("lastro-bus")["payments"])
    assert f"tlsCAFile={AUTHORITY}" in connections["LASTRO_DOCUMENTS"]
    assert ledger.ca == cache.ca == bus.ca == AUTHORITY
    certificates = {
        one["metadata"]["namespace"]: one["spec"]
        for folder in PRODUCTION
        for one in resources(folder)
        if one["kind"] == "Certificate" and not one["spec"].get("isCA")
    }
    assert certificates.keys() == {"kafka", "redis", "cassandra"}
    issuer = of_kind("platform/mongodb", "PerconaServerMongoDB")["lastro"]["spec"]["tls"]
    assert issuer == {
        "mode": "requireTLS",
        "issuerConf": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "lastro"},
    }
    own = of_overlay("production", "Certificate")
    for spec in (*certificates.values(), *(one["spec"] for one in own.values())):
        assert spec["issuerRef"] == issuer["issuerConf"]
    for store, hosts in (
        ("kafka", [server.partition(":")[0] for server in bus.servers]),
        ("redis", [host for host, _ in cache.hosts]),
        ("cassandra", [ledger.name]),
    ):
        for host in hosts:
            assert host is not None
            names = certificates[store]["dnsNames"]
            assert host in names or f"*.{host.partition('.')[2]}" in names, host
    for name, service in of_overlay("production", "Service").items():
        mounts = {one["mountPath"]: one for one in container(service)["volumeMounts"]}
        assert mounts["/var/run/secrets/authority"]["name"] == "authority", name
    (job,) = of_kind("overlays/production/migrate", "Job").values()
    assert "/var/run/secrets/authority" in [
        one["mountPath"] for one in job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    ]


def test_stores_refuse_what_is_not_encrypted_or_has_no_login() -> None:
    """Kafka has one listener, with TLS, SCRAM and rights for each user; MongoDB requires TLS; Cassandra and Redis
    accept nothing else than TLS, among their own nodes too, and passwords."""
    kafka = of_kind("platform/kafka", "Kafka")["lastro"]["spec"]["kafka"]
    (listener,) = kafka["listeners"]
    assert (listener["port"], listener["tls"], listener["authentication"]) == (9093, True, {"type": "scram-sha-512"})
    assert listener["configuration"]["brokerCertChainAndKey"]["secretName"] == "kafka-tls"
    assert kafka["authorization"] == {"type": "simple"}
    config = of_kind("platform/cassandra", "Secret")["cassandra-config"]["data"]["config"]
    cassandra = json.loads(base64.b64decode(config))["cassandra-yaml"]
    assert cassandra["authenticator"] == "PasswordAuthenticator"
    for direction in ("client_encryption_options", "server_encryption_options"):
        options = cassandra[direction]
        assert options["optional"] is False
        assert (options["keystore"], options["truststore"]) == ("/tls/tls-combined.pem", "/tls/ca.crt")
    assert cassandra["client_encryption_options"]["enabled"] is True
    assert cassandra["server_encryption_options"]["internode_encryption"] == "all"


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_publishes_to_its_own_topic_only(domain: str) -> None:
    """The functions of a domain log in to Kafka as a user of the domain, who may write its topic and read none;
    `operations` may write all, because it publishes what others could not."""
    address = read_kafka(templates("lastro-bus")[domain])
    assert address.servers == (KAFKA,)
    assert (address.tls, address.sasl, address.username) == (True, "SCRAM-SHA-512", f"lastro-{domain}")
    (acl,) = of_kind("platform/kafka", "KafkaUser")[f"lastro-{domain}"]["spec"]["authorization"]["acls"]
    every = {"type": "topic", "name": "lastro.", "patternType": "prefix"}
    own = {"type": "topic", "name": f"lastro.{domain}.v1", "patternType": "literal"}
    assert acl == {"resource": every if domain == "operations" else own, "operations": ["Describe", "Write"]}
    for name, service in of_overlay("production", "Service").items():
        if service["metadata"]["labels"]["app.kubernetes.io/component"] == domain:
            given = [one for one in container(service)["env"] if one["name"] == "LASTRO_BUS"]
            assert given == [
                {"name": "LASTRO_BUS", "valueFrom": {"secretKeyRef": {"name": "lastro-bus", "key": domain}}}
            ], name


def test_knative_reads_topics_with_a_login_of_its_own() -> None:
    """Broker, sources and sink use TLS and the user of Knative, who may read the events, write dead letters, and do
    everything with the Broker's own topic; its groups are those of the sources and the Triggers."""
    login = {"ref": {"name": "knative-kafka"}}
    for sink in of_overlay("production", "KafkaSink").values():
        assert (sink["spec"]["bootstrapServers"], sink["spec"]["auth"]) == ([KAFKA], {"secret": login})
    broker = of_overlay("production", "ConfigMap")["kafka-broker-config"]["data"]
    assert (broker["bootstrap.servers"], broker["auth.secret.ref.name"]) == (KAFKA, "knative-kafka")
    user = of_kind("platform/kafka", "KafkaUser")["lastro-knative"]["spec"]["authorization"]["acls"]
    allowed = [(acl["resource"]["type"], acl["resource"]["name"], frozenset(acl["operations"])) for acl in user]
    for source in of_overlay("production", "KafkaSource").values():
        spec = source["spec"]
        assert spec["bootstrapServers"] == [KAFKA]
        assert spec["net"]["tls"] == {
            "enable": True,
            "caCert": {"secretKeyRef": {"name": "knative-kafka", "key": "ca.crt"}},
        }
        assert spec["net"]["sasl"]["enable"] is True
        assert {part["secretKeyRef"]["key"] for key, part in spec["net"]["sasl"].items() if key != "enable"} == {
            *("sasl.mechanism", "user", "password"),
        }
        for kind, name in (("topic", spec["topics"][0]), ("group", spec["consumerGroup"])):
            assert any(kind == of and name.startswith(start) and "Read" in may for of, start, may in allowed), name
    assert not any(of == "topic" and start == "lastro." and "Write" in may for of, start, may in allowed)


def test_kind_has_no_connection_of_production() -> None:
    """On kind the stores listen without TLS: no URL, source or sink there needs what only production has."""
    text = str(list(built("kind")))
    assert KAFKA not in text
    assert "lastro-authority" not in text
    assert of_overlay("kind", "ConfigMap")["lastro-settings"]["data"]["LASTRO_BUS"].startswith("kafka://")
    for folder in ("kafka", "redis", "mongodb", "cassandra"):
        assert not of_kind(f"overlays/kind/platform/{folder}", "Certificate")
    (listener,) = of_kind("overlays/kind/platform/kafka", "Kafka")["lastro"]["spec"]["kafka"]["listeners"]
    assert listener == {"name": "plain", "port": 9092, "type": "internal", "tls": False}


def test_every_connection_is_a_setting() -> None:
    """The values that External Secrets makes are valid settings of the functions."""
    for domain in DOMAINS:
        settings = Settings.from_environment(urls(domain))
        assert settings.bus
        assert settings.documents
