"""Kong's declarative file, as the gateway interprets it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from embedded.gateway.upstreams import upstreams_of
from embedded.manifests.findings import ManifestError
from embedded.manifests.loading import Manifests, load
from shared.core.problems import Problem
from tests.embedded.broker.small_platform import service, write
from tests.harness import Harness

ROOT = Path(__file__).parents[3]


def _manifests(
    root: Path, route: dict[str, Any] | None = None, plugins: Sequence[dict[str, Any]] = (), *, more: Sequence[Any] = ()
) -> Manifests:
    """Return the manifests of a Service with a route, and `more` routes."""
    route = {"name": "r", "methods": ["GET"], "paths": ["~/v1/x$"], "strip_path": False, **(route or {})}
    kong = {
        "_format_version": "3.0",
        "plugins": list(plugins),
        "services": [{"name": "x", "host": "x-f.lastro.svc.cluster.local", "routes": [route, *more]}],
    }
    return write(root, service("x-f"), "\n" + json.dumps(kong) + "\n")


def _limit(**config: Any) -> dict[str, Any]:
    return {"name": "rate-limiting", "config": {"limit_by": "header", "header_name": "X-Tenant-Id", **config}}


async def test_the_deployed_file_is_interpreted(harness: Harness) -> None:
    """Every deployed route has a Service, the rate limit of the embedded overlay, and Kong's size limit."""
    manifests = load(ROOT)
    router, upstreams = upstreams_of(manifests, harness.runtime)
    route = router.routes("/v1/payments")["POST"]
    assert upstreams[route].service == "payments-create-payment"
    assert upstreams[route].max_body_bytes == 256 * 1024
    gate = upstreams[route].rate_gate
    assert gate is not None
    assert (await gate("acme", None))["x-ratelimit-limit-second"] == "20000"
    assert {upstream.service for upstream in upstreams.values()} <= set(manifests.services)
    # Callbacks of providers are counted by address, on a cluster only.
    callback = router.routes("/v1/providers/pix/callbacks/pix")["POST"]
    assert upstreams[callback].rate_gate is None


async def test_routes_under_one_limit_count_together(harness: Harness, tmp_path: Path) -> None:
    """Requests of a tenant on all routes count together for the general limit."""
    other = {"name": "r2", "methods": ["POST"], "paths": ["~/v1/x$"], "strip_path": False}
    manifests = _manifests(tmp_path, plugins=[_limit(second=1)], more=[other])
    _, upstreams = upstreams_of(manifests, harness.runtime)
    first, second = upstreams["r"].rate_gate, upstreams["r2"].rate_gate
    assert first is not None
    assert second is not None
    await first("acme", None)
    with pytest.raises(Problem):
        await second("acme", None)


@pytest.mark.parametrize(
    ("route", "plugins", "reason"),
    [
        ({"strip_path": True}, [], "services.0.routes.0.strip_path: r strips its path; the path is signed"),
        ({}, [_limit(second=1, minute=3)], "services.0.routes.0: r has a rate limit with another period than `second`"),
        ({}, [_limit(minute=3)], "services.0.routes.0: r has a rate limit with another period than `second`"),
        (
            {},
            [_limit(second=1, limit_by="consumer")],
            "services.0.routes.0: r has a rate limit by consumer; here it must be limit_by header or ip",
        ),
        ({"paths": ["v1/x"]}, [], "services.0.routes.0.paths.0: 'v1/x' must begin with /"),
    ],
)
def test_an_unsupported_route_or_plugin_is_refused(
    harness: Harness, tmp_path: Path, route: dict[str, Any], plugins: list[dict[str, Any]], reason: str
) -> None:
    """A route or plugin that the gateway would interpret differently from Kong is refused at the start with file and
    line."""
    with pytest.raises(ManifestError, match=rf"knative/all\.yaml:18: Kong, {reason}"):
        upstreams_of(_manifests(tmp_path, route, plugins), harness.runtime)


def test_a_route_without_a_service_is_refused(harness: Harness, tmp_path: Path) -> None:
    """A route whose host is not a Service, and a missing Kong file, are errors."""
    manifests = _manifests(tmp_path)
    manifests.services.clear()
    with pytest.raises(ManifestError, match=r"services\.0\.host: there is no Service x-f"):
        upstreams_of(manifests, harness.runtime)
    with pytest.raises(ManifestError, match="no declarative configuration of Kong"):
        upstreams_of(Manifests(), harness.runtime)
