"""The policies that are made from the wiring: the mesh's, the disruption budgets, and whether the files are current."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from embedded.broker.plan import ToService
from embedded.manifests.kong import KongRoute
from embedded.policies import systems
from embedded.policies.edges import calls
from embedded.policies.files import policy_files, stale_policies, write
from embedded.policies.mesh import ACTIVATOR_PRINCIPAL, PRINCIPALS, authorization
from embedded.policies.picture import page
from embedded.wiring.repository import Repository, read_repository
from shared.core.strict_yaml import read_values

ROOT = Path(__file__).resolve().parents[3]
GATEWAY, BROKER, SOURCE, SCHEDULE = (PRINCIPALS[name] for name in ("gateway", "broker", "source", "schedule"))


@pytest.fixture(scope="module")
def repository() -> Repository:
    return read_repository(ROOT)


def admits(
    policies: list[dict[str, Any]], place: dict[str, str], principal: str, host: str, method: str, path: str
) -> bool:
    """Evaluate the policies at the pods with these labels, as Istio does: any rule of any policy admits the request."""
    for policy in policies:
        spec = policy["spec"]
        if spec.get("selector", {}).get("matchLabels") != place:
            continue
        for rule in spec["rules"]:
            if "from" not in rule or principal not in rule["from"][0]["source"]["principals"]:
                continue
            for operation in (each["operation"] for each in rule["to"]):
                if (
                    host in operation.get("hosts", [host])
                    and method in operation["methods"]
                    and any(_fits(template, path) for template in operation["paths"])
                ):
                    return True
    return False


def places(service: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return where a request for a function is checked: at its pods, and at Knative's activator."""
    return {"serving.knative.dev/service": service}, {"app": "activator"}


def _fits(template: str, path: str) -> bool:
    pattern = "".join("[^/]+" if part == "{*}" else re.escape(part) for part in re.split(r"(\{\*\})", template))
    return re.fullmatch(pattern, path) is not None


def _example(route: KongRoute) -> str:
    path = re.sub(r"\(\?<[a-z_]+>[^)]*\)", "some-id", route.paths[0].removeprefix("~").removesuffix("$"))
    return path.replace("\\.", ".")


def test_the_mesh_admits_every_edge_of_the_wiring(repository: Repository) -> None:
    """The gateway may call the function of each route, the broker that of each Trigger, a source of Kafka that of each
    KafkaSource, the scheduler that of each PingSource, and none of them those of the others."""
    policies = authorization(calls(repository))
    kong = repository.manifests.kong
    assert kong is not None
    for service in kong.services:
        pods, activator = places(service.function)
        for route in service.routes:
            for method in route.methods:
                for place in (pods, activator):
                    assert admits(policies, place, GATEWAY, service.host, method, _example(route)), route.name
                    assert not admits(policies, place, BROKER, service.host, method, _example(route)), route.name
                    assert not admits(policies, place, GATEWAY, service.host, method, f"{_example(route)}/more")
                assert admits(policies, pods, ACTIVATOR_PRINCIPAL, service.host, method, _example(route)), route.name
                assert not admits(policies, pods, ACTIVATOR_PRINCIPAL, service.host, method, f"{_example(route)}/more")
                assert not admits(policies, activator, GATEWAY, "other.lastro.svc.cluster.local", method, "/")
    found = 0
    for subscription in repository.plan.subscriptions:
        principal, other = {"PingSource": (SCHEDULE, BROKER), "KafkaSource": (SOURCE, SCHEDULE)}.get(
            subscription.resource[0], (BROKER, SCHEDULE)
        )
        if not isinstance(subscription.target, ToService):
            continue
        found += 1
        name = subscription.target.name
        for place in places(name):
            host = f"{name}.lastro.svc.cluster.local"
            assert admits(policies, place, principal, host, "POST", "/"), subscription.name
            assert not admits(policies, place, other, host, "POST", "/"), subscription.name
            assert not admits(policies, place, GATEWAY, host, "POST", "/"), subscription.name
    assert found > 30


def test_the_mesh_admits_nothing_else(repository: Repository) -> None:
    """Each rule of the mesh is the edge of a route, a Trigger, a dead letter sink or a schedule; what came through the
    activator has been checked there; and probes and metrics are the only ones that no edge has."""
    policies = authorization(calls(repository))
    edges = calls(repository)
    assert len(edges) == len(set(edges))
    assert all(edge.service in repository.plan.services for edge in edges)
    kong = repository.manifests.kong
    assert kong is not None
    assert sum(edge.caller == "gateway" for edge in edges) == sum(len(service.routes) for service in kong.services)
    services = {edge.service for edge in edges}
    found = {(policy["metadata"]["namespace"], policy["metadata"]["name"]): policy["spec"] for policy in policies}
    assert found.keys() == {
        *(("lastro", name) for name in ("deny-all", "probes-and-metrics", *services)),
        *(("knative-serving", name) for name in ("activator", *(f"to-{name}" for name in services))),
    }
    assert found["lastro", "deny-all"] == {}
    own = [found["lastro", name]["rules"] for name in sorted(services)]
    assert sum(len(rules) - 1 for rules in own) == len(edges)
    assert all(rules[-1]["from"][0]["source"]["principals"] == [ACTIVATOR_PRINCIPAL] for rules in own)
    at_the_activator = [found["knative-serving", f"to-{name}"]["rules"] for name in sorted(services)]
    assert sum(map(len, at_the_activator)) == len(edges)
    for name in (("lastro", "probes-and-metrics"), ("knative-serving", "activator")):
        probes, metrics = found[name]["rules"]
        assert probes["to"] == [{"operation": {"methods": ["GET"], "paths": ["/healthz", "//healthz"]}}]
        assert set(metrics["to"][0]["operation"].pop("ports")) <= {"9090", "9091"}
        assert metrics == {"to": [{"operation": {}}]}


def test_a_function_that_always_runs_has_a_budget(repository: Repository) -> None:
    """A drain takes at most one instance of a core function at a time; functions that scale to zero need no budget."""
    budgets = read_values(policy_files(repository)["knative/policies/disruption.yaml"])
    core = {name for name, service in repository.plan.services.items() if service.scale_class == "core"}
    assert {budget["metadata"]["name"] for budget in budgets} == core
    assert {budget["spec"]["maxUnavailable"] for budget in budgets} == {1}


def test_the_files_are_current(repository: Repository) -> None:
    """The policies of the repository are those that its wiring makes, and the command says so."""
    assert [str(finding) for finding in stale_policies(repository)] == []
    run = CliRunner().invoke(app, ["policies", "--check"])
    assert (run.exit_code, run.output) == (0, "the policies are current\n")


def test_a_changed_wiring_makes_the_files_stale(tmp_path: Path) -> None:
    """A removed Trigger is a finding for the mesh's policies until they are made again."""
    for folder in ("knative", "kafka-sources", "functions"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "knative" / "eventing" / "triggers" / "payments.yaml"
    file.write_text("---\n".join(file.read_text().split("---\n")[1:]))
    changed = read_repository(tmp_path)

    stale = [finding.file for finding in stale_policies(changed)]
    written = write(changed)

    assert stale == written == ["docs/what-runs-where.md", "knative/platform/istio/authorization.yaml"]
    assert list(stale_policies(changed)) == []


def test_the_picture_has_every_edge_that_is_no_function(repository: Repository) -> None:
    """Besides the functions' edges, the picture has who else may use a system: the gateway, External Secrets, the
    readers of logs and the controller of releases."""
    text = page(repository)
    names = {"kong": "kong", "external-secrets": "secrets", "knative-eventing": "broker"}
    for system in systems.SYSTEMS.values():
        for caller in system.also:
            arrow = rf"{names[caller.namespace]} -->(\|[^|]+\|)? {system.name}\n"
            # Events leave Kafka, so this arrow is the other way round.
            assert re.search(arrow, text) or f"{system.name} --> {names[caller.namespace]}\n" in text, system.name
    for box in ("kong", "logs", "release"):
        assert re.search(rf"{box} -->(\|[^|]+\|)? collector\n", text), box
