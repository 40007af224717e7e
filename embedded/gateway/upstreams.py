"""Reads the gateway's routes, Services and limits from Kong's declarative configuration."""

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
    """Return the router of Kong's routes, and the upstream of each route by its name. Raises ManifestError.

    `seconds` is the clock of the rate limits.
    """
    if manifests.kong is None:
        raise ManifestError("the manifests have no declarative configuration of Kong (a file with `_format_version`)")
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
    """Import and return the operations behind Kong's routes. Raises ManifestError for a route without one."""
    found = []
    names = dict.fromkeys(service.function for service in (manifests.kong.services if manifests.kong else ()))
    for name in names:
        service = manifests.services.get(name)
        target = None if service is None else getattr(import_module(service.module), service.target, None)
        operation = operation_of(target)
        if not isinstance(operation, HttpOperation):
            raise ManifestError(f"Kong's service {name}: its function is missing or does not answer HTTP requests")
        found.append(operation)
    return found


def _check(manifests: Manifests, service: KongService, route: KongRoute) -> None:
    if service.function not in manifests.services:
        raise ManifestError(f"Kong's service {service.name}: no Knative Service is named {service.function}")
    if route.strip_path:
        raise ManifestError(
            f"Kong's route {route.name}: set strip_path to false; a signed path must reach the function unchanged"
        )


def _gate(
    limit: RateLimit | None,
    gates: dict[tuple[int | None, str], RateGate],
    seconds: Callable[[], float],
    route: str,
) -> RateGate | None:
    if limit is None:
        return None
    if limit.second is None or limit.minute is not None or limit.hour is not None:
        raise ManifestError(
            f"Kong's route {route}: rate-limiting: set `second` alone; the embedded platform supports no other period"
        )
    if limit.limit_by != "header":
        raise ManifestError(f"Kong's route {route}: rate-limiting: set limit_by to `header`; limits are per tenant")
    # Routes with the same limit share one count, as under one plugin of Kong.
    key = (limit.second, limit.header_name or "")
    if key not in gates:
        gates[key] = RateLimits(limit.second, seconds).take
    return gates[key]


def _overlaid(kong: Kong, overlay: Path) -> Kong:
    """Return the configuration with the overlay's plugins in place of the global plugins of the same name."""
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
