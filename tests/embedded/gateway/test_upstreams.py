"""Kong's file as the gateway plays it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embedded.gateway.upstreams import OVERLAY, upstreams_of
from embedded.manifests.loading import ManifestError, Manifests, load
from embedded.manifests.models import Kong, Service
from shared.core.problems import Problem

ROOT = Path(__file__).parents[3]


def _service(name: str) -> Service:
    return Service.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "env": [
                                    {"name": "FUNCTION_TARGET", "value": "f"},
                                    {"name": "FUNCTION_SOURCE", "value": "functions/x/f.py"},
                                ]
                            }
                        ]
                    }
                }
            },
        }
    )


def _manifests(route: dict[str, Any] | None = None, plugins: list[dict[str, Any]] | None = None) -> Manifests:
    route = {"name": "r", "methods": ["GET"], "paths": ["~/v1/x$"], "strip_path": False, **(route or {})}
    kong = {
        "_format_version": "3.0",
        "plugins": plugins or [],
        "services": [{"name": "x", "host": "x-f.lastro.svc.cluster.local", "routes": [route]}],
    }
    return Manifests(services={"x-f": _service("x-f")}, kong=Kong.model_validate(kong))


def _limit(**config: Any) -> dict[str, Any]:
    return {"name": "rate-limiting", "config": {"limit_by": "header", "header_name": "X-Tenant-Id", **config}}


def test_the_deployed_file_is_played() -> None:
    """Every deployed route leads to a Service, under the embedded overlay's limit and Kong's size."""
    manifests = load(ROOT)
    router, upstreams = upstreams_of(manifests, ROOT, max_body_bytes=2**20, seconds=lambda: 0.0)
    route = router.routes("/v1/payments")["POST"]
    assert upstreams[route].service == "payments-create-payment"
    assert upstreams[route].max_body_bytes == 256 * 1024
    gate = upstreams[route].rate_gate
    assert gate is not None
    assert gate("acme", None)["x-ratelimit-limit-second"] == "20000"
    assert {upstream.service for upstream in upstreams.values()} <= set(manifests.services)


def test_routes_under_one_limit_count_together(tmp_path: Path) -> None:
    """A tenant that has used up the general limit on one route has used it up on all."""
    manifests = _manifests(plugins=[_limit(second=1)])
    assert manifests.kong is not None
    other = {"name": "r2", "methods": ["POST"], "paths": ["~/v1/x$"], "strip_path": False}
    service = manifests.kong.services[0]
    routes = [*service.routes, service.routes[0].model_validate(other)]
    kong = manifests.kong.model_copy(update={"services": [service.model_copy(update={"routes": routes})]})
    manifests.kong = kong
    _, upstreams = upstreams_of(manifests, tmp_path, max_body_bytes=10, seconds=lambda: 0.0)
    first, second = upstreams["r"].rate_gate, upstreams["r2"].rate_gate
    assert first is not None
    assert second is not None
    first("acme", None)
    with pytest.raises(Problem):
        second("acme", None)


def test_the_overlay_replaces_the_general_plugins_of_its_names(tmp_path: Path) -> None:
    """The embedded overlay's rate limit stands in place of the file's; what it does not name stays."""
    (tmp_path / OVERLAY).parent.mkdir(parents=True)
    (tmp_path / OVERLAY).write_text(
        "plugins: [{name: rate-limiting, config: {second: 7, limit_by: header, header_name: X-Tenant-Id}}]"
    )
    size = {"name": "request-size-limiting", "config": {"allowed_payload_size": 5, "size_unit": "bytes"}}
    _, upstreams = upstreams_of(
        _manifests(plugins=[_limit(second=1), size]), tmp_path, max_body_bytes=10, seconds=lambda: 0.0
    )
    gate = upstreams["r"].rate_gate
    assert gate is not None
    assert gate("acme", None)["ratelimit-limit"] == "7"
    assert upstreams["r"].max_body_bytes == 5


@pytest.mark.parametrize(
    ("route", "plugins", "reason"),
    [
        ({"strip_path": True}, [], "strip_path"),
        ({}, [_limit(second=1, minute=3)], "set `second` alone"),
        ({}, [_limit(minute=3)], "set `second` alone"),
        ({}, [_limit(second=1, limit_by="ip")], "limit_by"),
        ({"paths": ["v1/x"]}, [], "must begin with"),
    ],
)
def test_what_is_not_supported_is_refused(
    tmp_path: Path, route: dict[str, Any], plugins: list[dict[str, Any]], reason: str
) -> None:
    """A route or plugin that would silently work otherwise than on Kong is an error at start that names it."""
    with pytest.raises(ManifestError, match=reason):
        upstreams_of(_manifests(route, plugins), tmp_path, max_body_bytes=10, seconds=lambda: 0.0)


def test_a_route_to_nowhere_is_refused(tmp_path: Path) -> None:
    """A route whose host is no Service, or no file of Kong's at all, is an error."""
    manifests = _manifests()
    manifests.services.clear()
    with pytest.raises(ManifestError, match="no Knative Service is named x-f"):
        upstreams_of(manifests, tmp_path, max_body_bytes=10, seconds=lambda: 0.0)
    with pytest.raises(ManifestError, match="no declarative configuration"):
        upstreams_of(Manifests(), tmp_path, max_body_bytes=10, seconds=lambda: 0.0)
