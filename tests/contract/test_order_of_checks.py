"""The order of the checks: for a request with two faults, the response has the code of the first check."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.calling import Client, Deployment, Pair, as_body, new_pair, running, still_clock, unused_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAY = "/v1/payments"


@dataclass(frozen=True, slots=True)
class Scene:
    """A tenant, and one whose rate limit is used up, each with a token without the scope, and a used key."""

    free: Pair
    exhausted: Pair
    narrow: dict[str, str]
    used_key: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """The clock is stopped, so that a used-up rate limit is not refilled."""
    async with running(tmp_path_factory.mktemp("order"), still_clock()) as deployment:
        free = await new_pair(await deployment.tenant())
        used_key = unused_key()
        await free.client.made(PAY, free.payment(), key=used_key)
        exhausted = await deployment.new_tenant(limits={"requests_per_second": 1})
        assert (await exhausted.get("/v1/payments")).status == 200
        narrow = {client.tenant_id: await narrowed(deployment, client) for client in (free.client, exhausted)}
        yield Scene(free, Pair(exhausted, "acc_1", "acc_2"), narrow, used_key)


async def narrowed(deployment: Deployment, client: Client) -> str:
    """Return a token of the tenant without payments:write."""
    if client.tenant_id == "demo":
        return (await deployment.tenant("payments:read")).token
    made = deployment.tenants[client.tenant_id]["client"]
    return await deployment.token_of(made["client_id"], made["client_secret"], "payments:read")


@dataclass(slots=True)
class Draft:
    """A request to which faults are added."""

    pair: Pair
    body: Any
    method: str = "POST"
    target: str = PAY
    token: str | None = None
    key: str | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    also: list[tuple[str, str]] = field(default_factory=list)
    padding: bytes = b""

    async def sent(self) -> tuple[int, str | None]:
        """Send the draft and return the status and code of the answer."""
        client, content = self.pair.client, as_body(self.body) + self.padding
        key = self.key if self.key is not None else unused_key()
        headers: dict[str, str | None] = {
            "authorization": f"Bearer {self.token or client.token}",
            "content-type": "application/json",
        }
        if key:
            headers["idempotency-key"] = key
        headers |= client.signature(self.method, self.target, content, key)
        headers |= self.headers
        lines = [(name, value) for name, value in headers.items() if value is not None]
        answer = await client.wire.send(self.method, self.target, [*lines, *self.also], content)
        return answer.status, answer.code


Fault = Callable[[Draft, Scene], None]


def too_large(draft: Draft, _scene: Scene) -> None:
    draft.padding = b" " * (300 * 1024)


def nowhere(draft: Draft, _scene: Scene) -> None:
    draft.target = "/v1/nowhere"


def not_taken(draft: Draft, _scene: Scene) -> None:
    draft.method = "PUT"


def sent_twice(draft: Draft, _scene: Scene) -> None:
    draft.also += [("x-request-id", "a"), ("x-request-id", "b")]


def forged(draft: Draft, _scene: Scene) -> None:
    draft.token = "forged"


def without_scope(draft: Draft, scene: Scene) -> None:
    draft.token = draft.token or scene.narrow[draft.pair.client.tenant_id]


def another_tenant(draft: Draft, _scene: Scene) -> None:
    draft.also.append(("x-tenant-id", "another"))


def used_up(_draft: Draft, _scene: Scene) -> None:
    """Mark the draft as of the tenant whose rate limit is used up: see `spoiled`."""


def unsigned(draft: Draft, _scene: Scene) -> None:
    draft.headers["x-signature"] = None


def plain_text(draft: Draft, _scene: Scene) -> None:
    draft.headers["content-type"] = "text/plain"


def without_key(draft: Draft, _scene: Scene) -> None:
    draft.key = ""


def key_reused(draft: Draft, scene: Scene) -> None:
    draft.key = scene.used_key if draft.key is None else draft.key


def unknown_field(draft: Draft, _scene: Scene) -> None:
    draft.body = {**draft.body, "unknown": 1}


def unknown_account(draft: Draft, _scene: Scene) -> None:
    draft.body = {**draft.body, "payee_account_id": "acc_unknown"}


# In the order of the contract. `key_reused` also changes the body, because a reused key needs another value.
CHECKS: list[tuple[str, Fault, int, str]] = [
    ("size", too_large, 413, "payload_too_large"),
    ("path", nowhere, 404, "not_found"),
    ("method", not_taken, 405, "method_not_allowed"),
    ("headers sent twice", sent_twice, 400, "malformed_request"),
    ("token", forged, 401, "invalid_token"),
    ("scope", without_scope, 403, "insufficient_scope"),
    ("tenant", another_tenant, 403, "tenant_mismatch"),
    ("rate limit", used_up, 429, "rate_limited"),
    ("signature", unsigned, 401, "missing_signature"),
    ("media type", plain_text, 415, "unsupported_media_type"),
    ("idempotency key", without_key, 400, "missing_idempotency_key"),
    ("idempotent replay", key_reused, 422, "idempotency_key_reused"),
    ("body", unknown_field, 422, "validation_failed"),
    ("rules", unknown_account, 422, "unknown_reference"),
]


def spoiled(scene: Scene, *faults: Fault) -> Draft:
    """Return a valid payment with these faults."""
    pair = scene.exhausted if used_up in faults else scene.free
    draft = Draft(pair, pair.payment(reference="draft"))
    for fault in faults:
        fault(draft, scene)
    return draft


async def test_a_draft_without_a_fault_is_accepted(scene: Scene) -> None:
    """The draft without faults is a valid request."""
    assert await spoiled(scene).sent() == (201, None)


@pytest.mark.parametrize(("fault", "status", "code"), [check[1:] for check in CHECKS], ids=[c[0] for c in CHECKS])
async def test_each_fault_has_its_code(scene: Scene, fault: Fault, status: int, code: str) -> None:
    """A request with one fault is answered with the code of the fault."""
    assert await spoiled(scene, fault).sent() == (status, code)


PAIRS = list(combinations(CHECKS, 2))


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{a[0]} before {b[0]}" for a, b in PAIRS])
async def test_of_two_faults_the_earlier_check_answers(
    scene: Scene, first: tuple[str, Fault, int, str], second: tuple[str, Fault, int, str]
) -> None:
    """The order is: size, path, method, repeated headers, token, scope, tenant, rate limit, signature, media type,
    idempotency key, idempotent replay, body, rules."""
    assert await spoiled(scene, first[1], second[1]).sent() == first[2:]


async def test_within_the_signature(scene: Scene) -> None:
    """Within the signature the order is: form, timestamp, key, window, HMAC."""
    faults: list[tuple[dict[str, str], str]] = [
        ({"x-signature": "v0=abc"}, "invalid_signature"),
        ({"x-timestamp": "now"}, "malformed_request"),
        ({"x-key-id": "key_unknown"}, "unknown_key"),
        ({"x-timestamp": "2020-01-01T00:00:00Z"}, "timestamp_out_of_window"),
        ({"idempotency-key": "changed"}, "invalid_signature"),
    ]
    for position, (change, code) in enumerate(faults):
        draft = spoiled(scene)
        for later, _ in reversed(faults[position:]):
            draft.headers |= later
        draft.headers |= change
        assert (await draft.sent())[1] == code


async def test_malformed_json_is_reported_before_invalid_fields(scene: Scene) -> None:
    """A repeated key is reported before an unknown field, and that before an unknown reference."""
    body = json.dumps(scene.free.payment(payee_account_id="acc_unknown", unknown=1))
    draft = spoiled(scene)
    draft.body = body[:-1].encode() + b', "method": "internal"}'
    assert await draft.sent() == (400, "malformed_request")
