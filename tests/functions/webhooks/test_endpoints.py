"""Webhook endpoints are created with a secret that is shown once, listed, and deleted."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from shared.core.settings import Settings
from shared.records.webhooks import WEBHOOK_ENDPOINTS
from tests.functions.webhooks.hooks import ENDPOINTS, deliveries, endpoint
from tests.functions.webhooks.receiver import Receiver
from tests.harness import Harness

URL = "https://hooks.example.com/lastro"


async def test_an_endpoint_is_created_with_a_secret(hooks: Harness) -> None:
    """A created endpoint has its fields, its location, and a secret of 256 bits in the form of Standard Webhooks."""
    answer = await hooks.call("POST", ENDPOINTS, {"url": URL, "events": ["lastro.payment.*", "lastro.payment.*"]})
    made = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"{ENDPOINTS}/{made['id']}"
    assert made == {
        "id": made["id"],
        "url": URL,
        "events": ["lastro.payment.*"],
        "status": "active",
        "created_at": made["created_at"],
        "secret": made["secret"],
    }
    prefix, _, encoded = made["secret"].partition("_")
    assert (prefix, len(b64decode(encoded, validate=True))) == ("whsec", 32)


async def test_the_secret_is_shown_once_and_sealed_at_rest(hooks: Harness) -> None:
    """The secret is in the response and its idempotent replay, and in no other answer or stored document."""
    body = {"url": URL, "events": ["*"]}
    first = await hooks.call("POST", ENDPOINTS, body, key="k")
    assert (await hooks.call("POST", ENDPOINTS, body, key="k")).body == first.body
    made = first.json
    read = await hooks.call("GET", f"{ENDPOINTS}/{made['id']}")
    assert read.json == {name: value for name, value in made.items() if name != "secret"}
    assert made["secret"] not in repr(vars(hooks.documents))
    (listed,) = (await hooks.call("GET", ENDPOINTS)).json["data"]
    assert listed == read.json


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"url": "ftp://hooks.example.com"}, "/url"),
        ({"url": "hooks.example.com"}, "/url"),
        ({"url": "https://"}, "/url"),
        ({"url": "https://ana:secret@hooks.example.com"}, "/url"),
        ({"url": "https://hooks.example.com/#part"}, "/url"),
        ({"url": "https://hooks.example.com/a b"}, "/url"),
        ({"url": "https://hooks.example.com:99999/"}, "/url"),
        ({"url": "https://hooks.example.com:0/"}, "/url"),
        ({"url": "https://[fe80::1%25eth0]/"}, "/url"),
        ({"url": "https://hooks%2eexample.com/"}, "/url"),
        ({"url": "https://høoks.example.com/"}, "/url"),
        ({"url": "https://hooks.example.com/" + "x" * 2048}, "/url"),
        ({"url": None}, "/url"),
        ({"events": []}, "/events"),
        ({"events": "*"}, "/events"),
        ({"events": ["payment"]}, "/events/0"),
        ({"events": ["*", "lastro.payment."]}, "/events/1"),
        ({"events": ["lastro.*.created.v1"]}, "/events/0"),
        ({"events": ["lastro.payment.paid.v1"]}, "/events/0"),
        ({"events": ["lastro.robots.*"]}, "/events/0"),
        ({"events": ["lastro.webhook.delivered.v1"]}, "/events/0"),
        ({"events": ["*"] * 101}, "/events"),
        ({"secret": "whsec_mine"}, "/secret"),
    ],
)
async def test_an_invalid_field_is_refused(hooks: Harness, fields: dict[str, Any], pointer: str) -> None:
    """An invalid field is answered with 422 and a pointer to it, and no endpoint is created."""
    answer = await hooks.call("POST", ENDPOINTS, {"url": URL, "events": ["*"], **fields})
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert (await hooks.call("GET", ENDPOINTS)).json["data"] == []


async def test_the_refusal_of_a_type_quotes_it_as_it_was_sent(hooks: Harness) -> None:
    """A type that is never delivered is quoted in the refusal letter by letter."""
    answer = await hooks.call("POST", ENDPOINTS, {"url": URL, "events": ["lastro.webhook.delivered.v1"]})
    assert [error["detail"] for error in answer.json["errors"]] == [
        "The type lastro.webhook.delivered.v1 is about deliveries and is not delivered itself."
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://10.0.0.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fd00:ec2::254]/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://metadata.google.internal/",
        "https://kubernetes.default.svc/",
    ],
)
async def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    """Without the setting, an endpoint without TLS or with a private, loopback or link-local address is refused."""
    harness = Harness.make(settings=Settings())
    await harness.tenant()
    answer = await harness.call("POST", ENDPOINTS, {"url": url, "events": ["*"]})
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert answer.json["errors"][0]["pointer"] == "/url"


async def test_a_deleted_endpoint_is_gone(hooks: Harness, receiver: Receiver) -> None:
    """A deleted endpoint is answered with 404, a second time too, and no event is sent to it."""
    made = await endpoint(hooks, receiver.url)
    answer = await hooks.call("DELETE", f"{ENDPOINTS}/{made['id']}")
    assert (answer.status, answer.body) == (204, b"")
    assert (await hooks.call("GET", f"{ENDPOINTS}/{made['id']}")).code == "not_found"
    assert (await hooks.call("DELETE", f"{ENDPOINTS}/{made['id']}")).code == "not_found"
    await hooks.user()
    await hooks.run_events()
    assert receiver.received == []


async def test_a_tenant_has_a_bounded_number_of_endpoints(hooks: Harness) -> None:
    """Beyond the bound a new endpoint is answered with 409, until one is deleted."""
    made = [await endpoint(hooks, URL) for _ in range(hooks.runtime.settings.webhooks_endpoints)]
    answer = await hooks.call("POST", ENDPOINTS, {"url": URL, "events": ["*"]})
    assert (answer.status, answer.code) == (409, "illegal_state")
    await hooks.call("DELETE", f"{ENDPOINTS}/{made[0]['id']}")
    await endpoint(hooks, URL)


async def test_endpoints_are_listed_newest_first_in_pages(hooks: Harness) -> None:
    """Endpoints are listed newest first; a cursor leads to the next page."""
    made = [(await endpoint(hooks, URL))["id"] for _ in range(3)]
    first = (await hooks.call("GET", ENDPOINTS, query="limit=2")).json
    second = (await hooks.call("GET", ENDPOINTS, query=f"limit=2&cursor={first['next_cursor']}")).json
    assert [found["id"] for found in first["data"] + second["data"]] == made[::-1]
    assert second["next_cursor"] is None


async def test_another_tenants_endpoint_is_not_found(hooks: Harness, receiver: Receiver) -> None:
    """Every operation on another tenant's endpoint or delivery is answered with 404 and changes nothing."""
    made = await endpoint(hooks, receiver.url)
    await hooks.user()
    await hooks.run_events()
    delivery = (await deliveries(hooks, made["id"]))[0]
    await hooks.tenant("rival")
    own = await endpoint(hooks, URL, tenant="rival")
    path = f"{ENDPOINTS}/{made['id']}"
    for method, target in (
        ("GET", path),
        ("DELETE", path),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/enable"),
        ("POST", f"{path}/rotate-secret"),
        ("POST", f"{path}/deliveries/{delivery['id']}/resend"),
        ("POST", f"{ENDPOINTS}/{own['id']}/deliveries/{delivery['id']}/resend"),
    ):
        answer = await hooks.call(method, target, tenant="rival")
        assert (answer.status, answer.code) == (404, "not_found"), target
    assert [found["id"] for found in (await hooks.call("GET", ENDPOINTS, tenant="rival")).json["data"]] == [own["id"]]
    assert await hooks.documents.get(WEBHOOK_ENDPOINTS, "acme", made["id"]) is not None


async def test_each_operation_requires_its_scope(hooks: Harness) -> None:
    """Reading endpoints requires `webhooks:read`, changing them `webhooks:write`."""
    made = await endpoint(hooks, URL)
    path = f"{ENDPOINTS}/{made['id']}"
    reading: list[tuple[str, str, Any]] = [
        ("GET", ENDPOINTS, None),
        ("GET", path, None),
        ("GET", f"{path}/deliveries", None),
    ]
    writing = [("POST", ENDPOINTS, {"url": URL, "events": ["*"]}), ("DELETE", path, None)]
    writing += [("POST", f"{path}/{action}", None) for action in ("enable", "rotate-secret", "deliveries/whd_1/resend")]
    for scope, calls in (("webhooks:write", reading), ("webhooks:read", writing)):
        for method, target, body in calls:
            assert (await hooks.call(method, target, body, scopes=[scope])).code == "insufficient_scope", target
