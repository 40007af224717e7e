"""Invalid bodies, and unusual but valid ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.calling import TOKEN_PATH, Client, Deployment, Pair, brl, new_account, user_body, without

pytestmark = pytest.mark.asyncio(loop_scope="session")

BIGGEST = 2**63 - 1


async def pay(pair: Pair, body: Any) -> tuple[int, str | None, list[str]]:
    """Send a payment and return the status, code and pointers of the answer."""
    answer = await pair.client.post("/v1/payments", body)
    return answer.status, answer.code, answer.pointers if answer.code else []


NOT_JSON: dict[str, bytes] = {
    "broken": b'{"amount":',
    "two values": b"{} {}",
    "single quotes": b"{'amount': 1}",
    "trailing comma": b'{"amount": 1,}',
    "comment": b"{} // done",
    "not a number": b'{"amount": NaN}',
    "infinity": b'{"amount": Infinity}',
    "leading zero": b'{"amount": 0100}',
    "leading plus": b'{"amount": +100}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "latin-1": b'{"description": "a\xe7\xe3o"}',
    "overlong": b'{"description": "\xc0\xaf"}',
    "surrogate in utf-8": b'{"description": "\xed\xa0\x80"}',
    "utf-16": "{}".encode("utf-16"),
    "raw control character": b'{"description": "a\x01b"}',
    "lone high surrogate": b'{"description": "\\ud83d"}',
    "lone low surrogate": b'{"description": "\\ude00 \\ud83d"}',
    "lone surrogate in a key": b'{"\\ud83d": 1}',
    "key twice": b'{"method": "internal", "method": "internal"}',
    "key twice, once escaped": b'{"method": "internal", "\\u006dethod": "internal"}',
    "nested key twice": b'{"amount": {"value": 1, "value": 100, "currency": "BRL"}}',
    "key twice deep in a list": b'{"metadata": [[{"a": {"b": 1, "c": 2, "b": 1}}]]}',
    "33 levels": b'{"metadata": ' + b"[" * 32 + b"]" * 32 + b"}",
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "100,000 open objects": b'{"a":' * 30_000,
    "nothing": b"",
    "blanks": b" \n ",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_a_body_that_is_not_json_is_malformed(demo: Client, body: bytes) -> None:
    """A body that is not JSON in UTF-8, has a repeated key or is nested too deeply is answered with 400
    `malformed_request`."""
    answer = await demo.post("/v1/payments", body, change={"content-type": "application/json"})
    assert (answer.status, answer.code) == (400, "malformed_request")


async def test_a_repeated_key_is_refused_with_its_pointer(demo: Client) -> None:
    """The problem has the pointer of a repeated key."""
    answer = await demo.post("/v1/payments", b'{"amount": {"value": 1, "value": 1}}')
    assert answer.pointers == ["/amount/value"]


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"a"', b"true", b'[{"amount": 1}]'])
@pytest.mark.parametrize("target", ["/v1/payments", "/v1/payments/pay_x/capture"])
async def test_a_body_that_is_not_an_object_is_invalid(demo: Client, target: str, body: bytes) -> None:
    """A body that is JSON but not an object is answered with 422, also for actions."""
    answer = await demo.post(target, body)
    assert (answer.status, answer.code, answer.pointers) == (422, "validation_failed", [""])


BAD_VALUES: dict[str, bytes] = {
    "float": b"100.5",
    "whole float": b"100.0",
    "exponent": b"1e2",
    "small exponent": b"1E0",
    "beyond a double": b"1e400",
    "text": b'"100"',
    "true": b"true",
    "null": b"null",
    "zero": b"0",
    "minus zero": b"-0",
    "negative": b"-100",
    "2^63": str(2**63).encode(),
    "2^64 + 100": str(2**64 + 100).encode(),
    "-2^63": str(-(2**63)).encode(),
    "10^25": b"1" + b"0" * 25,
    "5,000 digits": b"9" * 5000,
    "list": b"[100]",
    "object": b'{"value": 100}',
}


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES.keys())
async def test_an_amount_is_a_positive_64_bit_integer(pair: Pair, value: bytes) -> None:
    """An amount that is not a positive 64-bit integer is answered with 422 and its pointer, and is not rounded,
    converted or wrapped."""
    body = (
        b'{"method": "internal", "payer_account_id": "%s", "payee_account_id": "%s", '
        b'"amount": {"currency": "BRL", "value": %s}}' % (pair.payer.encode(), pair.payee.encode(), value)
    )
    assert await pay(pair, body) == (422, "validation_failed", ["/amount/value"])


async def test_the_largest_amount_is_an_amount(pair: Pair) -> None:
    """An amount of 2^63 - 1 is accepted; the payment is declined later for its funds."""
    payment = await pair.paid(amount=brl(BIGGEST))
    assert payment["amount"] == brl(BIGGEST)
    assert (payment["status"], payment["failure"]["code"]) == ("declined", "insufficient_funds")


BAD_PAYMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("unknown field", {"amont": 1}, "/amont"),
    ("unknown nested field", {"amount": {**brl(1), "scale": 2}}, "/amount/scale"),
    ("field of another case", {"Reference": "a"}, "/Reference"),
    ("field with a slash and a tilde", {"a/b~c": 1}, "/a~1b~0c"),
    ("amount as a number", {"amount": 100}, "/amount"),
    ("currency in lower case", {"amount": {"value": 1, "currency": "brl"}}, "/amount/currency"),
    ("currency that is none", {"amount": {"value": 1, "currency": "ZZZ"}}, "/amount/currency"),
    ("no currency", {"amount": {"value": 1}}, "/amount/currency"),
    ("unknown method", {"method": "cheque"}, "/method"),
    ("unknown capture", {"capture": "later"}, "/capture"),
    ("expires too soon", {"expires_in": 59}, "/expires_in"),
    ("expires too late", {"expires_in": 2_592_001}, "/expires_in"),
    ("expires as text", {"expires_in": "60"}, "/expires_in"),
    ("expires true", {"expires_in": True}, "/expires_in"),
    ("expires float", {"expires_in": 60.0}, "/expires_in"),
    ("reference too long", {"reference": "r" * 141}, "/reference"),
    ("reference a number", {"reference": 5}, "/reference"),
    ("NUL in a reference", {"reference": "a\x00b"}, "/reference"),
    ("description too long", {"description": "d" * 501}, "/description"),
    ("NUL in a description", {"description": "\x00"}, "/description"),
    ("id empty", {"payee_account_id": ""}, "/payee_account_id"),
    ("id a number", {"payee_account_id": 7}, "/payee_account_id"),
    ("NUL in an id", {"payee_account_id": "acc_\x00"}, "/payee_account_id"),
    ("line break behind an id", {"payee_account_id": "acc_1\n"}, "/payee_account_id"),
    ("id too long", {"payee_account_id": "a" * 256}, "/payee_account_id"),
    ("metadata a list", {"metadata": []}, "/metadata"),
    ("metadata of numbers", {"metadata": {"order": 5}}, "/metadata/order"),
    ("metadata value null", {"metadata": {"order": None}}, "/metadata/order"),
    ("metadata value too long", {"metadata": {"order": "v" * 501}}, "/metadata/order"),
    ("NUL in metadata", {"metadata": {"order": "\x00"}}, "/metadata/order"),
    ("metadata key empty", {"metadata": {"": "a"}}, "/metadata/"),
    ("metadata key too long", {"metadata": {"k" * 41: "a"}}, "/metadata/" + "k" * 41),
    ("metadata key with a blank", {"metadata": {"a b": "a"}}, "/metadata/a b"),
    ("metadata key with a line break", {"metadata": {"a\n": "a"}}, "/metadata/a\n"),
    ("51 metadata keys", {"metadata": {f"k{number}": "v" for number in range(51)}}, "/metadata"),
]


@pytest.mark.parametrize(("fields", "pointer"), [case[1:] for case in BAD_PAYMENTS], ids=[c[0] for c in BAD_PAYMENTS])
async def test_an_invalid_field_is_refused_with_its_pointer(pair: Pair, fields: dict[str, Any], pointer: str) -> None:
    """Each invalid field is answered with 422 `validation_failed` and a JSON pointer to it."""
    assert await pay(pair, pair.payment(**fields)) == (422, "validation_failed", [pointer])


@pytest.mark.parametrize("name", ["amount", "method", "payer_account_id", "payee_account_id"])
async def test_a_missing_field_is_refused_with_its_pointer(pair: Pair, name: str) -> None:
    """A missing required field is refused with its pointer."""
    assert await pay(pair, without(pair.payment(), name)) == (422, "validation_failed", [f"/{name}"])


async def test_all_invalid_fields_are_reported_at_once(pair: Pair) -> None:
    """One response lists all invalid fields."""
    answer = await pair.client.post("/v1/payments", pair.payment(amount=brl(0), capture="x", more=1))
    assert sorted(answer.pointers) == ["/amount/value", "/capture", "/more"]


async def test_limits_are_inclusive(pair: Pair) -> None:
    """The longest allowed values are accepted and returned unchanged."""
    most = {
        "reference": "r" * 140,
        "description": "ção 💸 " + "d" * 494,
        "metadata": {f"{number:040d}": "v" * 500 for number in range(50)},
        "expires_in": 60,
    }
    payment = await pair.client.made("/v1/payments", pair.payment(**most))
    assert {name: payment[name] for name in ("reference", "description", "metadata")} == without(most, "expires_in")


async def test_null_means_an_omitted_optional_field(pair: Pair) -> None:
    """An omitted optional field has its default in the resource, which is null or a value; sending null has the same
    effect."""
    names = ("reference", "description", "metadata", "capture", "expires_in")
    payment = await pair.client.made("/v1/payments", pair.payment(**dict.fromkeys(names)))
    assert [payment[name] for name in names[:4]] == [None, None, None, "automatic"]
    assert payment["expires_at"] is not None


UNREADABLE = {
    "blank": "  ",
    "only a space without width": "\u200b",
    "a line break": "a\nb",
    "a tab": "a\tb",
    "an escape": "a\x1b[31mb",
    "a C1 control": "a\x85b",
    "a line separator": "a\u2028b",
    "NUL": "a\x00b",
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_text_for_people_is_readable(pair: Pair, deployment: Deployment, text: str) -> None:
    """A name, reference, description or reason that is blank or has control characters is refused."""
    operator, client = await deployment.operator(), pair.client
    unknown = "/v1/payments/pay_01a2177f31c5700181a3c131920d323a"
    for caller, path, body, pointer in (
        (operator, "/v1/tenants", {"name": text}, "/name"),
        (client, "/v1/users", user_body(name=text), "/name"),
        (client, "/v1/payments", pair.payment(reference=text), "/reference"),
        (client, "/v1/payments", pair.payment(description=text), "/description"),
        (client, f"{unknown}/cancel", {"reason": text}, "/reason"),
        (client, f"{unknown}/refunds", {"reason": text}, "/reason"),
        (client, "/v1/dead-letters/dlt_1/discard", {"reason": text}, "/reason"),
    ):
        answer = await caller.post(path, body)
        assert (answer.status, answer.code, answer.pointers) == (422, "validation_failed", [pointer]), path


async def test_a_name_in_any_script_is_accepted(demo: Client) -> None:
    """A name may have letters of any script, combining accents and joined characters."""
    for name in ("João d'Ávila-Souza", "Joa\u0303o", "王小明", "محمد\u200cعلی", "Bar \U0001f468\u200d\U0001f373"):
        assert (await demo.made("/v1/users", user_body(name=name)))["name"] == name


BAD_USERS: list[tuple[str, dict[str, Any], str]] = [
    ("kind", {"kind": "admin"}, "/kind"),
    ("name empty", {"name": ""}, "/name"),
    ("name too long", {"name": "n" * 121}, "/name"),
    ("NUL in a name", {"name": "Ana\x00"}, "/name"),
    ("check digits", {"document": {"type": "cpf", "number": "12345678900"}}, "/document/number"),
    ("all the same digit", {"document": {"type": "cpf", "number": "11111111111"}}, "/document/number"),
    ("cpf as a number", {"document": {"type": "cpf", "number": 52998224725}}, "/document/number"),
    ("a cpf for a cnpj", {"document": {"type": "cnpj", "number": "52998224725"}}, "/document/number"),
    ("document type", {"document": {"type": "rg", "number": "52998224725"}}, "/document/type"),
    ("e-mail", {"email": "ana at example.com"}, "/email"),
    ("e-mail with a line break", {"email": "ana@example.com\nBcc: all@example.com"}, "/email"),
    ("phone", {"phone": "12"}, "/phone"),
    ("status is not given", {"status": "active"}, "/status"),
    ("id is not given", {"id": "usr_mine"}, "/id"),
]


@pytest.mark.parametrize(("fields", "pointer"), [case[1:] for case in BAD_USERS], ids=[c[0] for c in BAD_USERS])
async def test_an_invalid_user_is_refused(demo: Client, fields: dict[str, Any], pointer: str) -> None:
    """A registration with an invalid name, taxpayer number, e-mail or phone is refused."""
    answer = await demo.post("/v1/users", user_body(**fields))
    assert (answer.status, answer.code, answer.pointers) == (422, "validation_failed", [pointer])


@pytest.mark.parametrize("limit", [-1, 2**63, 1.0, "1", True])
async def test_an_overdraft_limit_is_an_integer_of_minor_units(demo: Client, limit: Any) -> None:
    """An overdraft limit that is not an integer from 0 to 2^63 - 1 is refused."""
    body = {"owner_id": "usr_x", "currency": "BRL", "overdraft_limit": limit}
    answer = await demo.post("/v1/accounts", body)
    assert (answer.code, answer.pointers) == ("validation_failed", ["/overdraft_limit"])


BAD_TENANTS: list[tuple[dict[str, Any], str]] = [
    ({"id": "A"}, "/id"),
    ({"id": "-a"}, "/id"),
    ({"id": "a"}, "/id"),
    ({"id": "-"}, "/id"),
    ({"id": "a_b"}, "/id"),
    ({"id": "a" * 64}, "/id"),
    ({"id": "ab\n"}, "/id"),
    ({"name": ""}, "/name"),
    ({"limits": {"requests_per_second": 0}}, "/limits/requests_per_second"),
    ({"limits": {"requests_per_second": 20_001}}, "/limits/requests_per_second"),
    ({"limits": {"requests_per_second": 1.0}}, "/limits/requests_per_second"),
    ({"limits": {"requests_per_minute": 1}}, "/limits/requests_per_minute"),
]


@pytest.mark.parametrize(("fields", "pointer"), BAD_TENANTS)
async def test_an_invalid_tenant_is_refused(operator: Client, fields: dict[str, Any], pointer: str) -> None:
    """A tenant with an invalid id, name or limit is refused."""
    answer = await operator.post("/v1/tenants", {"name": "T", **fields})
    assert (answer.status, answer.code, answer.pointers) == (422, "validation_failed", [pointer])


@pytest.mark.parametrize("seconds", [-1, 604_801, "0", 1.5, True])
async def test_a_grace_is_at_most_a_week(operator: Client, seconds: Any) -> None:
    """`grace_seconds` that is not an integer from 0 to 604800 is refused."""
    answer = await operator.post("/v1/tenants/demo/signing-keys", {"grace_seconds": seconds})
    assert (answer.code, answer.pointers) == ("validation_failed", ["/grace_seconds"])


async def test_an_action_takes_no_body_for_an_empty_object(pair: Pair) -> None:
    """For an action no body, no body with a media type, and `{}` are equal."""
    for body, change in ((None, {}), (None, {"content-type": "text/plain"}), (b"{}", {}), (b" {} ", {})):
        payment = await pair.paid(capture="manual")
        answer = await pair.client.post(f"/v1/payments/{payment['id']}/capture", body, change=change)
        assert (answer.status, answer.document["status"]) == (200, "capturing")


async def test_an_action_refuses_fields_that_it_does_not_know(pair: Pair) -> None:
    """An unknown field of an action, and a blank body, are refused."""
    payment = await pair.paid(capture="manual")
    target = f"/v1/payments/{payment['id']}/cancel"
    assert (await pair.client.post(target, {"amount": brl(1)})).code == "validation_failed"
    assert (await pair.client.post(target, b"  ")).code == "malformed_request"
    assert (await pair.client.post(target, {"reason": "mine"})).document["status"] == "canceled"


MEDIA_TYPES = [
    None,
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "application/jsonx",
    "application/problem+json",
    "application/json, text/plain",
    "application/json; charset=latin-1",
    "application/json; charset=utf-16",
]


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_another_media_type_is_415(pair: Pair, media_type: str | None) -> None:
    """A body whose media type is not application/json in UTF-8 is answered with 415."""
    answer = await pair.client.post("/v1/payments", pair.payment(), change={"content-type": media_type})
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
async def test_notations_of_the_media_type_are_accepted(pair: Pair, media_type: str) -> None:
    """The media type is accepted in any case and with a charset of UTF-8 (RFC 9110 §8.3)."""
    answer = await pair.client.post("/v1/payments", pair.payment(), change={"content-type": media_type})
    assert answer.status == 201


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
async def test_an_encoded_body_is_415(pair: Pair, coding: str) -> None:
    """A compressed body is refused for its header with 415 before it is read."""
    answer = await pair.client.post("/v1/payments", pair.payment(), also=(("content-encoding", coding),))
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


async def test_300_kib_are_too_large(demo: Client) -> None:
    """A body over 256 KiB is answered with 413 and the connection is closed, with or without Content-Length."""
    body = b'{"description": "' + b"a" * (300 * 1024) + b'"}'
    sized = await demo.post("/v1/payments", body)
    chunked = await demo.post(
        "/v1/payments", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), also=(("transfer-encoding", "chunked"),)
    )
    for answer in (sized, chunked):
        assert (answer.status, answer.code) == (413, "payload_too_large")
        assert answer.header("connection") == "close"


async def test_256_kib_are_not_too_large(demo: Client) -> None:
    """A body of exactly 256 KiB is read and validated; one with one byte more is answered with 413."""
    fits = b'{"description": "' + b"a" * (256 * 1024 - 19) + b'"}'
    assert len(fits) == 256 * 1024
    assert (await demo.post("/v1/payments", fits)).code == "validation_failed"
    assert (await demo.post("/v1/payments", fits + b" ")).code == "payload_too_large"


async def test_an_oversized_body_is_refused_anywhere(demo: Client) -> None:
    """The size is checked before all else, also on an unknown path and without a token."""
    for target in ("/v1/nothing", "/v1/payments", TOKEN_PATH):
        answer = await demo.wire.send("POST", target, [], b" " * (256 * 1024 + 1))
        assert answer.code == "payload_too_large"


async def test_a_balance_beyond_64_bits_ends_the_payment(demo: Client) -> None:
    """When two amounts exceed 64 bits together, the second payment is declined or fails with a reason that names the
    account, and nothing stays in progress."""
    payers = [await new_account(demo, overdraft_limit=BIGGEST) for _ in range(2)]
    payee = await new_account(demo, overdraft_limit=BIGGEST)
    first, second = [await Pair(demo, payer, payee).paid(amount=brl(BIGGEST)) for payer in payers]
    assert (first["status"], second["status"]) == ("settled", "failed")
    assert second["failure"]["code"] == "transfer_refused"
    assert second["failure"]["detail"].startswith(
        f"The amount is too large for the ledger account {payee}: its balance"
    )
    back = Pair(demo, payee, payers[0])
    held, refused = [await back.paid(amount=brl(BIGGEST), capture="manual") for _ in range(2)]
    assert (held["status"], refused["status"]) == ("authorized", "declined")
    balance = await demo.read(f"/v1/accounts/{payee}/balance")
    assert (balance["posted"], balance["held"], balance["available"]) == (BIGGEST, BIGGEST, BIGGEST)
    assert (await demo.read(f"/v1/accounts/{payers[1]}/balance"))["held"] == 0


async def test_a_huge_payment_does_not_end_the_accounts(demo: Client) -> None:
    """Two accounts that have moved the largest amount to each other and back can still pay, and the trial balance has
    their sums."""
    first, second = [await new_account(demo, overdraft_limit=BIGGEST) for _ in range(2)]
    there, back = Pair(demo, first, second), Pair(demo, second, first)
    for pair in (there, back, there, back):
        assert (await pair.paid(amount=brl(BIGGEST)))["status"] == "settled"
    assert (await there.paid(amount=brl(5)))["status"] == "settled"
    assert (await demo.read(f"/v1/accounts/{second}/balance"))["posted"] == 5
    sums = {
        line["account_id"]: (line["debits"], line["credits"])
        for currency in (await demo.read("/v1/ledger/trial-balance"))["data"]
        for line in currency["accounts"]
    }
    assert sums[first] == (2 * BIGGEST + 5, 2 * BIGGEST)


async def test_a_refund_that_cannot_be_paid_names_the_account_that_pays_it(demo: Client) -> None:
    """The reason of a failed refund is about the account that the refund is paid from, the payee of the payment."""
    payer, payee, other = [await new_account(demo, overdraft_limit=limit) for limit in (1000, 0, 0)]
    payment = await Pair(demo, payer, payee).paid(amount=brl(500))
    assert (await Pair(demo, payee, other).paid(amount=brl(500)))["status"] == "settled"
    refund = await demo.made(f"/v1/payments/{payment['id']}/refunds", {}, also=(("prefer", "wait=10"),))
    assert refund["failure"] == {
        "code": "insufficient_funds",
        "detail": "The account that the refund is paid from has not enough available.",
    }
