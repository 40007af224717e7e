"""The scripts that put Lastro on kind: what they name exists, and the Secrets have what the manifests read."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.bootstrap.adapters import CASSANDRA, MONGODB, REDIS, UNLEASH, choose
from shared.core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
KIND = ROOT / "knative" / "overlays" / "kind"
SCRIPTS = ("install", "secrets", "apply", "vault", "credentials", "pay")
Document = dict[str, Any]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_a_program(name: str) -> None:
    """Each script can be executed, and bash accepts it."""
    assert (KIND / name).stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(KIND / name)], capture_output=True, check=False).returncode == 0


def test_every_folder_of_kind_is_applied() -> None:
    """The script `apply` names each folder of kind's platform once, and no other."""
    text = (KIND / "apply").read_text()
    (stores,) = re.findall(r"for system in (.*); do", text)
    others = re.findall(r"\$here/platform/([a-z]+)\"", text)
    assert sorted([*stores.split(), *others]) == sorted(path.name for path in (KIND / "platform").iterdir())


def test_operators_have_the_versions_of_production() -> None:
    """Each chart that `install` names has the version and the repository of Argo CD's application."""
    charts = {}
    for one in yaml.safe_load_all((ROOT / "knative" / "argo" / "operators.yaml").read_text()):
        source = one["spec"]["source"]
        charts[source["chart"]] = (source["repoURL"], source["targetRevision"])
    text = (KIND / "install").read_text().replace("\\\n", " ")
    found = re.findall(r"--install --wait \S+ (\S+)\s+--repo (\S+)\s+--version (\S+)", text)
    assert len(found) == 5
    for chart, repository, version in found:
        assert charts[chart] == (repository, version)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("kind")
    texts = [
        subprocess.run([str(KIND / "secrets"), str(folder)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert texts[0] == texts[1], "a second run writes the same passwords"
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    return [one for one in yaml.safe_load_all(texts[0]) if one is not None]


def test_the_connections_are_settings(secrets: list[Document]) -> None:
    """The Secret with the connections selects MongoDB, Cassandra, Redis and Unleash."""
    (connections,) = (one["stringData"] for one in secrets if one["metadata"]["name"] == "lastro-connections")
    choices = choose(Settings.from_environment(connections))
    assert {choices[port].opener for port in ("documents", "ledger", "cache", "flags")} == {
        *(MONGODB, CASSANDRA, REDIS, UNLEASH),
    }


def test_every_secret_that_a_pod_reads_is_written(secrets: list[Document]) -> None:
    """Each Secret that the stores' manifests name is among those that the script writes, with its keys."""
    written = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): {*one.get("stringData", {}), *one.get("data", {})}
        for one in secrets
        if one["kind"] == "Secret"
    }
    for system in ("keycloak", "unleash", "redis"):
        for path in (
            *(ROOT / "knative/platform" / system).glob("*.yaml"),
            *(KIND / "platform" / system).glob("*.yaml"),
        ):
            for name, key in re.findall(r"secretKeyRef: \{name: (\S+), key: (\S+)\}", path.read_text()):
                assert key in written[system, name], path
            for name in re.findall(r"secretRef:\n\s+name: (\S+)", path.read_text()):
                assert (system, name) in written, path
    assert {"tls.crt", "tls.key", "ca.crt"} <= written["vault", "vault-tls"]
    assert written["lastro", "lastro-provisioning"] == {"client-secret"}
