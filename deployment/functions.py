"""The functions and their wiring in the namespace `lastro`: Secrets, manifests, and what is ready."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deployment.cluster import WAIT_SECONDS, Kubernetes, is_ready
from deployment.commands import DeploymentFailed
from deployment.waiting import Watch

NAMESPACE: Final = "lastro"
WIRING: Final = ("ksvc", "broker", "trigger", "pingsource")
"""The kinds that every cluster has; each brings topics to the Broker by a kind of source of its own."""
_LOOK_AGAIN_SECONDS: Final = 5.0


def secrets_of(connections: Mapping[str, str], provisioning_secret: str) -> list[dict[str, Any]]:
    """Return the Secrets that the functions read: settings whose values have passwords, and the secret of the client
    that registers tenants at Keycloak."""
    content = {"lastro-connections": connections, "lastro-provisioning": {"client-secret": provisioning_secret}}
    return [secret(NAMESPACE, name, values) for name, values in content.items()]


def secret(namespace: str, name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Return a Secret with these values."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)}


def namespace(name: str) -> dict[str, Any]:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def apply(cluster: Kubernetes, overlay: Path, secrets: Sequence[Mapping[str, Any]]) -> None:
    """Apply the Secrets and then the manifests of an overlay. Raises CommandFailed."""
    cluster.apply([namespace(NAMESPACE), *secrets])
    cluster.apply_folder(overlay)


def wait(cluster: Kubernetes, kinds: Sequence[str]) -> None:
    """Wait until everything of these kinds is ready, and let a controller look again at what is not.

    Knative makes longer and longer pauses before it looks again at a Trigger whose function had no address yet: up to a
    quarter of an hour on a busy machine. Raises DeploymentFailed, at once when a pod has failed for good.
    """
    watch = Watch(cluster, NAMESPACE)
    for kind in kinds:
        deadline = time.monotonic() + WAIT_SECONDS
        while waiting := next(readiness(cluster, (kind,)))[2]:
            if time.monotonic() > deadline:
                raise DeploymentFailed(f"{kind} {', '.join(waiting)}: not ready within {WAIT_SECONDS} s")
            watch.check()
            time.sleep(_LOOK_AGAIN_SECONDS)
            if kind != "ksvc":
                mark = f"lastro.dev/looked-at={time.monotonic():.0f}"
                cluster.kubectl("annotate", kind, *waiting, f"--namespace={NAMESPACE}", "--overwrite", mark)


def readiness(cluster: Kubernetes, kinds: Sequence[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Yield for each kind how many there are, and the names of those that are not ready. Raises CommandFailed."""
    for kind in kinds:
        found = cluster.get(kind, f"--namespace={NAMESPACE}")["items"]
        yield kind, len(found), [each["metadata"]["name"] for each in found if not is_ready(each)]


def show_readiness(cluster: Kubernetes, kinds: Sequence[str]) -> bool:
    """Print a line for each kind, and return whether everything is ready."""
    complete = True
    for kind, count, wrong in readiness(cluster, kinds):
        print(f"{kind}: {count - len(wrong)} of {count} ready", *wrong)
        complete = complete and count > 0 and not wrong
    return complete
