"""The passwords of a cluster on kind, and the Secrets that its pods read."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployment.functions import NAMESPACE, namespace, secret, secrets_of

NAMESPACES: Final = ("keycloak", "redis", "mongodb", "cassandra", "vault")
UNLEASH: Final = "unleash"
OBSERVABILITY: Final = "observability"
_COLLECTOR: Final = "http://opentelemetry-collector.observability.svc.cluster.local:4318"
_VAULT_NAMES: Final = ("vault.vault.svc.cluster.local", "*.vault-nodes")
_DAYS: Final = 365


class Passwords:
    """The passwords in the files of a folder, each made at its first use, so that a second run has the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __getitem__(self, name: str) -> str:
        path = self.folder / name
        if not path.exists():
            write_private(path, secrets.token_hex(24))
        return path.read_text(encoding="ascii")


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable only by its owner."""
    aside = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(text)
    aside.replace(path)


def resources(passwords: Passwords, extras: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Yield the namespaces and Secrets of the stores and functions, and the authority of Vault's certificate."""
    for name in (NAMESPACE, *NAMESPACES, *((UNLEASH,) if UNLEASH in extras else ())):
        yield namespace(name)
    yield from _of_stores(passwords)
    if UNLEASH in extras:
        yield _of_unleash(passwords)
    certificate, key = _certificate(passwords.folder)
    yield secret("vault", "vault-tls", {"tls.crt": certificate, "tls.key": key, "ca.crt": certificate})
    authority = {"name": "vault-ca", "namespace": NAMESPACE}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": authority, "data": {"ca.crt": certificate}}
    yield from secrets_of(connections(passwords, extras), passwords["provisioning"])


def connections(passwords: Passwords, extras: frozenset[str]) -> dict[str, str]:
    """Return the settings of the functions whose values have passwords, or that depend on what is installed."""
    redis, backend = passwords["redis"], passwords["unleash-backend"]
    found = {
        "LASTRO_DOCUMENTS": f"mongodb://databaseAdmin:{passwords['mongodb']}@lastro-mongos.mongodb.svc.cluster.local:27017"
        "/lastro?authSource=admin",
        "LASTRO_LEDGER": f"cassandra://lastro:{passwords['cassandra']}@lastro-dc1-service.cassandra.svc.cluster.local:9042"
        "/lastro?dc=dc1&replicas=1",
        "LASTRO_CACHE": f"redis+sentinel://:{redis}@redis.redis.svc.cluster.local:26379/lastro/0"
        f"?sentinel_password={redis}",
    }
    if UNLEASH in extras:
        found["LASTRO_FLAGS"] = (
            f"unleash+http://:default:production.{backend}@unleash.unleash.svc.cluster.local:4242/api"
        )
    if OBSERVABILITY in extras:
        found["OTEL_EXPORTER_OTLP_ENDPOINT"] = _COLLECTOR
    return found


def _of_stores(passwords: Passwords) -> Iterator[dict[str, Any]]:
    yield secret(
        "keycloak",
        "keycloak",
        {
            "KC_DB_USERNAME": "keycloak",
            "KC_DB_PASSWORD": passwords["keycloak-database"],
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
            "KC_BOOTSTRAP_ADMIN_PASSWORD": passwords["keycloak-admin"],
            "LASTRO_PLATFORM_SECRET": passwords["platform"],
            "LASTRO_PROVISIONING_SECRET": passwords["provisioning"],
        },
    )
    yield secret("redis", "redis", {"password": passwords["redis"]})
    users = {
        "CLUSTER_ADMIN": ("clusterAdmin", "mongodb-cluster"),
        "DATABASE_ADMIN": ("databaseAdmin", "mongodb"),
        "USER_ADMIN": ("userAdmin", "mongodb-users"),
        "CLUSTER_MONITOR": ("clusterMonitor", "mongodb-monitor"),
        "BACKUP": ("backup", "mongodb-backup"),
    }
    values: dict[str, str] = {}
    for role, (user, name) in users.items():
        values |= {f"MONGODB_{role}_USER": user, f"MONGODB_{role}_PASSWORD": passwords[name]}
    yield secret("mongodb", "mongodb-users", values)
    yield secret("cassandra", "cassandra-superuser", {"username": "lastro", "password": passwords["cassandra"]})


def _of_unleash(passwords: Passwords) -> dict[str, Any]:
    values = {
        "DATABASE_USERNAME": "unleash",
        "DATABASE_PASSWORD": passwords["unleash-database"],
        "INIT_ADMIN_API_TOKENS": f"*:*.{passwords['unleash-admin']}",
        "INIT_BACKEND_API_TOKENS": f"default:production.{passwords['unleash-backend']}",
    }
    return secret(UNLEASH, UNLEASH, values)


def _certificate(folder: Path) -> tuple[str, str]:
    """Return the certificate of Vault, which is its own authority, and its key; they are made at the first use."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    if not certificate.exists():
        private = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
        names: list[x509.GeneralName] = [x509.DNSName(each) for each in _VAULT_NAMES]
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=_DAYS))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(private, hashes.SHA256())
        )
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(key, text.decode())
        write_private(certificate, made.public_bytes(serialization.Encoding.PEM).decode())
    return certificate.read_text(encoding="ascii"), key.read_text(encoding="ascii")
