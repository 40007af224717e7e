"""Envoy in the place of Kong, which no package registry has: Kong's declarative file, translated.

Routes, methods, paths, the host of each service and the largest body are translated. Not translated are the limit of
requests by tenant, which the functions hold for tenants with a limit of their own; the header X-Tenant-Id, which
functions take from the token; metrics and traces. A field of a route or service that is not known here is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.images import ENVOY_IMAGE
from tests.cluster.places import NODE_ADDRESS

NAMESPACE: Final = "gateway"
PORT: Final = 30080
URL: Final = f"http://{NODE_ADDRESS}:{PORT}"
"""Where the machine reaches the gateway."""
_FILE: Final = Path(__file__).parents[2] / "knative" / "platform" / "kong" / "kong.yaml"
_KNATIVE: Final = "kourier-internal.kourier-system.svc.cluster.local"
_LISTENS: Final = 8000
_GROUP: Final = re.compile(r"\(\?<\w+>")
_SERVICE_FIELDS: Final = frozenset({"name", "host", "port", "protocol", "routes", "plugins", "tags"})
# Envoy never buffers a response.
_ROUTE_FIELDS: Final = frozenset(
    {"name", "methods", "paths", "strip_path", "preserve_host", "response_buffering", "plugins", "tags"}
)
_UNITS: Final = {"bytes": 1, "kilobytes": 1024, "megabytes": 1024**2}
_SECONDS: Final = 75
"""How long a request may take: longer than any function may."""
_TYPE: Final = "type.googleapis.com/envoy.extensions.filters"


class NotTranslated(ValueError):
    """Kong's file has something that this translation does not know."""


def envoy_of(kong: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bootstrap configuration of Envoy for a declarative configuration of Kong. Raises NotTranslated."""
    routes = [route for service in kong["services"] for route in _routes(service)]
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {"virtual_hosts": [{"name": "lastro", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "body",
                "typed_config": {"@type": f"{_TYPE}.http.buffer.v3.Buffer", "max_request_bytes": _largest_body(kong)},
            },
            {"name": "router", "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"}},
        ],
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "clients",
                    "address": _address("0.0.0.0", _LISTENS),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "knative",
                    "type": "STRICT_DNS",
                    "connect_timeout": "5s",
                    "load_assignment": {
                        "cluster_name": "knative",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(_KNATIVE, 80)}}]}],
                    },
                }
            ],
        }
    }


def resources() -> Iterator[dict[str, Any]]:
    """Return the resources of the gateway: namespace, configuration, Deployment and Service."""
    configuration = envoy_of(yaml.safe_load(_FILE.read_text(encoding="utf-8")))
    labels = {"app.kubernetes.io/name": "gateway"}
    named = {"name": "gateway", "namespace": NAMESPACE, "labels": labels}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": named,
        "data": {"envoy.yaml": yaml.safe_dump(configuration, sort_keys=False)},
    }
    container = {
        "name": "envoy",
        "image": ENVOY_IMAGE,
        "args": ["--config-path", "/etc/envoy/envoy.yaml", "--concurrency", "1"],
        "ports": [{"name": "http", "containerPort": _LISTENS}],
        "readinessProbe": {"tcpSocket": {"port": _LISTENS}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "configuration", "mountPath": "/etc/envoy"}],
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": named,
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "configuration", "configMap": {"name": "gateway"}}],
                },
            },
        },
    }
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": named,
        "spec": {
            "type": "NodePort",
            "selector": labels,
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": PORT}],
        },
    }


def _routes(service: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    _known(service, _SERVICE_FIELDS)
    for route in service["routes"]:
        _known(route, _ROUTE_FIELDS)
        if route.get("strip_path", True) or route.get("preserve_host", False):
            raise NotTranslated(f"the route {route['name']} changes the path, or keeps the client's host")
        methods = {
            "name": ":method",
            "string_match": {"safe_regex": {"regex": "|".join(route["methods"])}},
        }
        for path in route["paths"]:
            yield {
                "match": {**_matched(path), "headers": [methods]},
                "route": {"cluster": "knative", "host_rewrite_literal": service["host"], "timeout": f"{_SECONDS}s"},
            }


def _matched(path: str) -> dict[str, Any]:
    if not path.startswith("~"):
        return {"prefix": path}
    # Envoy's expressions match whole paths, and its engine may not know named groups.
    expression = _GROUP.sub("(?:", path.removeprefix("~"))
    whole = expression.removesuffix("$") if expression.endswith("$") else f"{expression}.*"
    return {"safe_regex": {"regex": whole}}


def _known(entry: Mapping[str, Any], fields: frozenset[str]) -> None:
    unknown = sorted(entry.keys() - fields)
    if unknown:
        raise NotTranslated(f"{entry['name']} has {', '.join(unknown)}, which the translation to Envoy does not know")


def _largest_body(kong: Mapping[str, Any]) -> int:
    for plugin in kong.get("plugins", []):
        if plugin["name"] == "request-size-limiting":
            config = plugin["config"]
            return int(config["allowed_payload_size"]) * _UNITS[config.get("size_unit", "megabytes")]
    raise NotTranslated("Kong's file has no limit of the size of a request")


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
