"""Lastro on kind: every command line of its steps, on stand-ins for kind, docker, kubectl, helm and kustomize."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployment.__main__ import main
from deployment.cluster import Kubernetes
from deployment.commands import ROOT, DeploymentFailed
from deployment.kind import installing, machine, secrets, steps, vault
from deployment.kind.memory import KIND, read_file
from shared.adapters.vault.address import read_address
from shared.bootstrap.adapters import CASSANDRA, MONGODB, REDIS, UNLEASH, choose
from shared.core.settings import Settings
from shared.core.strict_yaml import read_values
from tests.deployment.stand_ins import StandIns
from tests.schemas.test_overlays import built
from tests.schemas.test_platform import of_kind, resources

MEMORY = str(16 * 2**30)
VAULT_KEYS = json.dumps({"unseal_keys_b64": ["the-key"], "root_token": "the-token"})
NONE: frozenset[str] = frozenset()


def job(*conditions: str) -> str:
    """A job as kubectl prints it, with conditions that are true."""
    return json.dumps({"status": {"conditions": [{"type": each, "status": "True"} for each in conditions]}})


@pytest.fixture
def kind(programs: StandIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """A machine with a container engine and without a cluster; the tenant is made elsewhere.

    Its programs answer in this process; test_shared_steps starts them.
    """
    programs.run_here(monkeypatch)
    monkeypatch.setattr(steps, "FOLDER", ROOT / ".lastro" / f"kind-test-{tmp_path.name}")
    monkeypatch.setattr(steps, "_tenant", lambda _: None)
    monkeypatch.setattr(machine, "is_taken", lambda _: False)
    programs.answers("^docker info", MEMORY)
    programs.answers("^kind get clusters", "")
    programs.answers("vault .*operator init", VAULT_KEYS)
    programs.answers("auth list", "{}")
    programs.answers(" get .* -o json", '{"items": []}')
    programs.answers(" get job/lastro-migrate ", job("Complete"))
    return programs


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Any:
    yield
    if "kind" in request.fixturenames and steps.FOLDER.name.startswith("kind-test-"):
        shutil.rmtree(steps.FOLDER, ignore_errors=True)


def test_the_cluster_is_made_and_filled_in_order(kind: StandIns) -> None:
    """From nothing: cluster, images, Knative, operators, Secrets, stores, Vault, manifests, job, and the wait for every
    kind; each kubectl names the cluster's context."""
    assert main(["kind", "up"]) == 0
    order = [
        *("docker info", "kind create cluster --config=", "docker build --tag=dev.local/lastro:kind"),
        *("docker build --tag=dev.local/lastro-operator:kind", "kind load docker-image", "serving-crds.yaml"),
        *("serving-core.yaml", "kourier.yaml", "eventing-crds.yaml", "eventing-core.yaml", "eventing-kafka-controller"),
        *("set resources deployment/activator", "helm upgrade", "platform/kafka", "psmdb/lastro", "operator init"),
        *("operator unseal the-key", "auth enable kubernetes", f"kustomize build {KIND}\n"),
        *("delete job/lastro-migrate", "platform/migrate", "get job/lastro-migrate", "get ksvc", "get kafkasource"),
        "deployment/kong",
    ]
    lines = "\n".join(kind.lines) + "\n"
    places = [lines.find(each) for each in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)
    assert all("--context=kind-lastro" in line for line in kind.lines if line.startswith("kubectl"))
    assert "platform/observability" not in lines
    assert "the-token" not in lines


def test_a_second_run_makes_no_cluster_and_no_new_password(kind: StandIns) -> None:
    """On a cluster that is there, nothing is created or initialised again, and the Secrets are the same."""
    assert main(["kind", "up"]) == 0
    first, begin = [call.given for call in kind.calls if "KC_DB_PASSWORD" in call.given], len(kind.calls)
    kind.answers("^kind get clusters", "lastro\n")
    kind.answers("auth list", '{"kubernetes/": {}}')
    assert main(["kind", "up"]) == 0
    second = kind.calls[begin:]
    assert [call.given for call in second if "KC_DB_PASSWORD" in call.given] == first
    lines = "\n".join(call.line for call in second)
    assert not re.search("create cluster|operator init|auth enable", lines)
    assert (steps.FOLDER.stat().st_mode & 0o077, len(first)) == (0, 1)
    assert all(path.stat().st_mode & 0o077 == 0 for path in steps.FOLDER.iterdir())


def test_more_is_installed_on_request(kind: StandIns) -> None:
    """`--with` adds Unleash with its tokens and flags, and observability with its operator and the controller of
    releases."""
    assert main(["kind", "up", "--with", "unleash", "--with", "observability"]) == 0
    lines = "\n".join(kind.lines)
    for each in ("platform/unleash", "platform/observability", "platform/release", "opentelemetry-operator"):
        assert each in lines
    given = "".join(call.given for call in kind.calls)
    for each in ("LASTRO_FLAGS", "OTEL_EXPORTER_OTLP_ENDPOINT", "UNLEASH_ADMIN_TOKEN"):
        assert each in given


@pytest.mark.parametrize(
    ("pattern", "answer", "message"),
    [
        ("^docker info", 1, "the Docker engine does not answer"),
        ("^docker info", str(4 * 2**30), "has 4.0 GiB of memory and the cluster needs 8 GiB"),
        ("^kind create", 1, "`kind create cluster"),
        ("^kind export", 1, "was made only half, or its node does not run: `task kind:down`"),
        (
            "get job/lastro-migrate",
            job("Failed"),
            "the stores could not be prepared\nthe job lastro-migrate has failed",
        ),
        ("operator init", 1, "ended with 1"),
    ],
)
def test_what_fails_is_said(
    kind: StandIns, pattern: str, answer: str | int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No engine, too little memory, a cluster that is half made and stores that are not prepared end `up` with code 1
    and a message that says what to do."""
    kind.answers(pattern, answer)
    assert main(["kind", "up"]) == 1
    assert message in capsys.readouterr().err
    # A cluster whose creation has failed is not left half made.
    assert (pattern != "^kind create") or kind.lines[-1] == "kind delete cluster --name=lastro"


def test_more_needs_more_memory(kind: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """An engine that has enough for the cluster, and not for what `--with` adds, is named before the cluster is
    made."""
    kind.answers("^docker info", str(8 * 2**30))
    assert main(["kind", "up", "--with", "unleash"]) == 1
    assert "has 8.0 GiB of memory and the cluster needs 10 GiB" in capsys.readouterr().err
    assert main(["kind", "up"]) == 0


def test_down_ends_only_what_it_has_started(kind: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """`down` ends the process that forwards the port, and not another one that has its number by now."""
    ended: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, _: ended.append(pid))
    for line, expected in (("kubectl --context=kind-lastro port-forward service/keycloak", [4711]), ("vi notes", [])):
        kind.answers("^ps -p 4711", line)
        secrets.Passwords(steps.FOLDER)
        secrets.write_private(steps.FOLDER / "port-forward.pid", "4711")
        assert main(["kind", "down"]) == 0
        assert ended == expected
        ended.clear()


@pytest.mark.parametrize("name", ["docker", "kind", "kubectl", "helm"])
def test_an_absent_program_is_named(kind: StandIns, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A program that is not installed is named with what to do, before anything is done."""
    (kind.folder / name).unlink()
    assert main(["kind", "up"]) == 1
    assert f"{name} is not on the PATH: install" in capsys.readouterr().err
    assert kind.lines == []


def test_a_port_that_is_taken_is_named(programs: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that another program listens on is named before the cluster is made."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setattr(machine, "GATEWAY_PORT", port)
        with pytest.raises(DeploymentFailed, match=f"port {port}, for the gateway, is taken"):
            machine.check_ports()


def test_a_vault_without_its_keys_is_reported(kind: StandIns, tmp_path: Path) -> None:
    """When Vault has been initialised and its keys are gone, the message says to start again from nothing."""
    folder = secrets.Passwords(tmp_path / "kind")
    program = kind.folder / "kubectl"
    program.write_text('#!/bin/sh\ncase "$*" in *init*) echo Vault is already initialized >&2; exit 2;; esac\n')
    with pytest.raises(DeploymentFailed, match=r"its keys are not in .*task kind:down"):
        vault.prepare(Kubernetes(["kubectl"]), folder, NONE)


def test_without_a_cluster_the_commands_say_so(kind: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """`status` and `smoke` without a cluster name the command that makes one; `down` has nothing to do."""
    for command in ("status", "smoke"):
        assert main(["kind", command]) == 1
        assert capsys.readouterr().err == "there is no cluster on kind: `task kind:up`\n"
    assert main(["kind", "down"]) == 0
    assert kind.lines[-1] == "kind delete cluster --name=lastro"


def test_down_removes_the_passwords(kind: StandIns) -> None:
    """After `down` no password of the cluster is left on this machine."""
    assert main(["kind", "up"]) == 0
    assert (steps.FOLDER / "vault.json").exists()
    assert main(["kind", "down"]) == 0
    assert not steps.FOLDER.exists()


def test_operators_have_the_versions_of_production(kind: StandIns) -> None:
    """Each chart has the repository and version of Argo CD's application, the memory of memory.yaml, and kind's
    context."""
    installing.operators(Kubernetes(["kubectl"]), steps.CONTEXT, frozenset(steps.EXTRAS))
    applications = {}
    for one in read_values((ROOT / "knative" / "argo" / "operators.yaml").read_text()):
        applications[one["spec"]["source"]["chart"]] = one["spec"]["source"]
    installed = [line for line in kind.lines if line.startswith("helm ")]
    assert len(installed) == 5
    for line in installed:
        chart = line.split()[3]
        assert f"--repo={applications[chart]['repoURL']} --version={applications[chart]['targetRevision']}" in line
        assert "--kube-context=kind-lastro" in line
        assert ".requests.memory=" in line
        assert ".limits.memory=" in line
    assert {line.split()[3] for line in installed} == set(read_file()["values"])
    # What fails for good is seen by its pods, and helm would wait for it without a word.
    assert not any("--wait" in line for line in installed)
    assert kind.lines[1] == "kubectl wait --for=condition=Available deployment --all --namespace=operators --timeout=5s"


def test_the_connections_are_settings(tmp_path: Path) -> None:
    """The Secret with the connections selects MongoDB, Cassandra and Redis, and Unleash where it is installed."""
    passwords = secrets.Passwords(tmp_path)
    choices = choose(Settings.from_environment(secrets.connections(passwords, frozenset({"unleash"}))))
    assert {choices[port].opener for port in ("documents", "ledger", "cache", "flags")} == {
        *(MONGODB, CASSANDRA, REDIS, UNLEASH),
    }
    assert "LASTRO_FLAGS" not in secrets.connections(passwords, NONE)


def test_every_secret_that_a_pod_reads_is_written(tmp_path: Path) -> None:
    """Each Secret that the stores' manifests name is written with the keys that they read, and applied to a namespace
    that is there before it."""
    found = list(secrets.resources(secrets.Passwords(tmp_path), frozenset({"unleash"})))
    namespaces = [one["metadata"]["name"] for one in found if one["kind"] == "Namespace"]
    written = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one["stringData"]
        for one in found
        if one["kind"] == "Secret"
    }
    assert {name for name, _ in written} <= set(namespaces)
    for system in ("keycloak", "unleash", "redis"):
        for one in resources(f"overlays/kind/platform/{system}"):
            text = json.dumps(one)
            for reference in re.findall(r'"secretKeyRef": (\{[^}]*\})', text):
                wanted = json.loads(reference)
                assert wanted.get("optional") or wanted["key"] in written[system, wanted["name"]]
            for name in re.findall(r'"secretRef": \{"name": "([^"]+)"\}', text):
                assert (system, name) in written
    assert {"tls.crt", "tls.key", "ca.crt"} == written["vault", "vault-tls"].keys()
    assert written["lastro", "lastro-provisioning"].keys() == {"client-secret"}


@pytest.mark.parametrize(("overlay", "folder"), [("kind", "overlays/kind/platform/migrate"), ("production", None)])
def test_the_job_that_prepares_the_stores_can_log_in_at_vault(overlay: str, folder: str | None) -> None:
    """The job has a role for the address of Vault in its settings, and the files of that address are mounted."""
    (settings,) = (
        one["data"] for one in built(overlay) if one["kind"] == "ConfigMap" and "LASTRO_SECRETS" in one["data"]
    )
    job = of_kind(folder or "overlays/production/migrate", "Job")["lastro-migrate"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one.get("value", "") for one in container["env"]}
    address = read_address(settings["LASTRO_SECRETS"], variables)
    mounts = [one["mountPath"] for one in container["volumeMounts"]]
    for file in (address.token_file, address.ca):
        assert file is None or any(file.startswith(f"{mount}/") for mount in mounts), file


def test_the_images_get_their_folders() -> None:
    """Every file and folder that a Dockerfile copies is in the context of the build, by the one ignore file that every
    builder of Docker reads."""
    texts = [(ROOT / name).read_text() for name in steps.IMAGES.values()]
    copied = {name for text in texts for name in re.findall(r"^COPY ([^-\s]\S*)", text, re.MULTILINE)}
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied} == {line for line in kept if line.startswith("!")}
    assert list(ROOT.glob("Dockerfile*.dockerignore")) == []


def test_kind_accepts_the_configuration() -> None:
    """Kind itself reads the cluster's configuration, where it is installed, and gets as far as asking for an engine."""
    program = shutil.which("kind") or shutil.which("kind", path=Path.home() / ".cache" / "lastro" / "bin")
    if program is None:
        pytest.skip("kind is not installed")
    path = KIND / "cluster.yaml"
    good = subprocess.run(
        [program, "create", "cluster", f"--config={path}"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "KIND_EXPERIMENTAL_PROVIDER": "docker"},
    )
    assert "unable to decode config" not in good.stderr
    bad = subprocess.run(
        [program, "create", "cluster", "--config=-"],
        input=path.read_text().replace("extraPortMappings", "extraPorts"),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "KIND_EXPERIMENTAL_PROVIDER": "docker"},
    )
    assert 'unknown field "extraPorts"' in bad.stderr or "field extraPorts not found" in bad.stderr
