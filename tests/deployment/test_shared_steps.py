"""The steps that kind and the test cluster share."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.client import Client
from deployment import functions, tenant
from deployment.cluster import Kubernetes
from deployment.commands import CommandFailed, DeploymentFailed, output_of
from deployment.payment import pay_once
from deployment.progress import step
from embedded.identity.credentials import Credentials
from shared.core.strict_yaml import read_values
from tests.cli.started import Started
from tests.deployment.stand_ins import StandIns

CLUSTER = Kubernetes(["kubectl", "--context=kind-lastro"])
APPLY = "kubectl --context=kind-lastro apply --server-side --force-conflicts --field-manager=lastro --filename=-"


def test_resources_are_applied_on_the_servers_side(programs: StandIns) -> None:
    """Kubectl gets the resources on its standard input, with the context of the cluster and conflicts resolved."""
    CLUSTER.apply([functions.namespace("lastro"), functions.namespace("vault")])
    (call,) = programs.calls
    assert call.line == APPLY
    assert [each["metadata"]["name"] for each in read_values(call.given)] == ["lastro", "vault"]


def test_secrets_come_before_the_manifests(programs: StandIns, tmp_path: Path) -> None:
    """The namespace and the Secrets that pods read are there before what kustomize builds from the overlay."""
    programs.answers("^kustomize", "kind: Overlay\n")
    functions.apply(CLUSTER, tmp_path, functions.secrets_of({"LASTRO_LEDGER": "cassandra://x"}, "of-the-client"))
    first, build, last = programs.calls
    namespace, connections, provisioning = read_values(first.given)
    assert (first.line, build.line, last.line) == (APPLY, f"kustomize build {tmp_path}", APPLY)
    assert namespace["kind"] == "Namespace"
    assert connections["stringData"] == {"LASTRO_LEDGER": "cassandra://x"}
    assert provisioning["stringData"] == {"client-secret": "of-the-client"}
    assert last.given == "kind: Overlay\n"


def test_a_slow_webhook_does_not_end_a_deployment(programs: StandIns, tmp_path: Path) -> None:
    """Manifests that a webhook did not accept in time are applied again."""
    programs.answers("^kubectl", 1, 1, "applied\n")
    assert CLUSTER.apply_folder(tmp_path) == ["applied"]
    assert programs.lines == [f"kustomize build {tmp_path}", APPLY, APPLY, APPLY]


def test_manifests_that_are_refused_end_a_deployment(programs: StandIns, tmp_path: Path) -> None:
    """Manifests that are refused five times are reported with the last lines of kubectl."""
    programs.answers("^kubectl", 1)
    with pytest.raises(CommandFailed, match="ended with 1\nit failed"):
        CLUSTER.apply_folder(tmp_path)
    assert programs.lines.count(APPLY) == 5


def test_a_message_names_no_password(programs: StandIns) -> None:
    """The message about a failed command has its first arguments only, and never the later ones."""
    programs.answers("^kubectl", 3)
    with pytest.raises(CommandFailed) as raised:
        output_of(["kubectl", "create", "secret", "generic", "x", "-n=lastro", "--from-literal=a=password"])
    assert "password" not in str(raised.value)
    assert str(raised.value).startswith("`kubectl create secret generic x -n=lastro …` ended with 3")


def test_a_program_that_is_absent_is_named(programs: StandIns) -> None:
    """A program that is not on the PATH is named in the message."""
    with pytest.raises(DeploymentFailed, match="brew is not on the PATH"):
        output_of(["brew"])
    assert programs.calls == []


def test_what_is_not_ready_is_named(programs: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind has a line with how many are ready and the names of the others; nothing at all is not ready."""
    ready, not_ready = (
        {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": status}]}}
        for name, status in (("a", "True"), ("b", "False"))
    )
    new = {"metadata": {"name": "c"}}
    programs.answers(" get ksvc ", json.dumps({"items": [ready, not_ready, new]}))
    programs.answers(" get broker ", json.dumps({"items": [ready]}))
    programs.answers(" get trigger ", json.dumps({"items": []}))
    assert not functions.show_readiness(CLUSTER, ["ksvc", "broker"])
    assert capsys.readouterr().out == "ksvc: 1 of 3 ready b c\nbroker: 1 of 1 ready\n"
    assert functions.show_readiness(CLUSTER, ["broker"])
    assert not functions.show_readiness(CLUSTER, ["trigger"])


def test_a_step_is_shown_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    """A step shows its name and seconds; one that fails says so and raises."""

    def fails() -> None:
        raise DeploymentFailed("no")

    step("tenant", lambda: None)
    with pytest.raises(DeploymentFailed):
        step("image", fails)
    assert re.fullmatch(r"tenant … \d+\.\d s\nimage … failed\n", capsys.readouterr().err)


def test_a_tenant_and_a_payment_through_the_api(platform: Started, tmp_path: Path) -> None:
    """A tenant is made once however often the step runs, and with its credentials a payment is settled: with a deposit
    by PIX, and with an overdraft where there is no rail."""
    known = Credentials.read(platform.data_dir)
    assert known is not None
    assert known.platform is not None
    place = tenant.Platform(known.base_url, known.token_url, known.platform["client_secret"])
    tenant.create(place, tmp_path / "client", name="shop")
    written = (tmp_path / "client" / "credentials.json").read_bytes()
    tenant.create(place, tmp_path / "client", name="shop")
    assert (tmp_path / "client" / "credentials.json").read_bytes() == written
    with Client.of(tmp_path / "client") as client:
        assert [what for what, _ in pay_once(client)][1:] == [
            *("a deposit by PIX is in the account", "a signed payment is accepted", "and settled"),
            "and in the payee's balance",
        ]
        assert [what for what, _ in pay_once(client, rail=False)][1] == "a signed payment is accepted"


def test_a_wrong_secret_is_reported(platform: Started, tmp_path: Path) -> None:
    """A realm that gives no token is reported with its answer, and no file is written."""
    known = Credentials.read(platform.data_dir)
    assert known is not None
    with pytest.raises(DeploymentFailed, match=r"no token of .*: 401"):
        tenant.create(tenant.Platform(known.base_url, known.token_url, "wrong"), tmp_path / "client")
    assert not (tmp_path / "client" / "credentials.json").exists()
