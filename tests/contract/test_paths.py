"""Paths are compared as they are sent."""

from __future__ import annotations

import pytest

from tests.contract.calling import TOKEN_PATH, Client, Deployment, Pair

pytestmark = pytest.mark.asyncio(loop_scope="session")

GAMES = [
    "/v1/%70ayments",
    "/v1/payment%73",
    "/%76%31/payments",
    "/v1%2fpayments",
    "/v1%2Fpayments",
    "/v1/payments/",
    "/v1/payments%2f",
    "/v1//payments",
    "//v1/payments",
    "/v1/./payments",
    "/v1/../v1/payments",
    "/./v1/payments",
    "/v1/%2e/payments",
    "/v1/users/../payments",
    "/v1/users/%2e%2e/payments",
    "/v1/payments/.",
    "/v1/payments/pay_1/..",
    "/V1/payments",
    "/v1/Payments",
    "/v1/payments;a=b",
    "/v1/payments%00",
    "/v1/payments%0a",
    "/v1/payments%3Flimit=1",
    "/v1/payments%20",
    "/v1/payments\\",
    "/v1/payments/%C3%A9",
    "/v1/payments/" + "a" * 256,
    "/",
    "/v1",
    "/v2/payments",
]


@pytest.mark.parametrize("target", GAMES)
async def test_a_path_has_one_notation(pair: Pair, target: str) -> None:
    """Paths are not decoded or normalised: another notation of a path is not that path and has no effect."""
    answer = await pair.client.post(target, pair.payment())
    assert answer.status in (404, 405), answer.body
    assert answer.code in ("not_found", "method_not_allowed")


@pytest.mark.parametrize("target", ["/v1/payments/%70ay_x", "/v1/payments/..", "/v1/payments/a%2fb", "/v1/payments/-"])
async def test_an_unknown_id_is_not_found(demo: Client, target: str) -> None:
    """Any segment in the place of an id is treated as an id, and is answered with 404 when it is unknown."""
    assert (await demo.get(target)).code == "not_found"


async def test_an_encoded_id_is_another_id(pair: Pair) -> None:
    """An existing id is not found in a percent-encoded notation."""
    payment = await pair.client.made("/v1/payments", pair.payment())
    spelled = payment["id"].replace("pay_", "pay%5F")
    assert (await pair.client.get(f"/v1/payments/{spelled}")).code == "not_found"
    assert (await pair.client.get(f"/v1/payments/{payment['id']}")).status == 200


ALLOWED = [
    ("/v1/payments", "GET, HEAD, OPTIONS, POST"),
    ("/v1/payments/pay_x", "GET, HEAD, OPTIONS"),
    ("/v1/payments/pay_x/capture", "OPTIONS, POST"),
    ("/v1/tenants", "OPTIONS, POST"),
    ("/healthz", "GET, HEAD, OPTIONS"),
    ("/v1/openapi.json", "GET, HEAD, OPTIONS"),
    ("/problems/", "GET, HEAD, OPTIONS"),
    (TOKEN_PATH, "OPTIONS, POST"),
    ("/simulators/pix/faults", "OPTIONS, POST"),
]


@pytest.mark.parametrize(("target", "allow"), ALLOWED)
@pytest.mark.parametrize("method", ["DELETE", "PUT", "TRACE", "PROPFIND"])
async def test_an_unsupported_method_is_refused(deployment: Deployment, target: str, allow: str, method: str) -> None:
    """An unsupported method is answered with 405 and Allow before the token is checked."""
    answer = await deployment.wire.send(method, target)
    if answer.status == 400:
        pytest.skip("the server does not support this method")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.header("allow") == allow
    assert answer.document["detail"] == f"{method} is not allowed on this path. Allowed methods: {allow}."


@pytest.mark.parametrize(("target", "allow"), ALLOWED)
async def test_options_lists_the_methods(deployment: Deployment, target: str, allow: str) -> None:
    """OPTIONS is answered with 204, Allow and no body."""
    answer = await deployment.wire.send("OPTIONS", target)
    assert (answer.status, answer.header("allow"), answer.body) == (204, allow, b"")


async def test_head_is_get_without_its_body(demo: Client) -> None:
    """HEAD answers with a GET's status and headers."""
    got, headed = await demo.get("/v1/payments?limit=1"), await demo.send("HEAD", "/v1/payments?limit=1")
    assert (headed.status, headed.body) == (200, b"")
    assert headed.header("content-length") == got.header("content-length")
    assert (await demo.send("HEAD", "/v1/payments/pay_x")).status == 404


async def test_an_unknown_path_is_not_found_without_a_token(deployment: Deployment) -> None:
    """Path and method are checked before the token."""
    assert (await deployment.wire.send("GET", "/v1/nowhere")).code == "not_found"
    assert (await deployment.wire.send("POST", "/v1/nowhere")).code == "not_found"


BAD_QUERIES = [
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=-1", "limit"),
    ("limit=1.0", "limit"),
    ("limit=1e1", "limit"),
    ("limit=%2B5", "limit"),
    ("limit=1_0", "limit"),
    ("limit=%205", "limit"),
    ("limit=", "limit"),
    ("limit", "limit"),
    ("limit=ten", "limit"),
    ("limit=true", "limit"),
    ("limit=%D9%A5", "limit"),
    ("limit=99999999999999999999", "limit"),
    ("limit=5&limit=5", "limit"),
    ("limit=5&%6Cimit=6", "limit"),
    ("page=2", "page"),
    ("Limit=2", "Limit"),
    ("limit%00=2", "limit\x00"),
    ("offset=0&limit=2", "offset"),
    ("cursor=", "cursor"),
    ("cursor=abc", "cursor"),
    ("cursor=%00", "cursor"),
    ("cursor=%C3%A9", "cursor"),
    ("cursor=" + "a" * 2049, "cursor"),
    ("cursor=e30", "cursor"),
    ("cursor=W10", "cursor"),
    ("cursor=bnVsbA", "cursor"),
    ("status=paid", "status"),
    ("status=", "status"),
    ("account=a%20b", "account"),
    ("account=", "account"),
    ("reference=" + "r" * 141, "reference"),
    ("reference=%00", "reference"),
    ("from=yesterday", "from"),
    ("from=2026-01-01", "from"),
    ("from=2026-01-01T00:00:00", "from"),
    ("from=20260101T000000Z", "from"),
    ("from=2026-01-01T00Z", "from"),
    ("from=2026-W01-1T00:00:00Z", "from"),
    ("from=2026-01-01%2000:00:00Z", "from"),
    ("from=2026-01-01T00:00:00+00:00", "from"),
    ("from=2026-13-01T00:00:00Z", "from"),
    ("from=0001-01-01T00:00:00%2B23:59", "from"),
    ("to=9999-12-31T23:59:59-23:59", "to"),
    ("since=2026-01-01T00:00:00Z", "since"),
]


@pytest.mark.parametrize(("query", "parameter"), BAD_QUERIES)
async def test_an_invalid_query_is_malformed(demo: Client, query: str, parameter: str) -> None:
    """An unknown, repeated or invalid parameter is answered with 400 and its name."""
    answer = await demo.get(f"/v1/payments?{query}")
    assert (answer.status, answer.code, answer.parameters) == (400, "malformed_request", [parameter])


@pytest.mark.parametrize(
    "query", ["%", "limit=%2", "limit=%zz", "reference=%ff", "reference=%ED%A0%80", "%ff=1", "\xe9=1"]
)
async def test_an_undecodable_query_is_malformed(demo: Client, query: str) -> None:
    """A query with broken escapes or that is not UTF-8 is answered with 400."""
    answer = await demo.get(f"/v1/payments?{query}")
    assert (answer.status, answer.code) == (400, "malformed_request")


async def test_from_after_to_is_malformed(demo: Client) -> None:
    """A period that ends before it begins is answered with 400, which names `to`; an empty one gives an empty list."""
    early, late = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
    refused = await demo.get(f"/v1/payments?from={late}&to={early}")
    assert refused.code == "malformed_request"
    assert refused.parameters == ["to"]
    assert (await demo.read(f"/v1/payments?from={early}&to={early}")) == {"data": [], "next_cursor": None}
    # The same instant with two offsets is an empty period.
    same = await demo.get(f"/v1/payments?from={early}&to=2025-12-31T21:00:00-03:00")
    assert same.status == 200


WITHOUT_QUERY = ["/v1/payments/pay_x?a=1", "/v1/users/usr_x?expand=all", "/v1/ledger/trial-balance?limit=1"]


@pytest.mark.parametrize("target", WITHOUT_QUERY)
async def test_an_operation_without_a_query_refuses_one(demo: Client, target: str) -> None:
    """Any parameter of an operation without a query is answered with 400."""
    assert (await demo.get(target)).code == "malformed_request"


async def test_a_post_takes_no_query(pair: Pair) -> None:
    """A POST with a query, even a signed one, is refused and has no effect."""
    answer = await pair.client.post("/v1/payments?dry_run=true", pair.payment())
    assert (answer.status, answer.code) == (400, "malformed_request")


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /v1/payments/pay_\xe9 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /v1/payments/pay_1 2 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-key-id : a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-key-id: a\r\n folded\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-request-id: a\x00b\r\n\r\n",
        b"POST /v1/payments HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
        b"POST /v1/payments HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/payments HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
    ],
)
async def test_ambiguous_http_is_refused_with_400(deployment: Deployment, message: bytes) -> None:
    """A request that is ambiguous HTTP is answered with 400 and not processed."""
    answer = await deployment.wire.raw(message)
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert (await deployment.wire.send("GET", "/healthz")).status == 200
