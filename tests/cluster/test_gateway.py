"""Kong's declarative file is translated to Envoy's configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from shared.core.strict_yaml import read_value
from tests.cluster.gateway import NotTranslated, envoy_of, resources

KONG = Path(__file__).parents[2] / "knative" / "platform" / "kong" / "kong.yaml"
LIMIT = {"name": "request-size-limiting", "config": {"allowed_payload_size": 2, "size_unit": "kilobytes"}}


def _kong(**route: Any) -> dict[str, Any]:
    given = {"name": "r", "methods": ["GET"], "paths": ["~/v1/a/(?<id>[^/]+)$"], "strip_path": False, **route}
    return {"plugins": [LIMIT], "services": [{"name": "a", "host": "a.lastro.svc.cluster.local", "routes": [given]}]}


def _manager(envoy: dict[str, Any]) -> Any:
    (listener,) = envoy["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def _routes(envoy: dict[str, Any]) -> list[Any]:
    found: list[Any] = _manager(envoy)["route_config"]["virtual_hosts"][0]["routes"]
    return found


def test_a_route_keeps_methods_path_and_host() -> None:
    """A request of the route goes to Knative with the host of the service, and its path unchanged."""
    (route,) = _routes(envoy_of(_kong(methods=["GET", "HEAD"])))
    assert route["match"]["safe_regex"]["regex"] == "/v1/a/(?:[^/]+)"
    assert route["match"]["headers"][0]["string_match"]["safe_regex"]["regex"] == "GET|HEAD"
    assert route["route"]["host_rewrite_literal"] == "a.lastro.svc.cluster.local"
    assert "prefix_rewrite" not in route["route"]


def test_a_path_without_an_end_matches_what_follows() -> None:
    """Kong's expressions match a beginning unless they end with `$`, and Envoy's match whole paths."""
    (route,) = _routes(envoy_of(_kong(paths=["~/docs"])))
    assert re.fullmatch(route["match"]["safe_regex"]["regex"], "/docs/more")


def test_the_largest_body_is_that_of_kong() -> None:
    """The limit of Kong's plugin is Envoy's limit in bytes, and a file without one is refused."""
    assert _manager(envoy_of(_kong()))["http_filters"][0]["typed_config"]["max_request_bytes"] == 2048
    with pytest.raises(NotTranslated, match="no limit of the size"):
        envoy_of({**_kong(), "plugins": []})


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        ({"strip_path": True}, "the route r changes the path"),
        ({"preserve_host": True}, "the route r changes the path, or keeps"),
        ({"headers": {"x": ["y"]}}, "r has headers, which the translation to Envoy does not know"),
    ],
)
def test_what_the_translation_does_not_know_is_refused(route: dict[str, Any], reason: str) -> None:
    """A field that would change what a route matches is not left out in silence."""
    with pytest.raises(NotTranslated, match=reason):
        envoy_of(_kong(**route))


def test_every_route_of_the_repository_is_translated() -> None:
    """Envoy has each path of each route of Kong's file, in the same order, as expressions that Envoy accepts."""
    kong = read_value(KONG.read_text(encoding="utf-8"))
    paths = [path for service in kong["services"] for route in service["routes"] for path in route["paths"]]
    (configuration,) = (each for each in resources() if each["kind"] == "ConfigMap")
    routes = _routes(read_value(configuration["data"]["envoy.yaml"]))
    assert len(routes) == len(paths) > 60
    for route in routes:
        expression = route["match"]["safe_regex"]["regex"]
        re.compile(expression)
        assert "(?<" not in expression
