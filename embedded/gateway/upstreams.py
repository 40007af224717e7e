"""Builds the gateway's routes from Kong's declarative file: the Service and the limits of each route."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from embedded.gateway.gateway import Upstream
from embedded.gateway.routing import BadRoute, Router
from embedded.manifests.findings import Finding, ManifestError
from embedded.manifests.kong import Kong, KongRoute, KongService, RateLimit
from embedded.manifests.loading import Manifests
from shared.context.rate_limits import RateGate, TenantRateLimit
from shared.context.runtime import Runtime
from shared.functions.decorators import operation_of
from shared.http.operation import HttpOperation


def upstreams_of(manifests: Manifests, runtime: Runtime) -> tuple[Router, dict[str, Upstream]]:
    """Return the router over the names of Kong's routes, and the upstream of each name.

    Raises ManifestError with every field that is not supported.
    """
    findings = unsupported(manifests)
    if findings:
        raise ManifestError(findings)
    kong = manifests.kong
    assert kong is not None, "a missing file is a finding"
    max_body_bytes = runtime.settings.max_body_bytes
    gates: dict[tuple[int | None, str], RateGate] = {}
    routes: list[tuple[list[str], str, str]] = []
    upstreams: dict[str, Upstream] = {}
    for service in kong.services:
        for route in service.routes:
            limit = kong.max_body_bytes(service, route)
            upstreams[route.name] = Upstream(
                service.function,
                _gate(kong.rate_limit(service, route), gates, runtime),
                min(max_body_bytes, limit or max_body_bytes),
            )
            routes += [(route.methods, path, route.name) for path in route.paths]
    return Router.of(routes), upstreams


def unsupported(manifests: Manifests) -> list[Finding]:
    """Return every field of Kong's file that is not supported, and a missing file."""
    if manifests.kong is None:
        return [Finding("knative", 0, "There is no declarative configuration of Kong in this folder.")]
    return list(_refused(manifests, manifests.kong))


def routed_operations(manifests: Manifests) -> list[HttpOperation]:
    """Import and return the operations behind Kong's routes. Raises ManifestError for a route without one."""
    found = []
    for n, upstream in enumerate(manifests.kong.services if manifests.kong else ()):
        service = manifests.services.get(upstream.function)
        target = None if service is None else getattr(import_module(service.module), service.target, None)
        operation = operation_of(target)
        if not isinstance(operation, HttpOperation):
            reason = f"there is no function that accepts requests behind {upstream.function}"
            raise ManifestError([manifests.finding("Kong", "", reason, "services", n, "host")])
        found.append(operation)
    return list({operation.id: operation for operation in found}.values())


def _refused(manifests: Manifests, kong: Kong) -> Iterator[Finding]:
    for n, service in enumerate(kong.services):
        if service.function not in manifests.services:
            reason = f"there is no Service {service.function}, the first label of the host"
            yield manifests.finding("Kong", "", reason, "services", n, "host")
        for m, route in enumerate(service.routes):
            for reason, path in _refused_of_route(kong, service, route):
                yield manifests.finding("Kong", "", reason, "services", n, "routes", m, *path)


def _refused_of_route(
    kong: Kong, service: KongService, route: KongRoute
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    if route.strip_path:
        yield (
            f"{route.name} strips its path; the path is signed and must reach its function unchanged",
            ("strip_path",),
        )
    limit = kong.rate_limit(service, route)
    if limit is not None and (limit.second is None or limit.minute is not None or limit.hour is not None):
        yield f"{route.name} has a rate limit with another period than `second`, which is not supported here", ()
    elif limit is not None and limit.limit_by not in ("header", "ip"):
        yield (
            f"{route.name} has a rate limit by {limit.limit_by}; here it must be limit_by header or ip",
            (),
        )
    for position, path in enumerate(route.paths):
        try:
            Router.of([(route.methods, path, route.name)])
        except BadRoute as error:
            yield str(error), ("paths", position)


def _gate(limit: RateLimit | None, gates: dict[tuple[int | None, str], RateGate], runtime: Runtime) -> RateGate | None:
    # On one machine all calls come from few addresses, so a limit of each is for a cluster only.
    if limit is None or limit.limit_by == "ip":
        return None
    # Routes with the same limit share their counts, as they do with one plugin of Kong.
    key = (limit.second, limit.header_name or "")
    if key not in gates:
        gates[key] = TenantRateLimit(runtime, str(limit.second), limit.second)
    return gates[key]
