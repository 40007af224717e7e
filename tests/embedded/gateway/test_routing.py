"""Kong's routes, found by method and raw path."""

from __future__ import annotations

import pytest

from embedded.gateway.routing import ALL_METHODS, BadRoute, Router

ROUTES = [
    (["POST"], "~/v1/payments$", "create"),
    (["GET"], "~/v1/payments$", "list"),
    (["GET"], r"~/v1/payments/(?<payment_id>[^/]+)$", "get"),
    (["POST"], r"~/v1/payments/(?<payment_id>[^/]+)/capture$", "capture"),
    (["GET"], r"~/v1/payments/latest$", "latest"),
    (["GET"], r"~/files/(?<name>[a-z]+)\.txt$", "file"),
    ([], "/docs", "docs"),
]


@pytest.fixture
def router() -> Router:
    return Router.of(ROUTES)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/payments", {"POST": "create", "GET": "list"}),
        ("/v1/payments/pay_1", {"GET": "get"}),
        ("/v1/payments/pay_1/capture", {"POST": "capture"}),
        ("/v1/payments/latest", {"GET": "latest"}),
        ("/v1/payments/latest/capture", {"POST": "capture"}),
        ("/files/a.txt", {"GET": "file"}),
        ("/docs/x/y", dict.fromkeys(ALL_METHODS, "docs")),
        ("/v1/payments/", {}),
        ("/v1/payments//capture", {}),
        ("/v1//payments", {}),
        ("v1/payments", {}),
        ("", {}),
        ("/v1/payments/pay_1/capture/more", {}),
    ],
)
def test_a_path_has_its_routes(router: Router, path: str, expected: dict[str, str]) -> None:
    """The whole raw path is matched, fixed words before parameters, and gives the routes of its methods."""
    assert expected == router.routes(path)


def test_an_escaped_slash_stays_inside_its_segment(router: Router) -> None:
    """Paths are not decoded: an escaped slash is part of an id and does not separate segments."""
    assert router.routes("/v1/payments/a%2Fcapture") == {"GET": "get"}


def test_the_first_of_two_routes_wins() -> None:
    """Of two routes with the same path and method, the first in the file is used."""
    router = Router.of([(["GET"], "~/a$", "one"), (["GET"], "~/a$", "two")])
    assert router.routes("/a") == {"GET": "one"}


@pytest.mark.parametrize("path", ["~/a/(", "a/b"])
def test_an_invalid_path_is_refused(path: str) -> None:
    """An invalid expression, or a path that does not begin with a slash, is an error that quotes it."""
    with pytest.raises(BadRoute, match="a/"):
        Router.of([(["GET"], path, "x")])
