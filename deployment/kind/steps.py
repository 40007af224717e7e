"""`kind:up`, `kind:status`, `kind:smoke` and `kind:down`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from typing import Final

from cli.client import Client
from deployment import functions, tenant, waiting
from deployment.cluster import Kubernetes
from deployment.commands import ROOT, CommandFailed, DeploymentFailed, output_of
from deployment.kind import installing, machine, secrets, vault
from deployment.kind.memory import KIND
from deployment.payment import show_payment
from deployment.progress import step

NAME: Final = "lastro"
CONTEXT: Final = f"kind-{NAME}"
FOLDER: Final = ROOT / ".lastro" / "kind"
"""Passwords, keys and the client's credentials, mode 0700. `down` removes it."""
IMAGES: Final = {"dev.local/lastro:kind": "Dockerfile", "dev.local/lastro-operator:kind": "Dockerfile.operator"}
STORES: Final = ("kafka", "mongodb", "cassandra", "redis", "vault", "keycloak")
EXTRAS: Final = (secrets.UNLEASH, secrets.OBSERVABILITY)
"""What `kind:up` installs only when it is asked to: it does not fit into 8 GiB beside the rest."""
KINDS: Final = (*functions.WIRING, "kafkasource")
_READY: Final = (
    ("kafka", "condition=Ready", "kafka/lastro"),
    ("mongodb", "jsonpath={.status.state}=ready", "psmdb/lastro"),
    ("cassandra", "condition=Ready", "cassandradatacenter/dc1"),
)
_ROLLED_OUT: Final = (("redis", "statefulset/redis"), ("keycloak", "statefulset/keycloak"))
_FORWARD_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.2
_JOB: Final = "lastro-migrate"


def up(extras: frozenset[str] = frozenset()) -> None:
    """Make the cluster, and put Lastro on it with a tenant. What is there stays. Raises DeploymentFailed."""
    step("programs and container engine", machine.check_programs)
    if NAME not in clusters():
        machine.check_memory(with_extras=bool(extras))
        machine.check_ports()
        # The passwords and keys of a cluster that is no more.
        _forget()
        step("cluster", _make)
    cluster = Kubernetes(["kubectl", f"--context={CONTEXT}"])
    step("node", lambda: _check_node(cluster))
    step("images", _images)
    step("Knative Serving", lambda: installing.knative_serving(cluster))
    step("Knative Eventing", lambda: installing.knative_eventing(cluster))
    step("memory of Knative", lambda: installing.limit_memory(cluster))
    step("operators", lambda: installing.operators(cluster, CONTEXT, extras))
    passwords = secrets.Passwords(FOLDER)
    step("secrets", lambda: cluster.apply(list(secrets.resources(passwords, extras))))
    step("stores", lambda: _stores(cluster, extras))
    step("Vault", lambda: vault.prepare(cluster, passwords, extras))
    step("manifests", lambda: cluster.apply_folder(KIND))
    step("tables, keys and roles", lambda: _migrate(cluster))
    if secrets.OBSERVABILITY in extras:
        step("releases", lambda: cluster.apply_folder(KIND / "platform" / "release"))
    step("functions", lambda: _wait_for_functions(cluster))
    step("tenant", lambda: _tenant(passwords))
    print(f"ready: `task kind:smoke` pays; ./lastro request --data-dir {FOLDER.relative_to(ROOT)} GET /v1/payments")


def status() -> None:
    """Print what is ready, and the pods that are not. Raises DeploymentFailed when there is no cluster."""
    cluster = _running()
    functions.show_readiness(cluster, KINDS)
    wrong = "--field-selector=status.phase!=Running,status.phase!=Succeeded"
    print(cluster.kubectl("get", "pods", "--all-namespaces", wrong), end="")


def smoke() -> int:
    """Show what is ready, and pay once through the gateway. Returns an exit code. Raises CliError."""
    complete = functions.show_readiness(_running(), KINDS)
    _forward()
    with Client.of(FOLDER) as client:
        show_payment(client, rail=False)
    return 0 if complete else 1


def down() -> None:
    """Delete the cluster with everything on it, and the folder with its passwords. Raises DeploymentFailed."""
    _end_forwarding()
    output_of(["kind", "delete", "cluster", f"--name={NAME}"])
    _forget()


def clusters() -> list[str]:
    """Return the names of the clusters of kind on this machine. Raises DeploymentFailed."""
    return output_of(["kind", "get", "clusters"]).split()


def _running() -> Kubernetes:
    if NAME not in clusters():
        raise DeploymentFailed("there is no cluster on kind: `task kind:up`")
    return Kubernetes(["kubectl", f"--context={CONTEXT}"])


def _make() -> None:
    try:
        output_of(["kind", "create", "cluster", f"--config={KIND / 'cluster.yaml'}", "--wait=300s"])
    except CommandFailed:
        # A half cluster would look like a whole one to the next run.
        with contextlib.suppress(CommandFailed):
            output_of(["kind", "delete", "cluster", f"--name={NAME}"])
        raise


def _check_node(cluster: Kubernetes) -> None:
    try:
        # The kubeconfig of the user may have lost the context, and a node that was stopped starts again by Docker.
        output_of(["kind", "export", "kubeconfig", f"--name={NAME}"])
        waiting.wait(cluster, "kube-system", "wait", "--for=condition=Ready", "node", "--all", seconds=300)
    except DeploymentFailed as error:
        raise DeploymentFailed(
            f"the cluster was made only half, or its node does not run: `task kind:down`, then start again\n{error}"
        ) from None


def _images() -> None:
    for name, file in IMAGES.items():
        output_of(["docker", "build", f"--tag={name}", f"--file={ROOT / file}", str(ROOT)])
    output_of(["kind", "load", "docker-image", f"--name={NAME}", *IMAGES])


def _stores(cluster: Kubernetes, extras: frozenset[str]) -> None:
    for name in (*STORES, *sorted(extras)):
        cluster.apply_folder(KIND / "platform" / name)
    for namespace, condition, what in _READY:
        waiting.wait(cluster, namespace, "wait", f"--for={condition}", what)
    more = (("unleash", "deployment/unleash"),) if secrets.UNLEASH in extras else ()
    for namespace, what in (*_ROLLED_OUT, *more):
        waiting.wait(cluster, namespace, "rollout", "status", what)


def _migrate(cluster: Kubernetes) -> None:
    # A job cannot be changed: it is made again.
    cluster.kubectl("delete", f"job/{_JOB}", f"--namespace={functions.NAMESPACE}", "--ignore-not-found")
    cluster.apply_folder(KIND / "platform" / "migrate")
    try:
        waiting.wait_for_job(cluster, functions.NAMESPACE, _JOB)
    except DeploymentFailed as error:
        raise DeploymentFailed(f"the stores could not be prepared\n{error}") from None


def _wait_for_functions(cluster: Kubernetes) -> None:
    functions.wait(cluster, KINDS)
    waiting.wait(cluster, "kong", "rollout", "status", "deployment/kong")


def _tenant(passwords: secrets.Passwords) -> None:
    _forward()
    token_url = f"http://localhost:{machine.KEYCLOAK_PORT}/realms/lastro/protocol/openid-connect/token"
    tenant.create(tenant.Platform(f"http://localhost:{machine.GATEWAY_PORT}", token_url, passwords["platform"]), FOLDER)


def _forward() -> None:
    """Forward a port of this machine to Keycloak, if it is not, until `down`."""
    if machine.is_taken(machine.KEYCLOAK_PORT):
        return
    command = ["kubectl", f"--context={CONTEXT}", "--namespace=keycloak", "port-forward", "service/keycloak"]
    with (FOLDER / "port-forward.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, f"{machine.KEYCLOAK_PORT}:80"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    secrets.write_private(FOLDER / "port-forward.pid", str(process.pid))
    deadline = time.monotonic() + _FORWARD_SECONDS
    while not machine.is_taken(machine.KEYCLOAK_PORT):
        if process.poll() is not None or time.monotonic() > deadline:
            raise DeploymentFailed(f"port {machine.KEYCLOAK_PORT} is not forwarded: {FOLDER / 'port-forward.log'}")
        time.sleep(_POLL_SECONDS)
    # It goes on when this process ends, and is ended by `down`.
    process.returncode = 0


def _end_forwarding() -> None:
    path = FOLDER / "port-forward.pid"
    if not path.exists():
        return
    pid = int(path.read_text(encoding="ascii"))
    # Another process may have the number since the machine was started again.
    with contextlib.suppress(CommandFailed, ProcessLookupError):
        if "port-forward" in output_of(["ps", "-p", str(pid), "-o", "args="]):
            os.kill(pid, signal.SIGTERM)
    path.unlink()


def _forget() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
