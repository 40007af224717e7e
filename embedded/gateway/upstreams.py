"""From Kong's declarative file to the gateway's routes: which Service answers what, and under which limits."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import yaml

from embedded.gateway.gateway import Upstream
from embedded.gateway.rate_limits import RateLimits
from embedded.gateway.routing import BadRoute, Router
from embedded.manifests.loading import ManifestError, Manifests
from embedded.manifests.models import Kong, KongPlugin, KongRoute, KongService, RateLimit
from shared.functions.decorators import operation_of
from shared.http.messages import RateGate
from shared.http.operation import HttpOperation

OVERLAY: Final = "knative/overlays/embedded/kong.yaml"


def upstreams_of(
    manifests: Manifests, root: Path, *, max_body_bytes: int, seconds: Callable[[], float]
) -> tuple[Router, dict[str, Upstream]]:
    """The router over the names of Kong's routes, and the upstream behind each name. Raises ManifestError."""
    if manifests.kong is None:
        raise ManifestError("there is no declarative configuration of Kong among the manifests")
    kong = _overlaid(manifests.kong, root / OVERLAY)
    gates: dict[tuple[int | None, str], RateGate] = {}
    routes: list[tuple[list[str], str, str]] = []
    upstreams: dict[str, Upstream] = {}
    for service in kong.services:
        for route in service.routes:
            _check(manifests, service, route)
            limit = kong.max_body_bytes(service, route)
            upstreams[route.name] = Upstream(
                service.function,
                _gate(kong.rate_limit(service, route), gates, seconds, route.name),
                min(max_body_bytes, limit or max_body_bytes),
            )
            routes += [(route.methods, path, route.name) for path in route.paths]
    try:
        return Router.of(routes), upstreams
    except BadRoute as error:
        raise ManifestError(f"Kong's routes: {error}") from None


def routed_operations(manifests: Manifests) -> list[HttpOperation]:
    """The operations behind Kong's routes, imported. Raises ManifestError for a route without one."""
    found = []
    names = dict.fromkeys(service.function for service in (manifests.kong.services if manifests.kong else ()))
    for name in names:
        service = manifests.services.get(name)
        target = None if service is None else getattr(import_module(service.module), service.target, None)
        operation = operation_of(target)
        if not isinstance(operation, HttpOperation):
            raise ManifestError(f"Kong's service {name}: no operation that takes requests is behind it")
        found.append(operation)
    return found


def _check(manifests: Manifests, service: KongService, route: KongRoute) -> None:
    if service.function not in manifests.services:
        raise ManifestError(f"Kong's service {service.name}: there is no Service {service.function}")
    if route.strip_path:
        raise ManifestError(f"Kong's route {route.name}: strip_path: a signed path reaches its function as it was sent")


def _gate(
    limit: RateLimit | None,
    gates: dict[tuple[int | None, str], RateGate],
    seconds: Callable[[], float],
    route: str,
) -> RateGate | None:
    if limit is None:
        return None
    if limit.second is None or limit.minute is not None or limit.hour is not None:
        raise ManifestError(f"Kong's route {route}: rate-limiting: only `second` is played on one machine")
    if limit.limit_by != "header":
        raise ManifestError(f"Kong's route {route}: rate-limiting: limit_by is `header` here, the tenant's")
    # Routes under the same limit count together, as they do under one plugin of Kong's.
    key = (limit.second, limit.header_name or "")
    if key not in gates:
        gates[key] = RateLimits(limit.second, seconds).take
    return gates[key]


def _overlaid(kong: Kong, overlay: Path) -> Kong:
    """Kong's file with the plugins of an overlay in place of its own general ones of the same name."""
    if not overlay.is_file():
        return kong
    document: Any = yaml.safe_load(overlay.read_text(encoding="utf-8"))
    replacing = {entry["name"]: KongPlugin.model_validate(entry) for entry in document.get("plugins", [])}
    kept = [
        plugin
        for plugin in kong.plugins
        if plugin.name not in replacing or plugin.service is not None or plugin.route is not None
    ]
    return kong.model_copy(update={"plugins": [*kept, *replacing.values()]})
