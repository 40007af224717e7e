"""Measurements on the running cluster: the pods of a function, and its cold start beside a bare function's."""

from __future__ import annotations

import time
from typing import Final

import httpx

from deployment.functions import NAMESPACE
from deployment.payment import WAIT_SECONDS, until
from tests.cluster.cluster import Cluster

BARE: Final = "bare-function"
_BARE_SOURCE: Final = """\
import functions_framework.aio


@functions_framework.aio.http
async def bare(request):
    return "OK"
"""


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
