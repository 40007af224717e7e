"""Keycloak, from Maven, on this machine's Java: a realm with a client of a tenant and a client of the platform."""

from __future__ import annotations

import json
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx

from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from tests.servers.installing import installed, java, program, run
from tests.servers.processes import Processes, free_port

VERSION: Final = "26.7.3"
REALM: Final = "lastro"
AUDIENCE: Final = "lastro-api"
TENANT: Final = "acme"
TENANT_CLIENT: Final = "acme-backend"
PLATFORM_CLIENT: Final = "platform-operator"
SECRET: Final = "secret-of-the-tests"
"""The secret of both clients, and the administrator's password. It gives access only to servers on 127.0.0.1."""
_ARTIFACT: Final = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
_JAVA_OPTIONS: Final = {
    "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx384m",
    "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UseG1GC -Djava.net.preferIPv4Stack=true",
}


class KeycloakServer:
    """One server with its realms in memory. `task servers:up` prints the URL of the realm."""

    name: ClassVar[str] = "keycloak"

    def install(self) -> None:
        """Download it with Maven and build it for this realm, once for each version and realm. The build takes a
        minute."""
        self._home()

    def start(self, processes: Processes) -> str:
        """Return http://127.0.0.1:PORT/realms/lastro when it is ready: its port answers 503 for a while before that."""
        port, management = free_port(), free_port()
        address = f"http://127.0.0.1:{port}"
        options = ["--http-enabled=true", f"--hostname={address}", "--http-host=127.0.0.1", f"--http-port={port}"]
        command = [str(self._home() / "bin" / "kc.sh"), "start", "--optimized", "--import-realm", *options]
        processes.start(
            "keycloak",
            [*command, f"--http-management-port={management}"],
            environment={
                **_environment(),
                "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
                "KC_BOOTSTRAP_ADMIN_PASSWORD": SECRET,
            },
        )
        health = f"http://127.0.0.1:{management}/health/ready"
        processes.wait_until(lambda: httpx.get(health).raise_for_status(), "Keycloak")
        return f"{address}/realms/{REALM}"

    @staticmethod
    def _home() -> Path:
        digest = sha256(json.dumps(realm()).encode()).hexdigest()[:12]
        return installed(f"keycloak-{VERSION}-{digest}", _build) / f"keycloak-{VERSION}"


def realm() -> dict[str, Any]:
    """Return the definition of the realm. The claims of its tokens are those of docs/architecture.md."""
    return {
        "realm": REALM,
        "enabled": True,
        "accessTokenLifespan": 300,
        "clientScopes": [
            {"name": name, "protocol": "openid-connect", "attributes": {"include.in.token.scope": "true"}}
            for name in (*TENANT_SCOPES, PLATFORM_SCOPE)
        ],
        "clients": [
            _client(TENANT_CLIENT, TENANT_SCOPES, _mapper("tenant", "oidc-hardcoded-claim-mapper", **_TENANT_CLAIM)),
            _client(PLATFORM_CLIENT, (PLATFORM_SCOPE,)),
        ],
    }


_TENANT_CLAIM: Final = {"claim.name": "tenant_id", "claim.value": TENANT, "jsonType.label": "String"}


def _client(name: str, scopes: tuple[str, ...], *mappers: dict[str, Any]) -> dict[str, Any]:
    return {
        "clientId": name,
        "enabled": True,
        "secret": SECRET,
        "publicClient": False,
        "serviceAccountsEnabled": True,
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "protocol": "openid-connect",
        "defaultClientScopes": list(scopes),
        "protocolMappers": [
            _mapper("subject", "oidc-sub-mapper"),
            _mapper("audience", "oidc-audience-mapper", **{"included.custom.audience": AUDIENCE}),
            *mappers,
        ],
    }


def _mapper(name: str, kind: str, **config: str) -> dict[str, Any]:
    return {
        "name": name,
        "protocol": "openid-connect",
        "protocolMapper": kind,
        "config": {"access.token.claim": "true", "introspection.token.claim": "true", **config},
    }


def _environment() -> dict[str, str]:
    home = Path(java(wanted_for="Keycloak")).resolve().parents[1]
    return {"JAVA_HOME": str(home), **_JAVA_OPTIONS}


def _build(folder: Path) -> None:
    maven = program("mvn", wanted_for="Keycloak", package="maven")
    log = folder.with_name(f"{folder.name}.log")
    copy = [maven, "-B", "-q", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
    run(copy, log, cwd=folder)
    (archive,) = folder.glob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    archive.unlink()
    home = folder / f"keycloak-{VERSION}"
    imported = home / "data" / "import"
    imported.mkdir(parents=True)
    (imported / f"{REALM}-realm.json").write_text(json.dumps(realm(), indent=2), encoding="utf-8")
    start = home / "bin" / "kc.sh"
    start.chmod(0o755)
    build = [str(start), "build", "--db=dev-mem", "--health-enabled=true", "--cache=local"]
    run(build, log, environment=_environment())
