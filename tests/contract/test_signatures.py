"""Signed requests: the parts that a signature covers, its time window, and its single use."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.core.clock import ManualClock
from tests.contract.calling import Client, Deployment, Key, Pair, new_pair, still_clock, unused_key
from tests.contract.conftest import Start

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAY = "/v1/payments"


def refused(answer: Any) -> tuple[int, str | None]:
    """Return the status and code of a problem."""
    return answer.status, answer.code


@pytest.mark.parametrize("name", ["x-timestamp", "x-key-id", "x-signature"])
@pytest.mark.parametrize("value", [None, "", "  "])
async def test_a_signature_has_three_headers(pair: Pair, name: str, value: str | None) -> None:
    """A request without one of the three signature headers, or with an empty one, is answered with 401
    `missing_signature`."""
    answer = await pair.client.post(PAY, pair.payment(), change={name: value})
    assert refused(answer) == (401, "missing_signature")
    assert (answer.header("www-authenticate") or "").startswith("Lastro-HMAC-SHA256")


TAMPERED: dict[str, dict[str, str]] = {
    "idempotency key": {"idempotency-key": "another"},
    "quoted idempotency key": {"idempotency-key": '"quoted-later"'},
    "signature of zeros": {"x-signature": "v1=" + "A" * 43 + "="},
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED.keys())
async def test_what_is_signed_cannot_be_changed(pair: Pair, change: dict[str, str]) -> None:
    """A signed header that was changed after signing is answered with 401 `invalid_signature`."""
    answer = await pair.client.post(PAY, pair.payment(), key="quoted-later", change=change)
    assert refused(answer) == (401, "invalid_signature")


async def test_the_timestamp_is_signed(pair: Pair) -> None:
    """A timestamp in another notation of the same instant makes the signature invalid."""
    at = pair.client.timestamp()
    answer = await pair.client.post(PAY, pair.payment(), timestamp=at, change={"x-timestamp": at[:-1] + "+00:00"})
    assert refused(answer) == (401, "invalid_signature")


async def test_the_body_is_signed_byte_for_byte(pair: Pair) -> None:
    """An additional blank in the body makes the signature invalid."""
    headers = pair.client.headers("POST", PAY, b"{}")
    answer = await pair.client.wire.send("POST", PAY, headers.items(), b"{ }")
    assert refused(answer) == (401, "invalid_signature")


@pytest.mark.parametrize(
    ("signed", "sent"),
    [
        ("/v1/payments", "/v1/users"),
        ("/v1/payments", "/v1/payments?limit=1"),
        ("/v1/payments?", "/v1/payments?%"),
        ("/v1/payments?a=1&b=2", "/v1/payments?b=2&a=1"),
        ("/v1/payments?a=%2F", "/v1/payments?a=%2f"),
        ("/v1/payments?a=b%20c", "/v1/payments?a=b+c"),
        ("/v1/payments?a=%61", "/v1/payments?a=a"),
        ("/v1/payments?a=", "/v1/payments?a"),
        ("/v1/payments?a=1", "/v1/payments?a=1&"),
        ("/v1/payments/pay_1/capture", "/v1/payments/pay_1/cancel"),
        ("/v1/payments/pay_1/capture", "/v1/payments/pay_2/capture"),
    ],
)
async def test_path_and_query_are_signed_as_they_are_sent(pair: Pair, signed: str, sent: str) -> None:
    """Path and query are signed as they are sent, without decoding, sorting or normalisation."""
    headers = pair.client.headers("POST", signed, b"{}")
    answer = await pair.client.wire.send("POST", sent, headers.items(), b"{}")
    assert refused(answer) == (401, "invalid_signature")


async def test_the_method_is_signed(pair: Pair) -> None:
    """A signature over another method is refused."""
    signature = pair.client.signature("POST", PAY, b"")
    assert refused(await pair.client.get(PAY, change=dict(signature))) == (401, "invalid_signature")


async def test_the_tenant_is_signed_whether_or_not_it_is_named(pair: Pair) -> None:
    """The canonical string contains the tenant's id, with and without the header X-Tenant-Id."""
    for also in ((), (("x-tenant-id", "demo"),)):
        assert (await pair.client.post(PAY, pair.payment(), also=also)).status == 201
    stranger = replace(pair.client, tenant_id="")
    assert refused(await stranger.post(PAY, pair.payment())) == (401, "invalid_signature")


async def test_a_lone_question_mark_is_an_empty_query(pair: Pair) -> None:
    """`/v1/payments?` and `/v1/payments` have the same canonical string."""
    content = b'{"x": 1}'
    headers = pair.client.headers("POST", PAY, content)
    answer = await pair.client.wire.send("POST", PAY + "?", headers.items(), content)
    assert refused(answer) == (422, "validation_failed")


@pytest.mark.parametrize(
    "form",
    ["{}", "v0={}", "V1={}", "v1={} ,v1={}", "v1= {}", "v1:{}", "sha256={}"],
)
async def test_a_signature_of_another_form_is_invalid(pair: Pair, form: str) -> None:
    """A signature that is not `v1=` and the base64 of 32 bytes is refused."""
    content = b"{}"
    headers = pair.client.headers("POST", PAY, content)
    right = headers["x-signature"].removeprefix("v1=")
    headers["x-signature"] = form.format(right, right)
    assert refused(await pair.client.wire.send("POST", PAY, headers.items(), content)) == (401, "invalid_signature")


@pytest.mark.parametrize("spelling", ["hex", "urlsafe", "unpadded", "last bits", "upper case"])
async def test_a_signature_has_one_notation(pair: Pair, spelling: str) -> None:
    """Another base64 notation of the same bytes is refused, because it would count as a new signature."""
    content = b"{}"
    while True:
        headers = pair.client.headers("POST", PAY, content)
        right = headers["x-signature"].removeprefix("v1=")
        if "+" in right or "/" in right:
            break
    raw = b64decode(right)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    wrong = {
        "hex": raw.hex(),
        "urlsafe": urlsafe_b64encode(raw).decode(),
        "unpadded": right.rstrip("="),
        "last bits": right[:-2] + alphabet[alphabet.index(right[-2]) + 1] + "=",
        "upper case": right.upper(),
    }[spelling]
    headers["x-signature"] = "v1=" + wrong
    assert refused(await pair.client.wire.send("POST", PAY, headers.items(), content)) == (401, "invalid_signature")


async def test_a_signature_on_a_get_is_verified(pair: Pair) -> None:
    """A signature on a GET is optional; it must be valid when sent, and may be used again."""
    target = f"{PAY}?limit=1&reference=a%20b"
    good = dict(pair.client.signature("GET", target, b""))
    assert (await pair.client.get(target)).status == 200
    assert (await pair.client.get(target, change=good)).status == 200
    assert (await pair.client.get(target, change=good)).status == 200
    assert refused(await pair.client.get(f"{PAY}?limit=2", change=good)) == (401, "invalid_signature")
    assert refused(await pair.client.get(target, change={**good, "x-key-id": None})) == (401, "missing_signature")


# Keys


async def test_another_tenant_s_key_is_unknown(deployment: Deployment, pair: Pair) -> None:
    """A key of another tenant is answered as an unknown key."""
    other = await deployment.new_tenant()
    assert refused(await replace(pair.client, key=other.key).post(PAY, pair.payment())) == (401, "unknown_key")
    assert other.key is not None
    nobody = Key("key_nobody", other.key.secret)
    assert refused(await replace(pair.client, key=nobody).post(PAY, pair.payment())) == (401, "unknown_key")


async def test_another_key_s_secret_does_not_sign(deployment: Deployment, pair: Pair) -> None:
    """A signature with the secret of another key than X-Key-Id is refused."""
    other = await deployment.new_tenant()
    assert other.key is not None
    assert pair.client.key is not None
    mixed = replace(pair.client, key=Key(pair.client.key.id, other.key.secret))
    assert refused(await mixed.post(PAY, pair.payment())) == (401, "invalid_signature")


async def test_a_revoked_key_is_refused(deployment: Deployment, operator: Client) -> None:
    """After a rotation both keys are accepted; a revoked key is answered with 401 `revoked_key`; the last key cannot
    be revoked."""
    client = await deployment.new_tenant()
    keys = f"/v1/tenants/{client.tenant_id}/signing-keys"
    old = client.key
    assert old is not None
    made = await operator.made(keys)
    new = replace(client, key=Key(made["key_id"], made["secret"]))
    for both in (client, new):
        assert (await both.post("/v1/users", {})).code == "validation_failed"
    assert (await operator.read(f"{keys}/{old.id}"))["status"] == "grace"
    assert (await operator.made(f"{keys}/{old.id}/revoke"))["status"] == "revoked"
    assert refused(await client.post("/v1/users", {})) == (401, "revoked_key")
    assert (await new.post("/v1/users", {})).code == "validation_failed"
    assert refused(await operator.post(f"{keys}/{made['key_id']}/revoke")) == (409, "illegal_state")
    assert (await operator.made(f"{keys}/{old.id}/revoke"))["status"] == "revoked"


async def test_a_key_s_grace_ends(start: Start) -> None:
    """The previous key is accepted until the end of its grace period, to the microsecond."""
    clock = still_clock()
    async with start(clock) as deployment:
        client, operator = await deployment.tenant(), await deployment.operator()
        assert client.key is not None
        made = await operator.made("/v1/tenants/demo/signing-keys", {"grace_seconds": 60})
        clock.advance(timedelta(seconds=60) - timedelta(microseconds=1))
        assert (await client.post("/v1/users", {})).code == "validation_failed"
        clock.advance(timedelta(microseconds=1))
        assert refused(await client.post("/v1/users", {})) == (401, "revoked_key")
        assert (await operator.read(f"/v1/tenants/demo/signing-keys/{client.key.id}"))["status"] == "revoked"
        renewed = replace(client, key=Key(made["key_id"], made["secret"]))
        assert (await renewed.post("/v1/users", {})).code == "validation_failed"


async def test_a_rotation_without_grace_ends_the_old_key_at_once(deployment: Deployment, operator: Client) -> None:
    """`grace_seconds` 0 revokes the previous key at once."""
    client = await deployment.new_tenant()
    await operator.made(f"/v1/tenants/{client.tenant_id}/signing-keys", {"grace_seconds": 0})
    assert refused(await client.post("/v1/users", {})) == (401, "revoked_key")


# Time


def spelled(clock: ManualClock, offset: timedelta) -> str:
    return (clock.now() + offset).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_the_window_has_two_sides(start: Start) -> None:
    """A timestamp within five minutes of now is accepted; a microsecond more is 401 `timestamp_out_of_window`."""
    clock = still_clock()
    edge, beyond = timedelta(minutes=5), timedelta(minutes=5, microseconds=1)
    async with start(clock) as deployment:
        client = await deployment.tenant()
        for offset, code in (
            (-edge, "validation_failed"),
            (edge, "validation_failed"),
            (-beyond, "timestamp_out_of_window"),
            (beyond, "timestamp_out_of_window"),
            (timedelta(days=-3650), "timestamp_out_of_window"),
            (timedelta(days=3650), "timestamp_out_of_window"),
        ):
            answer = await client.post("/v1/users", {}, timestamp=spelled(clock, offset))
            assert answer.code == code, offset


async def test_fractions_and_notations_of_utc_are_accepted(start: Start) -> None:
    """An ISO 8601 timestamp in UTC is accepted with and without fractions of a second."""
    async with start(still_clock()) as deployment:
        client = await deployment.tenant()
        for spelling in (
            "2026-11-20T12:00:00Z",
            "2026-11-20T12:00:00.1Z",
            "2026-11-20T12:00:00.123456789Z",
            "2026-11-20T12:00:00,5Z",
            "2026-11-20T12:00:00+00:00",
        ):
            answer = await client.post("/v1/users", {}, timestamp=spelling)
            assert answer.code == "validation_failed", spelling


@pytest.mark.parametrize(
    "spelling",
    [
        "now",
        "1795176000",
        "2026-11-20",
        "2026-11-20T12:00:00",
        "2026-11-20T09:00:00-03:00",
        "2026-11-20 12:00:00Z",
        "2026-11-20T12:00:00z",
        "2026-13-20T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T12:00:00.Z",
        "Fri, 20 Nov 2026 12:00:00 GMT",
        "2026-11-20T12:00:00\xa0Z",
    ],
)
async def test_an_invalid_timestamp_is_malformed(demo: Client, spelling: str) -> None:
    """A timestamp that is not an ISO 8601 time in UTC is answered with 400."""
    answer = await demo.post("/v1/users", {}, timestamp=spelling)
    assert refused(answer) == (400, "malformed_request")


# Single use


async def test_a_signature_is_accepted_once(pair: Pair) -> None:
    """A repeated signed request is answered with 401 `signature_replayed`, also with another request id; with a new
    signature it is accepted."""
    headers = pair.client.headers("POST", PAY, b"{}")
    codes = []
    for request_id in ("first", "second"):
        answer = await pair.client.wire.send("POST", PAY, [*headers.items(), ("x-request-id", request_id)], b"{}")
        codes.append(answer.code)
    assert codes == ["validation_failed", "signature_replayed"]


@pytest.mark.parametrize("case", ["answered", "media type", "no key", "malformed", "invalid", "rules", "replay"])
async def test_a_valid_signature_is_used_up_by_any_outcome(pair: Pair, case: str) -> None:
    """A valid signature is used up by a success, by each kind of refusal, and by an idempotent replay."""
    body = {
        "answered": pair.payment(),
        "malformed": b"{",
        "rules": pair.payment(payee_account_id="acc_unknown"),
        "replay": pair.payment(),
    }.get(case, {"x": 1})
    key = unused_key()
    if case == "replay":
        await pair.client.made(PAY, body, key=key)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if case == "no key":
        headers = {**pair.client.headers("POST", PAY, content), **pair.client.signature("POST", PAY, content)}
        del headers["idempotency-key"]
    else:
        headers = pair.client.headers("POST", PAY, content, key=key)
    if case == "media type":
        headers["content-type"] = "text/plain"
    first = await pair.client.wire.send("POST", PAY, headers.items(), content)
    assert first.code not in ("invalid_signature", "signature_replayed")
    again = await pair.client.wire.send("POST", PAY, headers.items(), content)
    assert refused(again) == (401, "signature_replayed")


async def test_a_refusal_before_the_signature_check_does_not_use_it_up(pair: Pair) -> None:
    """A request that was refused before the signature check may be corrected and sent with the same signature."""
    headers = pair.client.headers("POST", PAY, b"{}")
    early = await pair.client.wire.send("POST", PAY, [*headers.items(), ("x-tenant-id", "other")], b"{}")
    late = await pair.client.wire.send("POST", PAY, headers.items(), b"{}")
    assert (early.code, late.code) == ("tenant_mismatch", "validation_failed")


async def test_a_used_signature_is_refused_after_a_restart(start: Start) -> None:
    """A signature that was used before a restart, by a success or a refusal, is refused after it."""
    clock = still_clock()
    async with start(clock) as deployment:
        pair = await new_pair(await deployment.tenant())
        sent = []
        for body in (b"{}", json.dumps(pair.payment()).encode()):
            headers = pair.client.headers("POST", PAY, body)
            sent.append((headers, body))
            assert (await deployment.wire.send("POST", PAY, headers.items(), body)).status in (201, 422)
    clock.advance(timedelta(seconds=1))
    async with start(clock) as deployment:
        for headers, body in sent:
            answer = await deployment.wire.send("POST", PAY, headers.items(), body)
            assert refused(answer) == (401, "signature_replayed")
    clock.advance(timedelta(minutes=4))
    async with start(clock) as deployment:
        for headers, body in sent:
            answer = await deployment.wire.send("POST", PAY, headers.items(), body)
            assert refused(answer) == (401, "signature_replayed")


@pytest.mark.parametrize("steps", [(-60,), (60, -60)], ids=["back", "forwards and back"])
async def test_timestamps_are_compared_with_the_present_wall_clock(start: Start, steps: tuple[int, ...]) -> None:
    """After the wall clock was set, timestamps are compared with the new time, and used signatures are still
    refused."""
    clock = still_clock()
    async with start(clock) as deployment:
        pair = await new_pair(await deployment.tenant())
        old = right = pair.client.headers("POST", PAY, b"{}")
        assert (await deployment.wire.send("POST", PAY, old.items(), b"{}")).code == "validation_failed"
        for minutes in steps:
            clock.jump(timedelta(minutes=minutes))
            client = await deployment.tenant()
            right = client.headers("POST", PAY, b"{}")
            assert (await deployment.wire.send("POST", PAY, right.items(), b"{}")).code == "validation_failed"
            wrong = client.headers("POST", PAY, b"{}", timestamp=spelled(clock, timedelta(hours=1)))
            assert (await deployment.wire.send("POST", PAY, wrong.items(), b"{}")).code == "timestamp_out_of_window"
        again = await deployment.wire.send("POST", PAY, {**old, "authorization": right["authorization"]}.items(), b"{}")
        assert again.code == ("timestamp_out_of_window" if len(steps) == 1 else "signature_replayed")


async def test_two_requests_of_one_signature_at_once_are_one(pair: Pair) -> None:
    """Of ten concurrent requests with one signature, one is accepted."""
    headers = pair.client.headers("POST", PAY, b"{}")
    answers = await asyncio.gather(*(pair.client.wire.send("POST", PAY, headers.items(), b"{}") for _ in range(10)))
    codes = sorted(str(answer.code) for answer in answers)
    assert codes == ["signature_replayed"] * 9 + ["validation_failed"]


# Repeated headers


SECURITY_HEADERS = [
    "authorization",
    "x-tenant-id",
    "idempotency-key",
    "x-timestamp",
    "x-key-id",
    "x-signature",
    "x-request-id",
]


@pytest.mark.parametrize("name", SECURITY_HEADERS)
@pytest.mark.parametrize("kind", ["same", "other", "empty", "other case"])
async def test_a_repeated_header_of_the_contract_is_refused(pair: Pair, name: str, kind: str) -> None:
    """Each of the seven headers sent twice is answered with 400, with any values and in any case."""
    content = b"{}"
    headers = pair.client.headers("POST", PAY, content) | {"x-tenant-id": "demo", "x-request-id": "mine"}
    value = {"same": headers[name], "other case": headers[name], "other": "other", "empty": ""}[kind]
    second = (name.title() if kind == "other case" else name, value)
    for order in ([*headers.items(), second], [second, *headers.items()]):
        answer = await pair.client.wire.send("POST", PAY, order, content)
        assert refused(answer) == (400, "malformed_request")
        assert name in answer.document["detail"]


async def test_a_repeated_header_of_a_get_is_refused(demo: Client) -> None:
    """A GET with two Authorization headers is refused, also when they are equal."""
    answer = await demo.get(PAY, also=(("authorization", f"Bearer {demo.token}"),))
    assert refused(answer) == (400, "malformed_request")


async def test_other_headers_may_be_repeated(demo: Client) -> None:
    """Headers that are not of the contract may be repeated."""
    others = (("accept", "application/json"), ("accept", "*/*"), ("x-other", "1"), ("x-other", "2"))
    answer = await demo.get(PAY, also=others)
    assert answer.status == 200
