"""Brings the functions to the cluster: stores, image, Secret, manifests, gateway, and a tenant with credentials."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from embedded.identity.credentials import FILE_NAME, Credentials, tenant_entry
from tests.cluster import gateway, stores
from tests.cluster.cluster import WAIT_SECONDS, Cluster, is_ready
from tests.cluster.places import NODE_ADDRESS
from tests.images.project import build
from tests.servers.installing import CommandFailed, Unavailable
from tests.servers.keycloak_server import SECRET
from tests.servers.openbao_server import ROOT_TOKEN

ROOT: Final = Path(__file__).parents[2]
NAMESPACE: Final = "lastro"
TENANT: Final = "demo"
_OVERLAY: Final = ROOT / "knative" / "overlays" / "test"
_REVIEWER: Final = "vault-reviewer"
_PIX_KEY: Final = "7d9f0335-8dcc-4054-9bf9-0dbd61d36906"
_LOGIN: Final = "auth=kubernetes&token_file=/var/run/secrets/vault/token"
_SECONDS: Final = 120
_ATTEMPTS: Final = 60
_PAUSE_SECONDS: Final = 2.0
_APPLY_ATTEMPTS: Final = 5
_LOOK_AGAIN_SECONDS: Final = 15.0


def connections(urls: Mapping[str, str]) -> dict[str, str]:
    """Return the content of the Secret `lastro-connections`: the settings whose values are those of this machine."""
    return {
        **urls,
        "LASTRO_SECRETS": f"{urls['LASTRO_SECRETS']}?{_LOGIN}",
        "LASTRO_BASE_URL": gateway.URL,
        "LASTRO_PIX_KEY": _PIX_KEY,
    }


def prepare_stores(cluster: Cluster, urls: Mapping[str, str]) -> None:
    """Create the tables, topics, keys, roles and secrets that the functions need. It can be repeated."""
    settings = connections(urls)
    # The settings of functions name no role: each has that of its domain, and only an administrator migrates.
    administrator = {"VAULT_TOKEN": ROOT_TOKEN, "VAULT_ROLE": "lastro-platform"}
    environment = {**os.environ, **settings, **administrator, "LASTRO_DATA_DIR": str(cluster.state / "none")}
    _run_lastro("migrate", environment=environment)
    _run_lastro("topics", "apply", "--max-replicas=1", environment=environment)
    _let_vault_ask_the_cluster(cluster, urls["LASTRO_SECRETS"])
    vault = urls["LASTRO_SECRETS"].removeprefix("vault+")
    secret = {"data": {"value": stores.PIX_SECRET}}
    _vault("POST", f"{vault}/v1/secret/data/lastro/providers/pix/callback-secret", secret)


def deploy(cluster: Cluster, urls: Mapping[str, str]) -> None:
    """Apply the Secrets and the manifests of the overlay `test`, and the gateway."""
    cluster.apply([_namespace(NAMESPACE), *_secrets(urls)])
    rendered = subprocess.run([kustomize(), "build", str(_OVERLAY)], capture_output=True, text=True, check=True)
    for attempt in range(1, _APPLY_ATTEMPTS + 1):
        try:
            cluster.apply(rendered.stdout)
        except CommandFailed:
            # A webhook of Knative on a busy machine takes longer than the API server waits; what was applied stays.
            if attempt == _APPLY_ATTEMPTS:
                raise
        else:
            break
    cluster.apply(gateway.resources())
    cluster.wait("Available", "deployment/gateway", f"--namespace={gateway.NAMESPACE}")


def import_image(cluster: Cluster) -> None:
    """Build the image of the functions from this checkout, and copy it to the node."""
    archive = cluster.state / "lastro.tar"
    build(archive, tag="test")
    cluster.import_image(archive)
    archive.unlink()


def wait_for_functions(cluster: Cluster) -> None:
    """Wait until every function, the Broker, the Triggers and the sources are ready. Raises Unavailable."""
    cluster.wait("Ready", "ksvc", "--all", f"--namespace={NAMESPACE}")
    for kind in ("broker", "trigger", "pingsource", "containersource"):
        _until_ready(cluster, kind)


def _until_ready(cluster: Cluster, kind: str) -> None:
    """Wait until all resources of a kind are ready, and let their controller look again at those that are not.

    Knative makes longer and longer pauses before it looks again at a Trigger whose function had no address yet: up to a
    quarter of an hour on a busy machine.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = cluster.get(kind, f"--namespace={NAMESPACE}")["items"]
        waiting = [each["metadata"]["name"] for each in found if not is_ready(each)]
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"{kind} {', '.join(waiting)}: not ready within {WAIT_SECONDS} s")
        for name in waiting:
            mark = f"lastro.dev/looked-at={time.monotonic():.0f}"
            cluster.kubectl("annotate", kind, name, f"--namespace={NAMESPACE}", "--overwrite", mark)
        time.sleep(_LOOK_AGAIN_SECONDS)


def credentials(cluster: Cluster, urls: Mapping[str, str]) -> Path:
    """Create the tenant `demo` through the gateway, and return the folder with credentials.json for `lastro`."""
    folder = cluster.state / "client"
    folder.mkdir(mode=0o700, exist_ok=True)
    token_url = f"{urls['LASTRO_IDENTITY']}/protocol/openid-connect/token"
    found = Credentials(folder / FILE_NAME, gateway.URL, token_url, "lastro-api")
    found.platform = {"client_id": "lastro-platform", "client_secret": SECRET}
    token = _platform_token(token_url)
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "cluster/demo-tenant", "prefer": "wait=10"}
    body = {"id": TENANT, "name": "Demo"}
    answer = _until_answered("POST", f"{gateway.URL}/v1/tenants", headers, body)
    found.demo = tenant_entry(answer)
    found.write()
    _until_active(token)
    return folder


def _until_active(token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    for _ in range(_ATTEMPTS):
        if _until_answered("GET", f"{gateway.URL}/v1/tenants/{TENANT}", headers)["status"] == "active":
            return
        time.sleep(_PAUSE_SECONDS)
    raise Unavailable(f"the tenant {TENANT} is not active after {_ATTEMPTS * _PAUSE_SECONDS:.0f} s")


def _until_answered(method: str, url: str, headers: Mapping[str, str], body: object = None) -> Any:
    """Send a request until it is answered with 2xx: functions may start, and refuse while their stores are opened."""
    last = ""
    for _ in range(_ATTEMPTS):
        try:
            answer = httpx.request(method, url, headers=dict(headers), json=body, timeout=_SECONDS, trust_env=False)
        except httpx.HTTPError as error:
            last = repr(error)
        else:
            if answer.is_success:
                return answer.json()
            last = f"{answer.status_code} {answer.text[:300]}"
            if answer.status_code < 500 and answer.status_code not in (404, 409, 429):
                break
        time.sleep(_PAUSE_SECONDS)
    raise Unavailable(f"{method} {url}: {last}")


def _platform_token(token_url: str) -> str:
    login = {"grant_type": "client_credentials"}
    answer = httpx.post(token_url, data=login, auth=("lastro-platform", SECRET), timeout=_SECONDS, trust_env=False)
    return str(answer.raise_for_status().json()["access_token"])


def _let_vault_ask_the_cluster(cluster: Cluster, url: str) -> None:
    """Configure Vault's login with service accounts: it asks this cluster whose a token is."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _REVIEWER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": _REVIEWER, "namespace": "vault"}],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": _REVIEWER, "namespace": "vault"}}
    cluster.apply([_namespace("vault")])
    cluster.apply([account, binding])
    token = cluster.kubectl("create", "token", _REVIEWER, "--namespace=vault", "--duration=24h").strip()
    config = {
        "kubernetes_host": f"https://{NODE_ADDRESS}:6443",
        "kubernetes_ca_cert": (cluster.state / "kubernetes-ca.pem").read_text(encoding="ascii"),
        "token_reviewer_jwt": token,
        "disable_local_ca_jwt": True,
    }
    _vault("POST", f"{url.removeprefix('vault+')}/v1/auth/kubernetes/config", config)


def _vault(method: str, url: str, body: object) -> None:
    headers = {"x-vault-token": ROOT_TOKEN}
    httpx.request(method, url, json=body, headers=headers, timeout=_SECONDS, trust_env=False).raise_for_status()


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _secrets(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    content = {"lastro-connections": connections(urls), "lastro-provisioning": {"client-secret": SECRET}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "stringData": values,
        }
        for name, values in content.items()
    ]


def _run_lastro(*arguments: str, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"`lastro {' '.join(arguments)}` ended with {done.returncode}\n{done.stdout}{done.stderr}")


def kustomize() -> str:
    # Where .ci/run puts the one that it builds.
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastro" / "bin" / "kustomize"
    found = shutil.which("kustomize") or (str(own) if own.exists() else None)
    if found is None:
        raise Unavailable("the cluster needs kustomize, which is not here: `go install` it, as .ci/run does")
    return found
