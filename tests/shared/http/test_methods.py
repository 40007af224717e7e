"""Which handler answers a method, at the gateway and in a function that runs alone."""

from __future__ import annotations

import pytest

from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.methods import allowed_methods, handler_for
from tests.harness import Harness


def _request(method: str) -> HttpRequest:
    return HttpRequest(method, "/v1/things", "", {}, b"")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_method_has_its_handler(method: str) -> None:
    """A method with a handler is answered by it."""
    assert handler_for(_request(method), {"GET": "read", "POST": "create"}) == {"GET": "read", "POST": "create"}[method]


def test_head_is_answered_by_the_get_handler() -> None:
    """HEAD finds the GET handler, and the request becomes a GET."""
    request = _request("HEAD")
    assert handler_for(request, {"GET": "read"}) == "read"
    assert request.method == "GET"


def test_options_lists_the_allowed_methods() -> None:
    """OPTIONS is answered 204 with Allow, whatever the handlers are."""
    answer = handler_for(_request("OPTIONS"), {"POST": "create"})
    assert isinstance(answer, HttpResponse)
    assert (answer.status, answer.headers, answer.body) == (204, {"allow": "OPTIONS, POST"}, b"")


@pytest.mark.parametrize("method", ["DELETE", "HEAD", "get", "TRACE"])
def test_a_405_names_the_allowed_methods(method: str) -> None:
    """A method without a handler is refused; Allow and the detail list the methods that have one."""
    with pytest.raises(Problem) as caught:
        handler_for(_request(method), {"PUT": "replace", "POST": "create"})
    assert (caught.value.status, caught.value.headers["Allow"]) == (405, "OPTIONS, POST, PUT")
    assert caught.value.detail == f"{method} is not allowed on this path. Allowed methods: OPTIONS, POST, PUT."


def test_allowed_methods_are_sorted_and_include_head() -> None:
    """Allow is in alphabetical order, with HEAD where there is GET."""
    assert allowed_methods({"POST": 1, "GET": 2}) == "GET, HEAD, OPTIONS, POST"


async def test_a_function_alone_decides_methods_as_the_gateway_does(harness: Harness) -> None:
    """Without a gateway a function answers HEAD as GET, OPTIONS with 204, and another method with 405."""
    account = await harness.account()
    path = f"/v1/accounts/{account['id']}"
    head = await harness.http("accounts/get_account", "HEAD", path, sign=False)
    options = await harness.http("accounts/get_account", "OPTIONS", path)
    refused = await harness.http("accounts/get_account", "DELETE", path)
    assert (head.status, head.json["id"]) == (200, account["id"])
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert (refused.status, refused.code, refused.headers["allow"]) == (405, "method_not_allowed", "GET, HEAD, OPTIONS")
    assert "GET, HEAD, OPTIONS" in refused.json["detail"]
