"""Idempotency keys: one command, one answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.contract.calling import (
    Client,
    Deployment,
    Pair,
    brl,
    in_status,
    new_pair,
    still_clock,
    unused_key,
    user_body,
)
from tests.contract.conftest import Start
from tests.contract.wire import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAY = "/v1/payments"


def replayed_parts(answer: Answer) -> tuple[int, bytes, str | None, str | None]:
    """Return the parts of a response that an idempotent replay repeats."""
    return answer.status, answer.body, answer.header("location"), answer.header("content-type")


def assert_replayed(first: Answer, again: Answer) -> None:
    """Check that the second response has the bytes of the first, and that only the second is marked as replayed."""
    assert first.header("idempotent-replayed") is None
    assert again.header("idempotent-replayed") == "true"
    assert replayed_parts(again) == replayed_parts(first)


@pytest.mark.parametrize("value", [None, "", " "])
async def test_a_post_needs_a_key(pair: Pair, value: str | None) -> None:
    """A POST without an Idempotency-Key, or with an empty one, is answered with 400 `missing_idempotency_key`."""
    body = json.dumps(pair.payment()).encode()
    headers = pair.client.headers("POST", PAY, body) | dict(pair.client.signature("POST", PAY, body, ""))
    del headers["idempotency-key"]
    more = [] if value is None else [("idempotency-key", value)]
    answer = await pair.client.wire.send("POST", PAY, [*headers.items(), *more], body)
    assert (answer.status, answer.code) == (400, "missing_idempotency_key")


MALFORMED = ["a b", "a\tb", '"', '""', '"a', 'a"', 'a"b', '"a"b"', "a" * 256, f'"{"a" * 256}"', "ção", "a\x7f", "\xa0"]


@pytest.mark.parametrize("key", MALFORMED)
async def test_a_malformed_key_is_refused(pair: Pair, key: str) -> None:
    """A key that is not 1 to 255 printable ASCII characters without space and quote is answered with 400."""
    answer = await pair.client.post(PAY, pair.payment(), key=key)
    assert (answer.status, answer.code) == (400, "malformed_request")


@pytest.mark.parametrize("key", ["a" * 255, f'"{"b" * 255}"', "!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "0"])
async def test_every_printable_key_is_accepted(pair: Pair, key: str) -> None:
    """A key of 255 characters with every kind of punctuation is accepted."""
    first = await pair.client.post(PAY, pair.payment(), key=key)
    assert first.status == 201
    assert_replayed(first, await pair.client.post(PAY, pair.payment(), key=key))


async def test_a_quoted_key_is_equal_to_the_bare_one(pair: Pair) -> None:
    """A key in quotes, as in an earlier draft of the header, is the same key as without them."""
    key = unused_key()
    first = await pair.client.post(PAY, pair.payment(), key=key)
    assert_replayed(first, await pair.client.post(PAY, pair.payment(), key=f'"{key}"'))


async def test_a_key_s_case_matters(pair: Pair) -> None:
    """Two keys that differ in case are different keys."""
    made = [await pair.client.made(PAY, pair.payment(), key=key) for key in ("CaseMatters", "casematters")]
    assert made[0]["id"] != made[1]["id"]


async def test_the_same_value_gets_the_same_answer(pair: Pair) -> None:
    """A body that differs only in the order of keys, blanks and escapes gets the first response, byte for byte."""
    key, body = unused_key(), pair.payment(reference="ação", metadata={"a": "1", "b": "2"})
    first = await pair.client.post(PAY, body, key=key)
    turned = {name: body[name] for name in reversed(body)} | {"metadata": {"b": "2", "a": "1"}}
    for spelling in (
        json.dumps(turned).encode(),
        json.dumps(turned, indent=4, ensure_ascii=False).encode(),
        json.dumps(body, separators=(",", ":")).replace("internal", "\\u0069nternal").encode(),
    ):
        assert_replayed(first, await pair.client.post(PAY, spelling, key=key))


async def test_the_first_response_is_repeated_after_later_changes(pair: Pair) -> None:
    """A repeated request gets the payment as it was created, also after it has settled, and its events are published
    once."""
    key = unused_key()
    first = await pair.client.post(PAY, pair.payment(), key=key)
    payment = first.document
    await in_status(pair.client, first.header("location") or "", "settled")
    again = await pair.client.post(PAY, pair.payment(), key=key)
    assert_replayed(first, again)
    assert payment["status"] == "created"
    facts = await pair.client.read(f"{PAY}/{payment['id']}/events")
    assert [fact["type"] for fact in facts["data"]].count("lastro.payment.created.v1") == 1


OTHER_VALUES: list[dict[str, Any]] = [
    {"amount": brl(101)},
    {"capture": "automatic"},
    {"reference": None},
    {"metadata": {}},
    {"unknown": 1},
    {"amount": {"value": "100", "currency": "BRL"}},
    {"amount": {"value": 100.0, "currency": "BRL"}},
]


@pytest.mark.parametrize("fields", OTHER_VALUES)
async def test_another_value_under_the_key_is_refused(pair: Pair, fields: dict[str, Any]) -> None:
    """Another body under a used key, even with the same meaning, is answered with 422 `idempotency_key_reused`."""
    key = unused_key()
    await pair.client.made(PAY, pair.payment(), key=key)
    answer = await pair.client.post(PAY, pair.payment(**fields), key=key)
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")


async def test_a_key_belongs_to_a_path(pair: Pair) -> None:
    """The same key on two paths is two keys: it captures two payments."""
    key = unused_key()
    first, second = [await pair.paid(capture="manual") for _ in range(2)]
    for payment in (first, second):
        answer = await pair.client.post(f"{PAY}/{payment['id']}/capture", key=key)
        assert (answer.document["id"], answer.header("idempotent-replayed")) == (payment["id"], None)


async def test_a_key_belongs_to_a_tenant(deployment: Deployment, demo: Client) -> None:
    """Two tenants can use the same key."""
    other, key = await deployment.new_tenant(), unused_key()
    mine = await demo.post("/v1/users", user_body(), key=key)
    theirs = await other.post("/v1/users", user_body(), key=key)
    assert (mine.status, theirs.status) == (201, 201)
    assert theirs.header("idempotent-replayed") is None


async def test_an_empty_body_of_an_action_is_an_empty_object(pair: Pair) -> None:
    """For an action, no body and `{}` are the same value under a key."""
    key, payment = unused_key(), await pair.paid(capture="manual")
    target = f"{PAY}/{payment['id']}/cancel"
    first = await pair.client.post(target, key=key)
    assert first.document["status"] == "canceled"
    assert_replayed(first, await pair.client.post(target, b"{}", key=key))
    assert (await pair.client.post(target, {"reason": "x"}, key=key)).code == "idempotency_key_reused"


async def test_a_repeated_action_under_a_new_key_is_a_new_command(pair: Pair) -> None:
    """An action that is repeated under another key is refused, because the status does not allow it twice."""
    payment = await pair.paid(capture="manual")
    target = f"{PAY}/{payment['id']}/cancel"
    assert (await pair.client.post(target)).status == 200
    answer = await pair.client.post(target)
    assert (answer.status, answer.code) == (409, "illegal_state")


async def test_a_refused_request_does_not_use_up_its_key(pair: Pair) -> None:
    """After each kind of 4xx the corrected request can use the same key."""
    key = unused_key()
    refusals = [
        ((b"{"), "malformed_request"),
        (pair.payment(amount=brl(0)), "validation_failed"),
        (pair.payment(payee_account_id="acc_unknown"), "unknown_reference"),
        (pair.payment(amount={"value": 1, "currency": "USD"}), "currency_mismatch"),
    ]
    for body, code in refusals:
        assert (await pair.client.post(PAY, body, key=key)).code == code
    assert (await pair.client.post(PAY, pair.payment(), key=key, change={"content-type": "text/plain"})).status == 415
    first = await pair.client.post(PAY, pair.payment(), key=key)
    assert first.status == 201
    assert_replayed(first, await pair.client.post(PAY, pair.payment(), key=key))


async def test_a_state_that_refused_may_allow_it_later(pair: Pair) -> None:
    """After 409 `illegal_state` the same request may succeed later under its key."""
    key = unused_key()
    payment = await pair.client.made(PAY, pair.payment(capture="manual"))
    target = f"{PAY}/{payment['id']}/refunds"
    assert (await pair.client.post(target, key=key)).code == "illegal_state"
    await in_status(pair.client, f"{PAY}/{payment['id']}", "authorized")
    await pair.client.made(f"{PAY}/{payment['id']}/capture", also=(("prefer", "wait=10"),))
    assert (await pair.client.post(target, key=key)).status == 201


async def test_a_key_in_progress_is_a_conflict(
    deployment: Deployment, demo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first request is in progress, another with its key and any body gets 409 `request_in_progress` with
    Retry-After."""
    secrets, entered, go_on = deployment.platform.runtime.secrets, asyncio.Event(), asyncio.Event()
    seal = secrets.seal

    async def slowly(*arguments: Any) -> list[str]:
        entered.set()
        await go_on.wait()
        return await seal(*arguments)

    monkeypatch.setattr(secrets, "seal", slowly)
    key, body = unused_key(), user_body()
    first = asyncio.create_task(demo.post("/v1/users", body, key=key))
    await entered.wait()
    for other in (body, {"name": 1}, b"{"):
        answer = await demo.post("/v1/users", other, key=key)
        assert (answer.status, answer.code) == (409, "request_in_progress")
        assert int(answer.header("retry-after") or "0") >= 1
    go_on.set()
    assert (await first).status == 201
    assert_replayed(await first, await demo.post("/v1/users", body, key=key))


async def test_a_response_with_secrets_is_repeated_completely(deployment: Deployment, operator: Client) -> None:
    """The secrets of a new tenant and a new key are in the replayed response, and in no other."""
    key = unused_key()
    first = await operator.post("/v1/tenants", {"name": "Twice"}, key=key)
    assert_replayed(first, await operator.post("/v1/tenants", {"name": "Twice"}, key=key))
    tenant = first.document
    secret = tenant["signing_key"]["secret"]
    assert secret not in (await operator.get(f"/v1/tenants/{tenant['id']}")).body.decode()
    shown = await operator.get(f"/v1/tenants/{tenant['id']}/signing-keys/{tenant['signing_key']['key_id']}")
    assert secret not in shown.body.decode()
    again = await operator.post("/v1/tenants", {"name": "Twice", "id": tenant["id"]})
    assert (again.status, again.code) == (409, "already_exists")


async def test_a_key_is_remembered_over_a_restart(start: Start) -> None:
    """After a restart, a repeated request gets the first response and has no second effect."""
    async with start(still_clock()) as deployment:
        pair = await new_pair(await deployment.tenant())
        first = await pair.client.post(PAY, pair.payment(), key="over-a-restart")
        user = await pair.client.post("/v1/users", user_body(name="Bia"), key="over-a-restart")
        sent = user_body(name="Bia") | {"document": user.document["document"], "email": user.document["email"]}
    async with start(still_clock()) as deployment:
        client = await deployment.tenant()
        assert_replayed(first, await client.post(PAY, pair.payment(), key="over-a-restart"))
        assert_replayed(user, await client.post("/v1/users", sent, key="over-a-restart"))
        assert len((await client.read(PAY))["data"]) == 1


async def test_a_get_needs_no_key(demo: Client) -> None:
    """A GET needs no key, and a key on it is ignored."""
    assert (await demo.get(PAY, also=(("idempotency-key", "not even well formed"),))).status == 200
