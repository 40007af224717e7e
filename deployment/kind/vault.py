"""The one Vault of kind: its keys are in a file beside the passwords, so it protects nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from deployment import waiting
from deployment.cluster import Kubernetes
from deployment.commands import CommandFailed, DeploymentFailed
from deployment.functions import NAMESPACE, secret
from deployment.kind.secrets import UNLEASH, Passwords, write_private

_FILE: Final = "vault.json"


def prepare(cluster: Kubernetes, passwords: Passwords, extras: frozenset[str]) -> None:
    """Initialise Vault if it is new, unseal it, let it ask the cluster whose a token is, and write the tokens for the
    job that prepares the stores. Raises DeploymentFailed."""
    waiting.wait(cluster, "vault", "wait", "--for=jsonpath={.status.phase}=Running", "pod/vault-0")
    keys = _keys(cluster, passwords.folder / _FILE)
    _vault(cluster, "", "operator", "unseal", keys["unseal_keys_b64"][0])
    token = keys["root_token"]
    if "kubernetes/" not in json.loads(_vault(cluster, token, "auth", "list", "-format=json")):
        _vault(cluster, token, "auth", "enable", "kubernetes")
    _vault(cluster, token, "write", "auth/kubernetes/config", "kubernetes_host=https://kubernetes.default.svc")
    tokens = {"VAULT_TOKEN": token}
    if UNLEASH in extras:
        tokens["UNLEASH_ADMIN_TOKEN"] = f"*:*.{passwords['unleash-admin']}"
    cluster.apply([secret(NAMESPACE, "lastro-operator", tokens)])


def _keys(cluster: Kubernetes, path: Path) -> dict[str, Any]:
    if not path.exists():
        try:
            made = _vault(cluster, "", "operator", "init", "-key-shares=1", "-key-threshold=1", "-format=json")
        except CommandFailed as error:
            if "already initialized" not in str(error):
                raise
            raise DeploymentFailed(
                f"this cluster's Vault has been initialised, and its keys are not in {path}: `task kind:down`, then "
                "`task kind:up`"
            ) from None
        write_private(path, made)
    found: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
    return found


def _vault(cluster: Kubernetes, token: str, *arguments: str) -> str:
    # The root token is read from standard input: arguments are shown to every user of this machine.
    inside = ("exec", "--stdin", "vault-0", "--namespace=vault", "--")
    script = 'IFS= read -r VAULT_TOKEN; export VAULT_TOKEN; exec vault "$@"'
    return cluster.kubectl(*inside, "sh", "-c", script, "sh", *arguments, given=f"{token}\n")
