"""Opening accounts and reading them."""

from __future__ import annotations

from typing import Any

import pytest

from events.accounts import AccountOpened
from shared.ports.documents import Commit, Query
from shared.records.accounts import ACCOUNTS
from shared.records.users import USERS
from tests.harness import Harness


async def test_an_account_is_opened_for_a_user(harness: Harness) -> None:
    """The response is 201 with Location; omitted fields are null and the overdraft limit is 0."""
    user = await harness.user()
    answer = await harness.call("POST", "/v1/accounts", {"owner_id": user["id"], "currency": "BRL"})
    account = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"/v1/accounts/{account['id']}"
    assert (account["owner_id"], account["currency"], account["status"]) == (user["id"], "BRL", "active")
    assert (account["overdraft_limit"], account["metadata"]) == (0, None)
    assert (await harness.call("GET", f"/v1/accounts/{account['id']}")).json == account
    assert await harness.balance(account["id"]) == (0, 0, 0)
    assert [fact.account_id for fact in harness.events_of(AccountOpened)] == [account["id"]]


async def test_an_overdraft_is_available(harness: Harness) -> None:
    """The overdraft limit is part of the available balance from the beginning."""
    account = await harness.account(overdraft_limit=2**63 - 1, metadata={"till": "3"})
    assert account["metadata"] == {"till": "3"}
    assert await harness.balance(account["id"]) == (0, 0, 2**63 - 1)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"currency": "brl"}, "/currency"),
        ({"currency": "XXX"}, "/currency"),
        ({"currency": None}, "/currency"),
        ({"overdraft_limit": -1}, "/overdraft_limit"),
        ({"overdraft_limit": 2**63}, "/overdraft_limit"),
        ({"overdraft_limit": 1.0}, "/overdraft_limit"),
        ({"overdraft_limit": True}, "/overdraft_limit"),
        ({"overdraft_limit": "1"}, "/overdraft_limit"),
        ({"owner_id": 1}, "/owner_id"),
        ({"owner_id": ""}, "/owner_id"),
        ({"metadata": []}, "/metadata"),
        ({"balance": 100}, "/balance"),
    ],
)
async def test_an_invalid_field_is_refused(harness: Harness, fields: dict[str, Any], pointer: str) -> None:
    """An invalid field is answered with 422 and a pointer to the field."""
    user = await harness.user()
    answer = await harness.call("POST", "/v1/accounts", {"owner_id": user["id"], "currency": "BRL", **fields})
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


async def test_the_owner_must_be_known_in_the_tenant(harness: Harness) -> None:
    """An unknown owner and an owner of another tenant are both answered with 422 `unknown_reference`."""
    user = await harness.user()
    await harness.tenant("rival")
    for owner, tenant in (("usr_0", "acme"), (user["id"], "rival")):
        answer = await harness.call("POST", "/v1/accounts", {"owner_id": owner, "currency": "BRL"}, tenant=tenant)
        assert (answer.status, answer.code) == (422, "unknown_reference")
        assert answer.json["errors"][0]["pointer"] == "/owner_id"


async def test_an_owner_that_is_suspended_meanwhile_gets_no_account(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the owner changes between the read and the commit, the request is processed again and refused."""
    user, commit = await harness.user(), harness.documents.commit

    async def after_a_suspension(pending: Commit) -> None:
        monkeypatch.undo()
        await harness.alter(USERS, user["id"], status="suspended")
        await commit(pending)

    monkeypatch.setattr(harness.documents, "commit", after_a_suspension)
    answer = await harness.call("POST", "/v1/accounts", {"owner_id": user["id"], "currency": "BRL"})
    assert (answer.status, answer.code) == (422, "user_not_active")
    assert await harness.documents.find(ACCOUNTS, "acme", Query()) == []


@pytest.mark.parametrize("status", ["pending", "suspended", "closed"])
async def test_the_owner_must_be_active(harness: Harness, status: str) -> None:
    """An owner that is not active is answered with 422 `user_not_active`."""
    user = await harness.user()
    await harness.alter(USERS, user["id"], status=status)
    answer = await harness.call("POST", "/v1/accounts", {"owner_id": user["id"], "currency": "BRL"})
    assert (answer.status, answer.code) == (422, "user_not_active")


async def test_accounts_are_listed_newest_first_and_by_owner(harness: Harness) -> None:
    """The cursor contains the filter by owner; an unknown owner gives an empty list."""
    first = await harness.user()
    second = await harness.user("11144477735")
    mine = [(await harness.account(owner_id=first["id"]))["id"] for _ in range(3)]
    other = (await harness.account(owner_id=second["id"]))["id"]
    everything = (await harness.call("GET", "/v1/accounts")).json["data"]
    assert [account["id"] for account in everything] == [other, *mine[::-1]]
    page = (await harness.call("GET", "/v1/accounts", query=f"owner_id={first['id']}&limit=2")).json
    rest = (await harness.call("GET", "/v1/accounts", query=f"cursor={page['next_cursor']}")).json
    assert [account["id"] for account in page["data"] + rest["data"]] == mine[::-1]
    assert (await harness.call("GET", "/v1/accounts", query="owner_id=usr_0")).json["data"] == []
    changed = f"cursor={page['next_cursor']}&owner_id={second['id']}"
    assert (await harness.call("GET", "/v1/accounts", query=changed)).code == "malformed_request"


async def test_another_tenants_account_is_not_found(harness: Harness) -> None:
    """The account, balance, statement and entries of another tenant are answered with 404."""
    account = await harness.account(100)
    await harness.tenant("rival")
    for path in ("", "/balance", "/statement"):
        answer = await harness.call("GET", f"/v1/accounts/{account['id']}{path}", tenant="rival")
        assert answer.code == "not_found"
    entries = await harness.call("GET", f"/v1/ledger/accounts/{account['id']}/entries", tenant="rival")
    assert entries.code == "not_found"
