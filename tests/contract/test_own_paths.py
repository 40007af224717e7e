"""The platform's own paths have the same rules for headers, numbers and problems as the operations."""

from __future__ import annotations

import pytest

from tests.contract.calling import TOKEN_PATH, Client, Deployment

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = ("content-type", "application/x-www-form-urlencoded")
EVENT = b'{"specversion": "1.0", "id": "1", "source": "/tests", "type": "tests.nothing", "data": {}}'


@pytest.mark.parametrize(
    ("method", "target", "header"),
    [
        ("GET", "/healthz", "x-request-id"),
        ("GET", "/v1/openapi.json", "authorization"),
        ("GET", "/platform/events", "authorization"),
        ("POST", "/brokers/default", "x-tenant-id"),
        ("POST", TOKEN_PATH, "authorization"),
    ],
)
async def test_a_header_sent_twice_is_400_here_too(
    deployment: Deployment, method: str, target: str, header: str
) -> None:
    """A repeated header of the contract is answered with 400 on the platform's own paths, too."""
    body = b"x=1" if method == "POST" else b""
    answer = await deployment.wire.send(method, target, [(header, "a"), (header, "a"), FORM], body)
    assert (answer.status, answer.code) == (400, "malformed_request")


BAD_PLACES = ["after=99999999999999999999", "after=x", "after=", "limit=1.0", "limit=%D9%A1", "after=1&after=1", "at=1"]


@pytest.mark.parametrize("query", BAD_PLACES)
async def test_the_events_query_is_strict(demo: Client, query: str) -> None:
    """A place or limit that is not a whole number is answered with 400."""
    answer = await demo.get(f"/platform/events?{query}")
    assert (answer.status, answer.code) == (400, "malformed_request")


async def test_a_tenant_sees_only_its_own_events(deployment: Deployment, demo: Client, operator: Client) -> None:
    """The log shows a tenant its own events, and the operator the events without a tenant."""
    other = await deployment.new_tenant()
    page = await other.read("/platform/events?limit=500")
    while page["data"] or page["next"] < deployment.platform.store.durable_sequence:
        assert {item["event"]["tenantid"] for item in page["data"]} <= {other.tenant_id}
        page = await other.read(f"/platform/events?after={page['next']}&limit=500")
    assert (await demo.get("/metrics")).code == "insufficient_scope"
    assert (await operator.get("/platform/events")).status == 200


@pytest.mark.parametrize("target", ["/metrics", "/platform/functions", "/platform/events"])
async def test_paths_that_are_not_public_require_a_token(deployment: Deployment, target: str) -> None:
    """The platform's state is not shown without a token."""
    assert (await deployment.wire.send("GET", target)).code == "missing_token"


async def test_the_ingress_requires_a_platform_token(deployment: Deployment, demo: Client, operator: Client) -> None:
    """A CloudEvent with a platform token is answered with 202; a tenant's token, an unknown Broker and an invalid
    event are refused."""
    kind = {"content-type": "application/cloudevents+json"}
    assert (await operator.post("/brokers/default", EVENT, change=kind)).status == 202
    assert (await demo.post("/brokers/default", EVENT, change=kind)).code == "insufficient_scope"
    assert (await operator.post("/brokers/other", EVENT, change=kind)).code == "not_found"
    for bad in (b"{}", b"[]", b"{", b"\xff", EVENT.replace(b"1.0", b"0.3"), EVENT.replace(b'"id": "1", ', b"")):
        answer = await operator.post("/brokers/default", bad, change=kind)
        assert (answer.status, answer.code) == (400, "malformed_request"), bad


async def test_an_event_s_data_is_bounded(operator: Client) -> None:
    """An event with more than 64 KiB of data is answered with 413 at the ingress."""
    large = EVENT.replace(b"{}", b'{"a": "' + b"x" * (64 * 1024) + b'"}')
    answer = await operator.post("/brokers/default", large, change={"content-type": "application/cloudevents+json"})
    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "invalid_request"),
        (b"grant_type=client_credentials", 401, "invalid_client"),
        (b"grant_type=client_credentials&client_id=nobody&client_secret=x", 401, "invalid_client"),
        (b"grant_type=client_credentials&grant_type=password&client_id=a&client_secret=b", 400, "invalid_request"),
        (b"grant_type=client_credentials&client_id=%ff&client_secret=%00", 400, "invalid_request"),
    ],
)
async def test_the_token_endpoint_speaks_oauth(deployment: Deployment, body: bytes, status: int, error: str) -> None:
    """The token endpoint's refusals are those of RFC 6749 and forbid caching."""
    answer = await deployment.wire.send("POST", TOKEN_PATH, [FORM], body)
    assert (answer.status, answer.document["error"]) == (status, error)
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-request-id") is not None
