"""A small API server of a cluster and a small Prometheus, over real HTTP."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from shared.release.indicators import LAG, OBJECTIVES, Kind, Objective
from shared.release.queries import query_of

SERVICES = "/apis/serving.knative.dev/v1/namespaces/lastro/services"
REVISIONS = "/apis/serving.knative.dev/v1/namespaces/lastro/revisions"
MAPS = "/api/v1/namespaces/lastro-release/configmaps"
ALL = (*OBJECTIVES.values(), LAG)


class FakeCluster:
    """Services with revisions, ConfigMaps, and what Prometheus knows of each objective."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.maps: dict[str, dict[str, str]] = {}
        self.instances: dict[str, tuple[int, int]] = {}
        """The instances of a revision that are wanted and those that are ready; one of one unless it is here."""
        self.values: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.queries: list[str] = []
        self.broken: list[tuple[str, str]] = []
        """A method and a part of a path that fail once each."""
        self.tokens: set[str] = set()
        self.prometheus_status = 200
        self._lock = threading.Lock()

    # What a test does

    def deploy(self, name: str, revision: str, image: str, *, ready: bool = True, failed: bool = False) -> None:
        """Apply a manifest: a new revision, whose traffic stays as it is."""
        old = self.services.get(name)
        generation = old["metadata"]["generation"] + 1 if old else 1
        status = {
            "observedGeneration": generation,
            "latestCreatedRevisionName": revision,
            "latestReadyRevisionName": revision
            if ready
            else (old or {}).get("status", {}).get("latestReadyRevisionName"),
            "conditions": [
                {"type": "ConfigurationsReady", "status": "False" if failed else "True" if ready else "Unknown"}
            ],
        }
        annotations = {
            "lastro.dev/commit": f"commit-of-{image}",
            "lastro.dev/traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
        }
        self.services[name] = {
            "metadata": {"name": name, "generation": generation, "annotations": annotations},
            "spec": {
                "template": {"spec": {"containers": [{"image": image}]}},
                "traffic": old["spec"]["traffic"] if old else [{"latestRevision": True, "percent": 100}],
            },
            "status": status,
        }

    def traffic(self, name: str) -> dict[str, int]:
        """Return the percentages of a Service by tag."""
        return {part.get("tag", "latest"): part["percent"] for part in self.services[name]["spec"]["traffic"]}

    def good(self) -> None:
        """Let every objective be met, with enough observations."""
        for objective in ALL:
            self.values[objective.key] = 0.0 if objective.kind in (Kind.SHARE, Kind.LEVEL) else objective.limit / 2
            self.counts[objective.key] = 100_000

    # The two servers

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        with self._lock:
            for one in self.broken:
                if one[0] == method and one[1] in path:
                    self.broken.remove(one)
                    return 500, {"message": "broken"}
            if path == "/api/v1/query":
                return self._query(parse_qs(body.decode())["query"][0])
            return self._api(method, path, json.loads(body) if body else {})

    def _api(self, method: str, path: str, document: dict[str, Any]) -> tuple[int, Any]:
        if path == SERVICES:
            return 200, {"items": list(self.services.values())}
        if path == REVISIONS:
            return 200, {"items": [self._revision(name) for name in self._revisions()]}
        if path.startswith(f"{SERVICES}/") and method == "PATCH":
            found = self.services[path.rpartition("/")[2]]
            parts = document["spec"]["traffic"]
            if sum(part["percent"] for part in parts) != 100:
                return 422, {"message": "traffic must sum to 100"}
            found["spec"]["traffic"] = parts
            found["metadata"]["generation"] += 1
            found["status"]["observedGeneration"] += 1
            return 200, found
        if path == MAPS and method == "POST":
            self.maps[document["metadata"]["name"]] = document["data"]
            return 201, document
        name = path.rpartition("/")[2]
        if not path.startswith(f"{MAPS}/") or name not in self.maps:
            return 404, {"message": f"{path} not found"}
        if method == "DELETE":
            del self.maps[name]
        elif method == "PATCH":
            self.maps[name].update(document["data"])
        return 200, {"data": self.maps.get(name, {})}

    def _revisions(self) -> set[str]:
        return {service["status"]["latestCreatedRevisionName"] for service in self.services.values()}

    def _revision(self, name: str) -> dict[str, Any]:
        wanted, ready = self.instances.get(name, (1, 1))
        # Knative leaves out a number of zero.
        status = {"desiredReplicas": wanted, "actualReplicas": ready}
        return {"metadata": {"name": name}, "status": {key: value for key, value in status.items() if value}}

    def _query(self, query: str) -> tuple[int, Any]:
        self.queries.append(query)
        if self.prometheus_status != 200:
            return self.prometheus_status, {"status": "error", "error": "away"}
        plain = re.sub(r'service_version=~"[^"]*",', "", query)
        plain = re.sub(r"\[\d+s\]", "[W]", plain)
        value = next((found for objective in ALL if (found := self._of(objective, plain)) is not None), None)
        result = [] if value is None else [{"metric": {}, "value": [0, str(value)]}]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}

    def _of(self, objective: Objective, query: str) -> float | None:
        own = query_of(objective)
        if query == own.text(own.value, "", "W"):
            return self.values.get(objective.key)
        if query == own.text(own.total, "", "W"):
            return float(
                max((self.counts.get(one.key, 0) for one in ALL if query_of(one).total == own.total), default=0)
            )
        return None


@contextmanager
def serving(cluster: FakeCluster) -> Iterator[str]:
    """Serve the cluster on a free port and return the URL."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path != "/api/v1/query":
                cluster.tokens.add(self.headers.get("authorization", ""))
            status, document = cluster.answer(self.command, self.path, body)
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815 - the names are the library's

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
