"""The Services of a namespace, their traffic, and the records of releases, by the API of the cluster."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_TIMEOUT_SECONDS: Final = 10.0
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MERGE: Final = "application/merge-patch+json"
_NAMESPACE: Final = "/apis/serving.knative.dev/v1/namespaces/{}"
_SERVING: Final = f"{_NAMESPACE}/services"
_REVISIONS: Final = f"{_NAMESPACE}/revisions"
BLUE: Final = "blue"
"""The tag of the revision that has the traffic until a release is complete."""
GREEN: Final = "green"
"""The tag of the new revision, which has an address of its own from the beginning."""


class ClusterError(Exception):
    """The cluster's API did not answer, or refused. The text says what was asked and why it failed."""


class NotFound(ClusterError):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """A part of the traffic of a Service."""

    revision: str
    percent: int
    tag: str = ""

    def document(self) -> dict[str, Any]:
        """Return the entry of `spec.traffic`."""
        tag = {"tag": self.tag} if self.tag else {}
        return {"revisionName": self.revision, "percent": self.percent, "latestRevision": False, **tag}


@dataclass(frozen=True, slots=True)
class FunctionService:
    """What the controller needs to know of a Service."""

    name: str
    created: str
    """The newest revision, or "" before there is one."""
    ready: str
    """The newest revision that was ready, or ""."""
    traffic: tuple[Traffic, ...]
    """Of named revisions only. Empty: all traffic goes to the newest revision that is ready."""
    is_settled: bool
    """Whether Knative has seen the present manifest."""
    has_failed: bool
    """Whether the newest revision will not become ready by itself."""
    image: str
    annotations: Mapping[str, str]

    @property
    def stable(self) -> str:
        """The revision with the most traffic, or ""."""
        return max(self.traffic, key=lambda part: part.percent).revision if self.traffic else ""


def service_of(document: Mapping[str, Any]) -> FunctionService:
    """Read a Service of serving.knative.dev/v1."""
    metadata, spec, status = document["metadata"], document["spec"], document.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    configured = conditions.get("ConfigurationsReady", {})
    named = [part for part in spec.get("traffic") or [] if part.get("revisionName")]
    return FunctionService(
        name=metadata["name"],
        created=status.get("latestCreatedRevisionName") or "",
        ready=status.get("latestReadyRevisionName") or "",
        traffic=tuple(Traffic(part["revisionName"], part.get("percent") or 0, part.get("tag", "")) for part in named),
        is_settled=status.get("observedGeneration") == metadata.get("generation"),
        has_failed=configured.get("status") == "False",
        image=spec["template"]["spec"]["containers"][0]["image"],
        annotations=metadata.get("annotations") or {},
    )


def _is_empty(status: Mapping[str, Any]) -> bool:
    return (status.get("desiredReplicas") or 0) > 0 and not status.get("actualReplicas")


class Cluster:
    """A client of the cluster's API with the rights of the pod's service account."""

    def __init__(
        self, url: str, namespace: str, own: str, *, token_file: Path | None = None, ca: Path | None = None
    ) -> None:
        """`namespace` has the Services and `own` the records. The token is read for each request: it is rotated."""
        self._url = url.rstrip("/")
        self._namespace, self._own = namespace, own
        self._token_file = token_file
        self._tls = ssl.create_default_context(cafile=str(ca)) if ca is not None else None

    @classmethod
    def of_pod(cls, environment: Mapping[str, str], namespace: str, own: str) -> Cluster:
        """Return the client of a pod. Raises ClusterError outside a cluster."""
        host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
        if not host:
            raise ClusterError("this is not a pod: KUBERNETES_SERVICE_HOST is not set")
        host = f"[{host}]" if ":" in host else host
        return cls(f"https://{host}:{port}", namespace, own, token_file=_ACCOUNT / "token", ca=_ACCOUNT / "ca.crt")

    def services(self) -> list[FunctionService]:
        """Return the Services of the namespace, ordered by name."""
        found = self._call("GET", _SERVING.format(self._namespace))
        return sorted(map(service_of, found["items"]), key=lambda service: service.name)

    def empty_revisions(self) -> set[str]:
        """Return the revisions that want instances of which none is ready: they are starting, or have failed."""
        found = self._call("GET", _REVISIONS.format(self._namespace))
        return {each["metadata"]["name"] for each in found["items"] if _is_empty(each.get("status") or {})}

    def route(self, name: str, parts: Sequence[Traffic]) -> None:
        """Set the traffic of a Service."""
        body = {"spec": {"traffic": [part.document() for part in parts]}}
        self._call("PATCH", f"{_SERVING.format(self._namespace)}/{name}", body, _MERGE)

    def record(self, name: str) -> dict[str, str] | None:
        """Return the data of a ConfigMap, or None when there is none."""
        try:
            return self._call("GET", self._map(name)).get("data") or {}
        except NotFound:
            return None

    def write_record(self, name: str, data: Mapping[str, str]) -> None:
        """Store the data of a ConfigMap, which is created when it does not exist."""
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "lastro"}},
            "data": dict(data),
        }
        try:
            self._call("PATCH", self._map(name), {"data": dict(data)}, _MERGE)
        except NotFound:
            self._call("POST", f"/api/v1/namespaces/{self._own}/configmaps", document)

    def remove_record(self, name: str) -> None:
        """Delete a ConfigMap, if it exists."""
        try:
            self._call("DELETE", self._map(name))
        except NotFound:
            return

    def _map(self, name: str) -> str:
        return f"/api/v1/namespaces/{self._own}/configmaps/{name}"

    def _call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> dict[str, Any]:
        headers = {"accept": "application/json", "content-type": kind}
        if self._token_file is not None:
            headers["authorization"] = f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)  # noqa: S310 - the cluster's
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=self._tls) as response:  # noqa: S310
                found: dict[str, Any] = json.load(response)
                return found
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(500).decode(errors="replace")
            kind_of_error = NotFound if error.code == 404 else ClusterError
            raise kind_of_error(f"{method} {path} was answered {error.code}: {said}") from None
        except (OSError, ValueError) as error:
            raise ClusterError(f"{method} {path} failed: {getattr(error, 'reason', error)}") from None
