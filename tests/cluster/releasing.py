"""Releases on the running cluster: the controller in its pod, revisions with and without a fault, and load on both."""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple

from cli.client import Answer, Client
from cli.errors import CliError
from deployment.commands import ROOT, output_of
from deployment.functions import NAMESPACE
from deployment.payment import AMOUNT, accepted, deposit, new_cpf, open_account, payment_between, read, until
from shared.release.indicators import LAG
from shared.release.prometheus import Prometheus
from tests.cluster.cluster import Cluster
from tests.cluster.observing import PROMETHEUS_URL

CONTROLLER: Final = "lastro-release"
"""The namespace of the controller and of its records."""
DEPOSIT: Final = 10_000_00
"""What the payer has before the load, in centavos."""
COMMIT: Final = "1" * 40
TRACE: Final = "2" * 32
_OVERLAY: Final = ROOT / "knative" / "overlays" / "test" / "release"
_CONTAINER: Final = "/spec/template/spec/containers/0"
_DAILY: Final = "17 3 * * *"
"""The schedule of what is not needed on the test cluster (knative/overlays/test)."""
_FAULT: Final = "fault"
_SOURCE: Final = Path(__file__).with_name("faulty.py")
_STATE: Final = "lastro-release"
_PAUSE_SECONDS: Final = 0.1
_BETWEEN_PAYMENTS_SECONDS: Final = 1.5
"""The load is for two cores: what they cannot do in time is itself a reason to take a release back."""


@contextmanager
def controller(cluster: Cluster, **criteria: str) -> Iterator[None]:
    """Run the controller of releases with these criteria, and remove it and what it knows afterwards."""
    cluster.apply_folder(_OVERLAY)
    try:
        judge(cluster, **criteria)
        until(lambda: _pinned(cluster), "the traffic of every function names its revision")
        yield
    finally:
        cluster.kubectl("delete", "namespace", CONTROLLER)


def judge(cluster: Cluster, **criteria: str) -> None:
    """Let the controller judge releases by these criteria: the names are those of LASTRO_RELEASE_… ."""
    named = ("deployment/release-controller", f"--namespace={CONTROLLER}")
    cluster.kubectl("set", "env", *named, *(f"LASTRO_RELEASE_{name}={value}" for name, value in criteria.items()))
    cluster.kubectl("rollout", "status", *named)


def _pinned(cluster: Cluster) -> bool:
    services = cluster.get("ksvc", f"--namespace={NAMESPACE}")["items"]
    return all(each["spec"]["traffic"][0].get("revisionName") for each in services)


@contextmanager
def scheduled_each_minute(cluster: Cluster, functions: Sequence[str]) -> Iterator[None]:
    """Let the schedules of these functions tick each minute instead of daily, until the end."""

    def schedule(value: str) -> None:
        for function in functions:
            _patch(cluster, function, [_set("/spec/schedule", value, operation="replace")], kind="pingsource")

    schedule("* * * * *")
    try:
        yield
    finally:
        schedule(_DAILY)


def measured(cluster: Cluster, functions: Sequence[str]) -> None:
    """Create a revision of each of these functions that has all traffic and sends its metrics. No controller may run.

    In production every function sends them; on two cores only those do whose figures are asked for.
    """
    for function in functions:
        service = cluster.get("ksvc", function, f"--namespace={NAMESPACE}")
        variables = _variables(service, {"OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": "none"})
        everything = [{"latestRevision": True, "percent": 100}]
        _patch(cluster, function, [_set(f"{_CONTAINER}/env", variables), _set("/spec/traffic", everything)])


def restore(cluster: Cluster, functions: Sequence[str]) -> None:
    """Give all traffic of these functions to a new revision without a fault. No controller may run."""
    release(cluster, functions)
    for function in functions:
        _patch(cluster, function, [_set("/spec/traffic", [{"latestRevision": True, "percent": 100}])])
        cluster.wait("Ready", f"ksvc/{function}", f"--namespace={NAMESPACE}")


def release(
    cluster: Cluster,
    functions: Sequence[str],
    *,
    image: str = "",
    faulty: Sequence[str] = (),
    fault: str = "",
    seconds: float = 0.0,
) -> None:
    """Create a new revision of each of these functions, some of them with a fault. Each sends its metrics."""
    named = {"name": _FAULT, "namespace": NAMESPACE}
    data = {"faulty.py": _SOURCE.read_text(encoding="utf-8")}
    cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": data}])
    for function in functions:
        changes = _changes(cluster, function, fault if function in faulty else "", seconds)
        if image:
            changes.append(_set(f"{_CONTAINER}/image", image, operation="replace"))
        _patch(cluster, function, changes)


def _changes(cluster: Cluster, function: str, fault: str, seconds: float) -> list[dict[str, Any]]:
    service = cluster.get("ksvc", function, f"--namespace={NAMESPACE}")
    spec = service["spec"]["template"]["spec"]
    container = spec["containers"][0]
    ours = {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_TRACES_EXPORTER": "none",
        "RELEASE": secrets.token_hex(4),
        "FAULT": fault,
        "FAULT_SECONDS": str(seconds),
        "PYTHONPATH": f"/{_FAULT}",
    }
    volumes = [each for each in spec["volumes"] if each["name"] != _FAULT]
    mounts = [each for each in container["volumeMounts"] if each["name"] != _FAULT]
    application = "faulty:application" if fault else "shared.functions.application:application"
    return [
        _set("/metadata/annotations/lastro.dev~1commit", COMMIT),
        _set("/metadata/annotations/lastro.dev~1traceparent", f"00-{TRACE}-{'3' * 16}-01"),
        _set("/spec/template/spec/volumes", [*volumes, {"name": _FAULT, "configMap": {"name": _FAULT}}]),
        _set(f"{_CONTAINER}/volumeMounts", [*mounts, {"name": _FAULT, "mountPath": f"/{_FAULT}"}]),
        _set(f"{_CONTAINER}/env", _variables(service, ours)),
        _set(f"{_CONTAINER}/command/4", application, operation="replace"),
    ]


def _variables(service: Mapping[str, Any], ours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the variables of a function, with ours in the place of those of the same name."""
    container = service["spec"]["template"]["spec"]["containers"][0]
    kept = [each for each in container["env"] if each["name"] not in ours]
    return kept + [{"name": name, "value": value} for name, value in ours.items()]


def state(cluster: Cluster) -> dict[str, Any]:
    """Return what the controller knows of the release, or nothing before the first."""
    found = cluster.get("configmap", f"--namespace={CONTROLLER}")["items"]
    texts = [each["data"]["release"] for each in found if each["metadata"]["name"] == _STATE]
    known: dict[str, Any] = json.loads(texts[0]) if texts else {}
    return known


def confirm(cluster: Cluster, image: str) -> None:
    """Let an image stay, as the pull request of a confirmation does."""
    change = json.dumps({"data": {"image": image}})
    given = ("--type=merge", f"--patch={change}")
    cluster.kubectl("patch", "configmap", f"{_STATE}-confirmed", f"--namespace={CONTROLLER}", *given)


def record(cluster: Cluster, release_id: str) -> dict[str, Any]:
    """Return the audit record of a release, as `lastro release status` shows it."""
    kubectl, configuration = cluster.program
    path = f"{Path(kubectl).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "KUBECONFIG": configuration.partition("=")[2]}
    command = [sys.executable, "-m", "cli", "release", "status", release_id, "--json"]
    found: dict[str, Any] = json.loads(output_of(command, environment=environment, folder=ROOT))
    return found


def lag() -> float | None:
    """Return the lag of the consumers in seconds, as the controller sees it, or None when there is no figure."""
    found = Prometheus(PROMETHEUS_URL).measure([], 60).get(LAG.key)
    return None if found is None else found.value


def shares(cluster: Cluster, functions: Sequence[str]) -> set[int]:
    """Return the shares of the traffic that the new revisions of these functions have by their manifests."""
    found = [cluster.get("ksvc", function, f"--namespace={NAMESPACE}")["spec"]["traffic"] for function in functions]
    return {part["percent"] for traffic in found for part in traffic if part.get("tag") == "green"}


def _set(path: str, value: object, *, operation: str = "add") -> dict[str, Any]:
    return {"op": operation, "path": path, "value": value}


def _patch(cluster: Cluster, name: str, changes: Sequence[Mapping[str, Any]], *, kind: str = "ksvc") -> None:
    given = ("--type=json", f"--patch={json.dumps(changes)}")
    cluster.kubectl("patch", kind, name, f"--namespace={NAMESPACE}", *given)


class Bad(NamedTuple):
    """A request that was answered badly, or not at all: when it was sent and answered, and with which status."""

    sent: float
    answered: float
    status: int | None


@dataclass
class Traffic:
    """Payments and reads by several clients at the same time, until it ends. Each payment is repeated under its key
    until it is accepted."""

    folder: Path
    payer: str
    payee: str
    slow_seconds: float = inf
    """From how many seconds on an answer is bad."""
    payments: dict[str, str] = field(default_factory=dict)
    """The id of each accepted payment, by its idempotency key."""
    bad: list[Bad] = field(default_factory=list)
    requests: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)
    _failures: list[BaseException] = field(default_factory=list)

    @classmethod
    def prepared(cls, folder: Path, client: Client) -> Traffic:
        """Return the load from a new account with money to another, by clients with the credentials of a folder."""
        payer, payee = (open_account(client, name, new_cpf()) for name in ("Ana Souza", "Bruno Lima"))
        deposit(client, payer, DEPOSIT)
        return cls(folder, payer, payee)

    @contextmanager
    def running(self, payers: int = 1, readers: int = 2) -> Iterator[None]:
        """Send requests until the end of the block. Raises what a client has refused."""
        threads = [threading.Thread(target=self._repeat, args=(self._pay,)) for _ in range(payers)]
        threads += [threading.Thread(target=self._repeat, args=(self._read,)) for _ in range(readers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]

    def settled(self, client: Client) -> bool:
        """Return whether every accepted payment is settled."""
        return {read(client, f"/v1/payments/{each}")["status"] for each in self.payments.values()} == {"settled"}

    def is_right(self, client: Client) -> None:
        """Check that every accepted payment is settled once: the statuses and both balances say so."""
        until(lambda: self.settled(client), "every payment is settled")
        assert len(set(self.payments.values())) == len(self.payments)
        spent = len(self.payments) * AMOUNT
        for account, value in ((self.payer, DEPOSIT - spent), (self.payee, spent)):
            path = f"/v1/accounts/{account}/balance"
            until(lambda: read(client, path)["available"] == value, f"{value} in {account}")  # noqa: B023

    def _repeat(self, action: Any) -> None:
        try:
            with Client.of(self.folder) as client:
                while not self._ended.is_set():
                    action(client)
                    self._ended.wait(_PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that waits
            self._failures.append(error)

    def _pay(self, client: Client) -> None:
        key = secrets.token_hex(8)
        body = payment_between(self.payer, self.payee)
        # It was perhaps accepted and answered badly, so it is repeated to its end even when the load has ended.
        answer = until(lambda: self._sent(client, "POST", "/v1/payments", body, key), "a payment is accepted")
        self.payments[key] = json.loads(answer.text)["id"]
        self._ended.wait(_BETWEEN_PAYMENTS_SECONDS)

    def _read(self, client: Client) -> None:
        found = list(self.payments.values())
        if found:
            self._sent(client, "GET", f"/v1/payments/{secrets.choice(found)}")

    def _sent(
        self, client: Client, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Answer | None:
        """Send a request once, and return its answer, or None when it may be sent again. Raises CliError when it is
        refused for good."""
        begin = time.time()
        try:
            answer = client.send(method, path, b"" if body is None else json.dumps(body).encode(), key=key)
        except CliError:
            answer = None
        end = time.time()
        self.requests += 1
        status = None if answer is None else answer.status
        if status is None or status >= 500 or end - begin >= self.slow_seconds:
            self.bad.append(Bad(begin, end, status))
        return None if answer is None else accepted(answer)
