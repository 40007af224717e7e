"""Brings the functions to the cluster: stores, image, Secret, manifests, gateway, and a tenant with credentials."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

import httpx

from deployment import functions, tenant
from deployment.commands import ROOT, output_of
from tests.cluster import gateway, stores
from tests.cluster.cluster import Cluster
from tests.cluster.places import NODE_ADDRESS
from tests.images.project import build
from tests.servers.keycloak_server import SECRET
from tests.servers.openbao_server import ROOT_TOKEN

KINDS: Final = (*functions.WIRING, "containersource")
"""What must be ready: the kinds of every cluster, and the source in the place of the KafkaSources."""
_OVERLAY: Final = ROOT / "knative" / "overlays" / "test"
_REVIEWER: Final = "vault-reviewer"
_PIX_KEY: Final = "7d9f0335-8dcc-4054-9bf9-0dbd61d36906"
_LOGIN: Final = "auth=kubernetes&token_file=/var/run/secrets/vault/token"
_SECONDS: Final = 120


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
    environment = {**settings, **administrator, "LASTRO_DATA_DIR": str(cluster.state / "none")}
    for command in (("migrate",), ("topics", "apply", "--max-replicas=1")):
        output_of([sys.executable, "-m", "cli", *command], environment=environment, folder=ROOT)
    _let_vault_ask_the_cluster(cluster, urls["LASTRO_SECRETS"])
    vault = urls["LASTRO_SECRETS"].removeprefix("vault+")
    secret = {"data": {"value": stores.PIX_SECRET}}
    _vault("POST", f"{vault}/v1/secret/data/lastro/providers/pix/callback-secret", secret)


def deploy(cluster: Cluster, urls: Mapping[str, str]) -> None:
    """Apply the Secrets and the manifests of the overlay `test`, and the gateway."""
    functions.apply(cluster, _OVERLAY, functions.secrets_of(connections(urls), SECRET))
    cluster.apply(gateway.resources())
    cluster.wait("Available", "deployment/gateway", f"--namespace={gateway.NAMESPACE}")


def import_image(cluster: Cluster) -> None:
    """Build the image of the functions from this checkout, and copy it to the node."""
    archive = cluster.state / "lastro.tar"
    build(archive, tag="test")
    cluster.import_image(archive)
    archive.unlink()


def create_tenant(cluster: Cluster, urls: Mapping[str, str], *, name: str = tenant.TENANT) -> None:
    """Create a tenant through the gateway, and write its credentials for `lastro`: those of `demo` into `client`."""
    token_url = f"{urls['LASTRO_IDENTITY']}/protocol/openid-connect/token"
    folder = cluster.state / ("client" if name == tenant.TENANT else f"client-{name}")
    tenant.create(tenant.Platform(gateway.URL, token_url, SECRET), folder, name=name)


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
    cluster.apply([functions.namespace("vault")])
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
