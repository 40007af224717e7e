"""`task operator -- COMMAND`: a command of `lastro` in a cluster, in the pod of the job that prepares the stores."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from deployment.cluster import Kubernetes
from deployment.commands import ROOT, DeploymentFailed, kustomize, output_of
from deployment.waiting import wait_for_job

MANIFESTS: Final = ROOT / "knative" / "overlays" / "production" / "migrate"
_SECONDS: Final = 1800
"""The job's own limit."""
_OF_THE_JOB: Final = "lastro-migrate"


def run(cluster: Kubernetes, arguments: Sequence[str], *, manifests: Path = MANIFESTS) -> None:
    """Run `lastro ARGUMENTS` once in a pod with the rights and connections of the job, and print its output.

    The image is that of the manifests. Raises DeploymentFailed with the last lines of the output when it fails.
    """
    if not arguments:
        raise DeploymentFailed("which command? for example `task operator -- ledger verify`")
    built = yaml.safe_load_all(output_of([kustomize(), "build", str(manifests)]))
    job = next((one for one in built if one["kind"] == "Job" and one["metadata"]["name"] == _OF_THE_JOB), None)
    if job is None:
        raise DeploymentFailed(f"{manifests} has no job {_OF_THE_JOB}")
    name, namespace = f"lastro-operator-{secrets.token_hex(4)}", job["metadata"]["namespace"]
    cluster.apply([_with(job, name, arguments)])
    try:
        wait_for_job(cluster, namespace, name, seconds=_SECONDS)
        print(cluster.kubectl("logs", f"job/{name}", f"--namespace={namespace}", "--tail=-1"), end="")
    finally:
        cluster.kubectl("delete", f"job/{name}", f"--namespace={namespace}", "--ignore-not-found", "--wait=false")


def _with(job: dict[str, Any], name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the job under another name with another command. It is not one of Argo CD's, and is not repeated."""
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    changed = {**container, "name": "operator", "args": list(arguments)}
    pod = {**spec["template"]["spec"], "containers": [changed]}
    metadata = {"name": name, "namespace": job["metadata"]["namespace"], "labels": job["metadata"]["labels"]}
    template = {**spec["template"], "spec": pod}
    return {**job, "metadata": metadata, "spec": {**spec, "backoffLimit": 0, "template": template}}
