"""Measurements and faults on the running cluster, which the tests and `cluster:smoke` share."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
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
AMOUNT: Final = 1_00
"""What each payment is, in centavos."""
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

    def answered() -> bool:
        # On a busy machine Knative's activator gives up before the function has started, and the next request waits on.
        return httpx.get(url, headers={"host": host}, timeout=WAIT_SECONDS, trust_env=False).status_code == 200

    until(answered, f"an answer of {function}")
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
            "amount": {"value": AMOUNT, "currency": "BRL"},
            "method": "internal",
            "payer_account_id": self.payer,
            "payee_account_id": self.payee,
            "capture": "automatic",
            "description": "load",
        }
        answer = until(lambda: self._sent(key, body), "a payment is accepted")
        self.accepted[key] = json.loads(answer.text)

    def _sent(self, key: str, body: Mapping[str, Any]) -> Answer | None:
        answer = sent(self.client, "/v1/payments", key, body)
        self.refused += answer is None
        return answer

    def statuses(self) -> list[str]:
        """Return the status of each accepted payment."""
        return [read(self.client, f"/v1/payments/{payment['id']}")["status"] for payment in self.accepted.values()]


def pay_once(client: Client) -> Iterator[tuple[str, float]]:
    """Open two accounts, deposit by PIX and pay once, and yield each step with the seconds that it took.

    Raises Unavailable when a step has no outcome, and CliError when one is refused.
    """
    begin = time.monotonic()

    def passed() -> float:
        nonlocal begin
        seconds, begin = time.monotonic() - begin, time.monotonic()
        return seconds

    payer, payee = (open_account(client, name, new_cpf()) for name in ("Ana Souza", "Bruno Lima"))
    yield "two accounts are open", passed()
    deposit(client, payer, 100_00)
    yield "a deposit by PIX is in the account", passed()
    load = Load(client, payer, payee)
    load.pay()
    yield "a signed payment is accepted", passed()
    until(lambda: load.statuses() == ["settled"], "the payment is settled")
    yield "and settled", passed()
    until(lambda: read(client, f"/v1/accounts/{payee}/balance")["available"] == AMOUNT, "the payee's balance")
    yield "and in the payee's balance", passed()


def ordered(client: Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send a POST under one key until it is answered, and return the answer's body. Raises CliError when it is
    refused."""
    key = secrets.token_hex(8)
    answer: Answer = until(lambda: sent(client, path, key, body), f"POST {path} is accepted")
    found: dict[str, Any] = answer.body
    return found


def read(client: Client, path: str) -> Any:
    """Send a GET until it is answered, and return the answer's body. Raises CliError when it is refused."""

    def answered() -> Answer | None:
        try:
            answer = client.send("GET", path)
        except CliError:
            return None
        if answer.ok:
            return answer
        if answer.status not in _RETRIED:
            raise CliError(f"{answer.status} {answer.text}")
        return None

    return until(answered, f"an answer to GET {path}").body


def sent(client: Client, path: str, key: str, body: Mapping[str, Any]) -> Answer | None:
    """Send a POST once, and return its answer, or None when it may be sent again under the key. Raises CliError when it
    is refused for good."""
    try:
        answer = client.send("POST", path, json.dumps(body).encode(), key=key)
    except CliError:
        return None
    if answer.ok:
        return answer
    if answer.status not in _RETRIED:
        raise CliError(f"{answer.status} {answer.text}")
    return None


def deposit(client: Client, account: str, value: int) -> None:
    """Deposit an amount by PIX and wait until the account has it."""
    amount = {"value": value, "currency": "BRL"}
    ordered(client, "/v1/deposits", {"account_id": account, "amount": amount, "method": "pix"})
    until(lambda: read(client, f"/v1/accounts/{account}/balance")["available"] == value, "the deposit")


def new_cpf() -> str:
    """Return a random taxpayer number with valid check digits, which is most probably unused."""
    digits = [secrets.randbelow(10) for _ in range(9)]
    for _ in range(2):
        total = sum(digit * weight for digit, weight in zip(digits, range(len(digits) + 1, 1, -1), strict=True))
        digits.append(0 if total % 11 < 2 else 11 - total % 11)
    return "".join(map(str, digits))


def open_account(client: Client, name: str, cpf: str) -> str:
    """Register a person and open an account, and return the account's id."""
    document = {"type": "cpf", "number": cpf}
    person = {"kind": "customer", "name": name, "document": document, "email": "load@example.com"}
    user = ordered(client, "/v1/users", person)
    return str(ordered(client, "/v1/accounts", {"owner_id": user["id"], "currency": "BRL"})["id"])
