"""The platform's own paths, on a running platform."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from events.catalogue import CATALOGUE
from shared.core.failure_reasons import FAILURE_REASONS
from shared.core.problems import CODES
from tests.contract.calling import Client, Deployment, new_pair, running
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")
JWKS = "/realms/lastro/protocol/openid-connect/certs"
CLOUDEVENT = "application/cloudevents+json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    async with running(tmp_path_factory.mktemp("own-paths")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(deployment: Deployment) -> Client:
    return await deployment.operator()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tenant(deployment: Deployment) -> Client:
    return await deployment.tenant()


async def test_probes(deployment: Deployment) -> None:
    """`/healthz` answers while the process runs, and `/readyz` until it stops."""
    assert (await deployment.wire.send("GET", "/healthz")).document == {"status": "alive"}
    assert (await deployment.wire.send("GET", "/readyz")).document == {"status": "ready"}
    deployment.platform.state.stop()
    stopping = await deployment.wire.send("GET", "/readyz")
    deployment.platform.state.value = None
    assert (stopping.status, stopping.code) == (503, "dependency_unavailable")


async def test_every_problem_has_its_page(deployment: Deployment) -> None:
    """The type of each problem is the URL of a page; there is no page for an unknown code."""
    for code in (*CODES, *FAILURE_REASONS):
        page = await deployment.wire.send("GET", f"/problems/{code}")
        assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    assert (await deployment.wire.send("GET", "/problems/none_such")).code == "not_found"
    for index in ("/problems", "/problems/"):
        page = await deployment.wire.send("GET", index)
        assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
        assert b"/problems/insufficient_funds" in page.body


async def test_the_docs_page_and_its_files_are_served(deployment: Deployment) -> None:
    """/docs is a page, and each file that it loads is served with its media type."""
    page = await deployment.wire.send("GET", "/docs")
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    for link in re.findall(r'(?:src|rel="stylesheet" href)="([^"]+)"', page.body.decode()):
        asset = await deployment.wire.send("GET", link)
        assert asset.status == 200
        assert asset.header("content-type") in ("text/css; charset=utf-8", "text/javascript; charset=utf-8")
        assert len(asset.body) > 100
    assert (await deployment.wire.send("GET", "/docs/README.md")).code == "not_found"


async def test_every_event_type_has_its_schema(deployment: Deployment) -> None:
    """The `dataschema` of each type has the path of its JSON Schema."""
    for name in CATALOGUE:
        schema = await deployment.wire.send("GET", f"/schemas/{name}.json")
        assert schema.document["$id"] == f"https://lastro.dev/schemas/{name}.json"
    assert (await deployment.wire.send("GET", "/schemas/lastro.none.such.v1.json")).code == "not_found"


async def test_openapi_describes_every_route(deployment: Deployment) -> None:
    """The served document has an operation for each route of Kong's file, at the server's own address."""
    document = (await deployment.wire.send("GET", "/v1/openapi.json")).document
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    kong = deployment.platform.gateway._upstreams
    assert len(described) == len(kong)
    assert ("POST", "/v1/payments/{payment_id}/capture") in described
    assert document["servers"] == [{"url": deployment.platform.settings.base_url}]
    assert document["openapi"].startswith("3.1")


@pytest.mark.parametrize("path", ["/healthz", "/v1/openapi.json", "/metrics", "/platform/functions", JWKS])
async def test_another_method_is_405(deployment: Deployment, path: str) -> None:
    """The platform's own paths answer OPTIONS and an unsupported method with Allow."""
    refused = await deployment.wire.send("PUT", path)
    options = await deployment.wire.send("OPTIONS", path)
    assert (refused.status, refused.code) == (405, "method_not_allowed")
    assert refused.header("allow") == options.header("allow") == "GET, HEAD, OPTIONS"
    assert "Allowed methods: GET, HEAD, OPTIONS." in refused.document["detail"]
    assert options.status == 204


@pytest.mark.parametrize("target", ["/metrics", "/platform/functions", "/platform/events"])
async def test_paths_that_are_not_public_require_a_token(deployment: Deployment, target: str) -> None:
    """Without a token the paths that are not public are answered with 401."""
    assert (await deployment.wire.send("GET", target)).code == "missing_token"


@pytest.mark.parametrize("target", ["/metrics", "/platform/functions"])
async def test_operator_paths_refuse_a_tenants_token(tenant: Client, target: str) -> None:
    """The operator's paths refuse a tenant's token."""
    assert (await tenant.get(target)).code == "insufficient_scope"


async def test_metrics_count_requests_and_deliveries(deployment: Deployment, operator: Client, tenant: Client) -> None:
    """Metrics are Prometheus text with counts by operation and by consumer, each with all labels."""
    pair = await new_pair(tenant)
    await pair.paid()
    answer = await operator.get("/metrics")
    text = answer.body.decode()
    assert answer.header("content-type") == "text/plain; version=0.0.4"
    assert 'lastro_http_request_seconds_count{operation="payments/create_payment",status="201"}' in text
    assert 'consumer="ledger/post_transfer"' in text
    assert "lastro_broker_behind 0" in text
    assert 'le="+Inf"' in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert all(name.startswith("lastro_") for name in names)
    assert deployment.platform.store.head_sequence > 0


async def test_functions_are_listed_with_their_ways_in(operator: Client) -> None:
    """Each function is listed with its state, its ways in as templates, and its counts."""
    found = {entry["function"]: entry for entry in (await operator.read("/platform/functions"))["data"]}
    settle, create = found["payments/settle"], found["payments/create_payment"]
    assert (settle["state"], settle["scale"]) == ("ready", "core")
    assert create["ways_in"] == ["route POST /v1/payments"]
    assert found["payments/capture"]["ways_in"] == ["route POST /v1/payments/{payment_id}/capture"]
    assert any(entry["scale"] == "support" for entry in found.values())
    assert all(entry["ways_in"] for entry in found.values())


async def test_a_tenant_reads_its_own_events(deployment: Deployment, tenant: Client, operator: Client) -> None:
    """A tenant reads its own events in their order from a place on; the operator reads no tenant's events."""
    stranger = await deployment.new_tenant()
    place = (await tenant.read("/platform/events?after=-1"))["next"]
    await tenant.made("/v1/users", _user())
    page = await tenant.read(f"/platform/events?after={place}&limit=10")
    assert [entry["event"]["type"] for entry in page["data"]] == [
        "lastro.user.registered.v1",
        "lastro.user.activated.v1",
    ]
    assert page["data"][0]["event"]["tenantid"] == "demo"
    assert page["next"] >= page["data"][-1]["place"] > page["data"][0]["place"] > place
    seen = await _all_events(stranger)
    assert {entry["event"]["tenantid"] for entry in seen} == {stranger.tenant_id}
    assert all(entry["event"].get("tenantid", "-") == "-" for entry in await _all_events(operator))


@pytest.mark.parametrize("query", ["after=x", "limit=x", "after=1&after=2"])
async def test_a_bad_place_is_refused(tenant: Client, query: str) -> None:
    """A place or limit that is not a number is answered with 400 `malformed_request`."""
    assert (await tenant.get(f"/platform/events?{query}")).code == "malformed_request"


async def test_the_ingress_accepts_events_from_the_operator(
    deployment: Deployment, operator: Client, tenant: Client
) -> None:
    """An event in either mode is answered with 202 and delivered; an invalid one with 400, an unknown Broker with
    404."""
    event = {
        "specversion": "1.0",
        "id": "evt_outside",
        "source": "/outside",
        "type": "lastro.test.nobody_listens.v1",
        "tenantid": "demo",
        "partitionkey": "demo/x",
        "data": {"a": 1},
    }
    structured = await _ingress(operator, event)
    binary = await operator.send(
        "POST",
        "/brokers/default",
        {"a": 1},
        change={"ce-specversion": "1.0", "ce-id": "evt_2", "ce-source": "/outside", "ce-type": "lastro.test.x.v1"},
    )
    assert (structured.status, structured.body) == (202, b"")
    assert binary.status == 202
    assert (await _ingress(operator, {"specversion": "1.0"})).code == "malformed_request"
    assert (await _ingress(operator, event, broker="other")).code == "not_found"
    assert (await _ingress(tenant, event)).code == "insufficient_scope"
    assert (await _ingress(operator, {**event, "data": "x" * 70_000})).code == "payload_too_large"
    assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
    assert "evt_outside" in {entry["event"]["id"] for entry in await _all_events(tenant)}


@pytest.mark.parametrize(
    "change",
    [
        {"time": "garbage"},
        {"time": ""},
        {"subject": ""},
        {"id": "a\x00b"},
        {"id": "x" * 60_000},
        {"source": "two words"},
        {"dataschema": "no uri"},
        {"attempt": 2**31},
        {"with_score": "x"},
        {"datacontenttype": "text/plain"},
    ],
)
async def test_the_ingress_refuses_what_is_no_cloudevent(operator: Client, change: dict[str, Any]) -> None:
    """An event that breaks a rule of CloudEvents 1.0, or a bound of the platform, is answered with 400 and the
    attribute's name."""
    event = {"specversion": "1.0", "id": "evt_bad", "source": "/outside", "type": "lastro.test.x.v1", **change}
    answer = await _ingress(operator, event)
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert answer.document["detail"].startswith("The request is not a CloudEvent: ")


async def test_the_ingress_refuses_a_repeated_key(operator: Client) -> None:
    """An event whose data has a key twice in one object is answered with 400 and the place of the key."""
    event = {"specversion": "1.0", "id": "evt_bad", "source": "/outside", "type": "lastro.test.x.v1"}
    data = orjson.Fragment(b'{"amount": {"value": 1, "value": 2}}')
    answer = await _ingress(operator, {**event, "data": data})
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert answer.document["detail"].endswith("an object in the data has a key more than once: '/amount/value'.")


async def test_a_repeated_attribute_is_refused(operator: Client) -> None:
    """An event with a repeated ce- header is answered with 400."""
    event = {"ce-specversion": "1.0", "ce-id": "evt_2", "ce-source": "/outside", "ce-type": "lastro.test.x.v1"}
    answer = await operator.send("POST", "/brokers/default", {}, change=event, also=(("CE-Id", "evt_3"),))
    assert (answer.status, answer.code) == (400, "malformed_request")


async def test_a_simulator_answers_under_its_rail_s_name(deployment: Deployment) -> None:
    """The PIX simulator answers under its rail's name; a rail without a simulator is answered with 404."""
    assert (await deployment.wire.send("GET", "/simulators/pix/cob/none")).status == 404
    assert (await deployment.wire.send("GET", "/simulators/none/cob")).code == "not_found"


async def _ingress(client: Client, event: Any, broker: str = "default") -> Any:
    return await client.send("POST", f"/brokers/{broker}", orjson.dumps(event), change={"content-type": CLOUDEVENT})


async def _all_events(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    place = 0
    while True:
        page = await client.read(f"/platform/events?after={place}&limit=500")
        found += page["data"]
        if page["next"] <= place:
            return found
        place = page["next"]


def _user() -> dict[str, Any]:
    return {
        "kind": "customer",
        "name": "Ana",
        "document": {"type": "cpf", "number": "52998224725"},
        "email": "ana@example.com",
    }
