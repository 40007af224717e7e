"""Changing a user, and the history of its changes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.ports.documents import Query
from shared.records.users import USER_CHANGES, USERS
from tests.harness import Answer, Harness

NEW = {"name": "Ana Lima", "email": "Ana.Lima@EXAMPLE.test", "phone": "+55 21 98765-4321", "metadata": {"tier": "gold"}}


async def patch(harness: Harness, user_id: str, body: Any, **options: Any) -> Answer:
    """Request a change of a user."""
    return await harness.call("PATCH", f"/v1/users/{user_id}", body, **options)


async def changes(harness: Harness, user_id: str, **options: Any) -> list[Any]:
    """Return the history of a user, newest first."""
    answer = await harness.call("GET", f"/v1/users/{user_id}/changes", **options)
    assert answer.status == 200, answer.body
    return list(answer.json["data"])


async def test_the_given_fields_are_changed(harness: Harness) -> None:
    """The response and a later GET have the new values in normal form; what was not given stays."""
    user = await harness.user()
    harness.clock.advance(timedelta(seconds=5))
    answer = await patch(harness, user["id"], NEW)
    assert answer.status == 200
    expected = {
        **user,
        "name": "Ana Lima",
        "email": "Ana.Lima@example.test",
        "phone": "+5521987654321",
        "metadata": {"tier": "gold"},
        "updated_at": "2026-01-01T00:00:05.000000Z",
    }
    assert answer.json == expected
    assert (await harness.call("GET", f"/v1/users/{user['id']}")).json == expected
    assert (await harness.call("GET", "/v1/users")).json["data"] == [expected]


@pytest.mark.parametrize("field", sorted(NEW))
async def test_one_field_is_changed_alone(harness: Harness, field: str) -> None:
    """A change of one field leaves all others as they were."""
    user = await harness.user(phone="+5511987654321", metadata={"a": "b"})
    changed = (await patch(harness, user["id"], {field: NEW[field]})).json
    assert changed[field] != user[field]
    assert {name for name in user if user[name] != changed[name]} <= {field, "updated_at"}


async def test_null_removes_what_may_be_absent(harness: Harness) -> None:
    """Null removes telephone and metadata, and changes neither name nor e-mail address."""
    user = await harness.user(phone="+5511987654321", metadata={"a": "b"})
    changed = (await patch(harness, user["id"], dict.fromkeys(NEW))).json
    assert (changed["phone"], changed["metadata"]) == (None, None)
    assert (changed["name"], changed["email"]) == (user["name"], user["email"])


@pytest.mark.parametrize("body", [{}, {"name": "Ana Souza"}, {"name": None}, {"phone": None}])
async def test_a_change_to_the_same_values_is_none(harness: Harness, body: Any) -> None:
    """When nothing differs, the user is returned as it is, and the history has no entry."""
    user = await harness.user()
    harness.clock.advance(timedelta(seconds=5))
    answer = await patch(harness, user["id"], body)
    assert (answer.status, answer.json) == (200, user)
    assert [entry["action"] for entry in await changes(harness, user["id"])] == ["registered"]


async def test_the_history_has_who_when_and_what(harness: Harness) -> None:
    """Each change is an entry, newest first, with client, time and the fields before and after, and it is stored
    sealed."""
    user = (await harness.user())["id"]
    harness.clock.advance(timedelta(seconds=5))
    await patch(harness, user, {"name": "Ana Lima", "metadata": {"tier": "gold"}})
    harness.clock.advance(timedelta(seconds=5))
    await patch(harness, user, {"phone": "+5521987654321"})
    [second, first, registered] = await changes(harness, user)
    assert first["changes"] == [
        {"field": "name", "before": "Ana Souza", "after": "Ana Lima"},
        {"field": "metadata", "before": None, "after": {"tier": "gold"}},
    ]
    assert second["changes"] == [{"field": "phone", "before": None, "after": "+5521987654321"}]
    assert (second["action"], second["client_id"], second["reason"]) == ("updated", "harness", None)
    assert second["created_at"] == "2026-01-01T00:00:10.000000Z"
    assert (registered["action"], registered["changes"]) == ("registered", [])
    stored = repr(await harness.documents.find(USER_CHANGES, "acme", Query(limit=10)))
    for plain in ("Ana Souza", "Ana Lima", "+5521987654321", "gold"):
        assert plain not in stored


async def test_the_history_is_read_in_pages(harness: Harness) -> None:
    """The history has pages; a cursor is valid for its user and its tenant only."""
    user, other = (await harness.user())["id"], (await harness.user("11144477735"))["id"]
    for number in range(3):
        await patch(harness, user, {"name": f"Ana {number}"})
    path = f"/v1/users/{user}/changes"
    first = (await harness.call("GET", path, query="limit=3")).json
    second = (await harness.call("GET", path, query=f"cursor={first['next_cursor']}")).json
    assert [entry["action"] for entry in first["data"] + second["data"]] == [*["updated"] * 3, "registered"]
    assert second["next_cursor"] is None
    stolen = await harness.call("GET", f"/v1/users/{other}/changes", query=f"cursor={first['next_cursor']}")
    assert stolen.code == "malformed_request"


async def test_the_new_telephone_and_email_are_stored_sealed(harness: Harness) -> None:
    """No store and no event has the new personal data in plain text."""
    user = (await harness.user())["id"]
    await patch(harness, user, NEW)
    everything = repr(vars(harness.documents)) + b"".join(event.data for event in harness.events).decode()
    for plain in ("Ana Lima", "Ana.Lima@example.test", "+5521987654321"):
        assert plain not in everything


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 121}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"email": "nobody"}, "/email"),
        ({"phone": "11987654321"}, "/phone"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"document": {"type": "cpf", "number": "11144477735"}}, "/document"),
        ({"kind": "merchant"}, "/kind"),
        ({"status": "closed"}, "/status"),
        ({"id": "usr_1"}, "/id"),
    ],
)
async def test_an_invalid_field_is_refused(harness: Harness, body: Any, pointer: str) -> None:
    """An invalid field, and one that cannot be changed, is answered with 422 and a pointer, and nothing changes."""
    user = await harness.user()
    answer = await patch(harness, user["id"], body)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert (await harness.call("GET", f"/v1/users/{user['id']}")).json == user


async def test_changes_at_once_are_all_made(crowded: Harness) -> None:
    """Concurrent changes of several fields lose none of them, and each is in the history."""
    user = (await crowded.user())["id"]
    answers = await asyncio.gather(*(patch(crowded, user, {name: value}) for name, value in NEW.items()))
    assert {answer.status for answer in answers} == {200}
    found = (await crowded.call("GET", f"/v1/users/{user}")).json
    assert (found["name"], found["phone"], found["metadata"]) == ("Ana Lima", "+5521987654321", {"tier": "gold"})
    assert len(await changes(crowded, user)) == 5


async def test_a_change_is_signed_and_requires_its_scope(harness: Harness) -> None:
    """A PATCH without a signature is 401, one with another scope 403, and a signature is accepted once."""
    user = (await harness.user())["id"]
    assert (await patch(harness, user, NEW, sign=False)).code == "missing_signature"
    assert (await patch(harness, user, NEW, scopes=["users:read"])).code == "insufficient_scope"
    answer = await harness.call("GET", f"/v1/users/{user}/changes", scopes=["users:write"])
    assert answer.code == "insufficient_scope"


async def test_another_tenants_user_is_not_found(harness: Harness) -> None:
    """Another tenant's user is answered as an unknown one for a change and for the history, and stays as it is."""
    user = await harness.user()
    await harness.tenant("rival")
    for id in (user["id"], "usr_0"):
        assert (await patch(harness, id, NEW, tenant="rival")).code == "not_found"
        answer = await harness.call("GET", f"/v1/users/{id}/changes", tenant="rival")
        assert answer.code == "not_found"
    assert (await harness.call("GET", f"/v1/users/{user['id']}")).json == user


async def test_a_user_of_an_earlier_version_is_changed(harness: Harness) -> None:
    """A stored user without the fields of this version is shown, changed and closed."""
    user = (await harness.user())["id"]
    await harness.forget(USERS, user, "closing_since")
    assert (await patch(harness, user, {"name": "Ana Lima"})).json["name"] == "Ana Lima"
    stored = await harness.documents.get(USERS, "acme", user)
    assert stored is not None
    assert (await harness.call("POST", f"/v1/users/{user}/close")).json["status"] == "closed"
