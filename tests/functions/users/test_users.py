"""Registering users and reading them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from events.users import UserActivated, UserRegistered
from shared.records.users import USERS
from tests.harness import Harness

CPF = "52998224725"
OTHERS = ("11144477735", "12345678909", "98765432100")


def registration(**fields: Any) -> dict[str, Any]:
    """Return a body that registers a customer."""
    return {
        "kind": "customer",
        "name": "Ana Souza",
        "document": {"type": "cpf", "number": "529.982.247-25"},
        "email": "Ana@EXAMPLE.test",
        "phone": "+55 11 98765-4321",
        "metadata": {"segment": "gold"},
        **fields,
    }


async def test_a_registered_user_is_active_and_in_normal_form(harness: Harness) -> None:
    """The response is 201 with Location; it and a later GET have number, e-mail and telephone in normal form."""
    answer = await harness.call("POST", "/v1/users", registration())
    assert answer.status == 201
    user = answer.json
    assert answer.headers["location"] == f"/v1/users/{user['id']}"
    assert user["status"] == "active"
    assert user["document"] == {"type": "cpf", "number": CPF}
    assert (user["email"], user["phone"]) == ("Ana@example.test", "+5511987654321")
    assert user["created_at"] == user["updated_at"] == "2026-01-01T00:00:00.000000Z"
    assert (await harness.call("GET", f"/v1/users/{user['id']}")).json == user


async def test_omitted_fields_are_null(harness: Harness) -> None:
    """Telephone and metadata are null when the request omits them."""
    body = registration()
    del body["phone"], body["metadata"]
    user = (await harness.call("POST", "/v1/users", body)).json
    assert (user["phone"], user["metadata"]) == (None, None)
    assert (await harness.call("GET", f"/v1/users/{user['id']}")).json == user


async def test_personal_data_is_stored_sealed_and_not_published(harness: Harness) -> None:
    """No store and no event has a name, number, e-mail or telephone in plain text."""
    user = await harness.user(phone="+5511987654321")
    stored = await harness.documents.get(USERS, "acme", user["id"])
    assert stored is not None
    everything = repr(vars(harness.documents)) + b"".join(event.data for event in harness.events).decode()
    for plain in ("Ana Souza", CPF, "ana@example.test", "+5511987654321"):
        assert plain not in everything
    assert [fact.kind for fact in harness.events_of(UserRegistered)] == ["customer"]
    assert [fact.user_id for fact in harness.events_of(UserActivated)] == [user["id"]]


@pytest.mark.parametrize("number", ["12.ABC.345/01DE-35", "12ABC34501DE35", "12abc34501de35"])
async def test_an_alphanumeric_cnpj_is_a_document(harness: Harness, number: str) -> None:
    """A user can be registered with an alphanumeric CNPJ, with any punctuation and case."""
    body = registration(kind="merchant", document={"type": "cnpj", "number": number})
    assert (await harness.call("POST", "/v1/users", body)).json["document"]["number"] == "12ABC34501DE35"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"kind": "robot"}, "/kind"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 121}, "/name"),
        ({"name": "a\x00b"}, "/name"),
        ({"document": {"type": "cpf", "number": "52998224724"}}, "/document/number"),
        ({"document": {"type": "cpf", "number": "11111111111"}}, "/document/number"),
        ({"document": {"type": "cnpj", "number": CPF}}, "/document/number"),
        ({"document": {"type": "cpf", "number": 52998224725}}, "/document/number"),
        ({"document": {"type": "rg", "number": CPF}}, "/document/type"),
        ({"document": {"type": "cpf"}}, "/document/number"),
        ({"document": CPF}, "/document"),
        ({"email": "nobody"}, "/email"),
        ({"email": "a@b@example.test"}, "/email"),
        ({"phone": "11987654321"}, "/phone"),
        ({"phone": "+999123456"}, "/phone"),
        ({"metadata": {"a b": "x"}}, "/metadata/a b"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {"a": "x" * 501}}, "/metadata/a"),
        ({"metadata": {f"k{n}": "x" for n in range(51)}}, "/metadata"),
        ({"status": "active"}, "/status"),
    ],
)
async def test_an_invalid_field_is_refused(harness: Harness, fields: dict[str, Any], pointer: str) -> None:
    """An invalid field is answered with 422 and a pointer to the field, and no user is registered."""
    answer = await harness.call("POST", "/v1/users", registration(**fields))
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert harness.events_of(UserRegistered) == []


async def test_a_document_is_registered_once_in_a_tenant(harness: Harness) -> None:
    """A second user with the same number in any notation is answered with 409; another tenant may register the
    number."""
    await harness.user(CPF)
    answer = await harness.call("POST", "/v1/users", registration(name="Other"))
    assert (answer.status, answer.code) == (409, "already_exists")
    assert answer.json["errors"][0]["pointer"] == "/document/number"
    await harness.tenant("rival")
    assert (await harness.call("POST", "/v1/users", registration(), tenant="rival")).status == 201


async def test_of_registrations_at_once_one_wins(crowded: Harness) -> None:
    """Ten concurrent requests with one number register one user."""
    answers = await asyncio.gather(*(crowded.call("POST", "/v1/users", registration()) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [201, *[409] * 9]
    assert len(crowded.events_of(UserRegistered)) == 1


async def test_one_key_registers_once(crowded: Harness) -> None:
    """Ten concurrent requests with one idempotency key register one user; each gets the same response or 409."""
    calls = (crowded.call("POST", "/v1/users", registration(), key="once") for _ in range(10))
    answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.body for answer in answers if answer.status == 201}) == 1
    assert len(crowded.events_of(UserRegistered)) == 1
    later = await crowded.call("POST", "/v1/users", registration(), key="once")
    assert later.headers["idempotent-replayed"] == "true"


async def test_a_stored_response_has_no_personal_data_in_plain_text(harness: Harness) -> None:
    """The stored response of a registration is sealed, and a repeated request gets the same bytes."""
    first = await harness.call("POST", "/v1/users", registration(), key="k")
    assert "Ana Souza" not in repr(vars(harness.documents))
    assert (await harness.call("POST", "/v1/users", registration(), key="k")).body == first.body


async def test_users_are_listed_newest_first_in_pages(harness: Harness) -> None:
    """Users are listed newest first; a cursor leads to the next page, and the last page has none."""
    made = [(await harness.user(number))["id"] for number in (CPF, *OTHERS)]
    first = (await harness.call("GET", "/v1/users", query="limit=3")).json
    second = (await harness.call("GET", "/v1/users", query=f"limit=3&cursor={first['next_cursor']}")).json
    assert [user["id"] for user in first["data"] + second["data"]] == made[::-1]
    assert second["next_cursor"] is None
    assert first["data"][0]["document"] == {"type": "cpf", "number": OTHERS[-1]}


async def test_a_cursor_is_valid_for_its_tenant_and_list_only(harness: Harness) -> None:
    """A cursor of another tenant or of another list is answered with 400."""
    for number in (CPF, *OTHERS):
        await harness.user(number)
    cursor = (await harness.call("GET", "/v1/users", query="limit=1")).json["next_cursor"]
    await harness.tenant("rival")
    for path, tenant in (("/v1/users", "rival"), ("/v1/accounts", "acme")):
        answer = await harness.call("GET", path, query=f"cursor={cursor}", tenant=tenant)
        assert answer.code == "malformed_request"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "colour=red", "limit=1&limit=2"])
async def test_an_invalid_query_is_refused(harness: Harness, query: str) -> None:
    """An invalid query is answered with 400 `malformed_request`."""
    assert (await harness.call("GET", "/v1/users", query=query)).code == "malformed_request"


async def test_another_tenants_user_is_not_found(harness: Harness) -> None:
    """Another tenant's user is answered with 404, as an unknown id is, and is not in the list."""
    user = await harness.user()
    await harness.tenant("rival")
    answer = await harness.call("GET", f"/v1/users/{user['id']}", tenant="rival")
    nobody = await harness.call("GET", "/v1/users/usr_0", tenant="rival")
    assert answer.code == nobody.code == "not_found"
    assert (await harness.call("GET", "/v1/users", tenant="rival")).json == {"data": [], "next_cursor": None}


async def test_each_operation_requires_its_scope(harness: Harness) -> None:
    """Reading users requires `users:read`, and registering them `users:write`."""
    assert (await harness.call("GET", "/v1/users", scopes=["users:write"])).code == "insufficient_scope"
    answer = await harness.call("POST", "/v1/users", registration(), scopes=["users:read"])
    assert answer.code == "insufficient_scope"
