"""Measurements and faults on the running cluster, which the tests and `cluster:smoke` share."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from cli.client import Answer, Client
from cli.errors import CliError
from tests.cluster.cluster import Cluster
from tests.cluster.deploying import NAMESPACE
from tests.servers.installing import Unavailable

WAIT_SECONDS: Final = 600
_PAUSE_SECONDS: Final = 0.5
_RETRIED: Final = frozenset({404, 409, 429, 500, 502, 503, 504})
BARE: Final = "bare-function"
_BARE_SOURCE: Final = """\
import functions_framework.aio


@functions_framework.aio.http
async def bare(request):
    return "OK"
"""


def until(condition: Callable[[], Any], what: str, *, seconds: float = WAIT_SECONDS) -> Any:
    """Return what `condition` returns once it is true. Raises Unavailable after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Unavailable(f"{what}: not within {seconds:.0f} s")
        time.sleep(_PAUSE_SECONDS)


def pods_of(cluster: Cluster, function: str) -> list[str]:
    """Return the names of a function's pods that are not ending."""
    found = cluster.get("pods", f"--namespace={NAMESPACE}", f"--selector=serving.knative.dev/service={function}")
    return [pod["metadata"]["name"] for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]


def deploy_bare_function(cluster: Cluster) -> None:
    """Deploy a function of the framework alone, in the same image: cold starts are compared with it."""
    metadata = {"name": BARE, "namespace": NAMESPACE}
    container = {
        "image": "dev.local/lastro:test",
        "command": ["python", "-m", "uvicorn", "functions_framework.aio:app"],
        "args": ["--host", "0.0.0.0", "--port", "8080", "--no-access-log"],
        "ports": [{"name": "http1", "containerPort": 8080}],
        "env": [
            {"name": "FUNCTION_TARGET", "value": "bare"},
            {"name": "FUNCTION_SOURCE", "value": "/source/main.py"},
        ],
        "volumeMounts": [{"name": "source", "mountPath": "/source", "readOnly": True}],
        "resources": {"requests": {"cpu": "1m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    template = {
        "metadata": {"annotations": {"autoscaling.knative.dev/scale-to-zero-pod-retention-period": "0s"}},
        "spec": {"containers": [container], "volumes": [{"name": "source", "configMap": {"name": BARE}}]},
    }
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"main.py": _BARE_SOURCE}},
            {
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Service",
                "metadata": {**metadata, "labels": {"networking.knative.dev/visibility": "cluster-local"}},
                "spec": {"template": template},
            },
        ]
    )
    cluster.wait("Ready", f"ksvc/{BARE}", f"--namespace={NAMESPACE}")


def cold_start(cluster: Cluster, function: str, path: str) -> float:
    """Wait until a function has no pod, send it a request, and return the seconds until the answer."""
    until(lambda: not pods_of(cluster, function), f"{function} is scaled to zero")
    service = cluster.get("service", "kourier-internal", "--namespace=kourier-system")
    host = f"{function}.{NAMESPACE}.svc.cluster.local"
    begin = time.monotonic()
    url = f"http://{service['spec']['clusterIP']}{path}"
    answer = httpx.get(url, headers={"host": host}, timeout=WAIT_SECONDS, trust_env=False)
    if answer.status_code != 200:
        raise Unavailable(f"{function} answered {answer.status_code}: {answer.text[:300]}")
    return time.monotonic() - begin


@dataclass
class Load:
    """Payments of one payer, each repeated under its key until it is accepted."""

    client: Client
    payer: str
    payee: str
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0

    def pay(self) -> None:
        """Order a payment of one real, again and again until it is accepted. Raises CliError when it is refused."""
        key = secrets.token_hex(8)
        body = {
            "amount": {"value": 100, "currency": "BRL"},
            "method": "internal",
            "payer_account_id": self.payer,
            "payee_account_id": self.payee,
            "capture": "automatic",
            "description": "load",
        }
        answer = until(lambda: self._sent(key, body), "a payment is accepted")
        self.accepted[key] = json.loads(answer.text)

    def _sent(self, key: str, body: Mapping[str, Any]) -> Answer | None:
        try:
            answer = self.client.send("POST", "/v1/payments", json.dumps(body).encode(), key=key)
        except CliError:
            self.refused += 1
            return None
        if answer.ok:
            return answer
        if answer.status not in _RETRIED:
            raise CliError(f"{answer.status} {answer.text}")
        self.refused += 1
        return None

    def statuses(self) -> list[str]:
        """Return the status of each accepted payment."""
        return [self.client.get(f"/v1/payments/{payment['id']}")["status"] for payment in self.accepted.values()]


def open_account(client: Client, name: str, document: str) -> str:
    """Register a person and open an account, and return the account's id."""
    person = {"kind": "customer", "name": name, "document": document, "email": "load@example.com"}
    user = client.post("/v1/users", person)
    account: dict[str, Any] = client.post("/v1/accounts", {"owner_id": user["id"], "currency": "BRL"})
    return str(account["id"])
