"""Creating tenants."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from events.tenants import TenantCreated
from shared.identity.tenancy import TENANT_SCOPES
from shared.identity.tokens import client_secret_digest
from shared.ports.documents import PLATFORM
from shared.records.system_accounts import SYSTEM_ACCOUNTS, clearing_account
from shared.records.tenants import CLIENTS
from tests.harness import Harness

CREATE = "/v1/tenants"


def stored_text(harness: Harness) -> str:
    """Return everything in the memory store, as text."""
    return repr(vars(harness.documents))


async def test_a_new_tenant_is_returned_with_its_secrets() -> None:
    """The response is 201 with Location, the tenant, its client and its key; omitted fields are null."""
    harness = Harness.make()
    answer = await harness.call("POST", CREATE, {"id": "acme", "name": "Acme Ltda"})
    assert answer.status == 201
    assert answer.headers["location"] == "/v1/tenants/acme"
    created = answer.json
    assert (created["id"], created["name"], created["status"]) == ("acme", "Acme Ltda", "active")
    assert created["limits"] == {"requests_per_second": None}
    assert set(created["client"]) == {"client_id", "client_secret"}
    assert set(created["signing_key"]) == {"key_id", "secret", "status"}
    assert created["signing_key"]["status"] == "active"


async def test_secrets_are_shown_once_and_stored_sealed() -> None:
    """No store has a secret in plain text, and no later GET and no event shows one."""
    harness = Harness.make()
    created = await harness.tenant()
    shown = (await harness.call("GET", "/v1/tenants/acme")).json
    assert set(shown) == {"id", "name", "status", "limits", "user_review", "created_at"}
    published = b"".join(envelope.data for envelope in harness.events).decode()
    for secret in (created["client"]["client_secret"], created["signing_key"]["secret"]):
        assert len(secret) >= 43
        assert secret not in stored_text(harness)
        assert secret not in published


async def test_the_idempotent_replay_shows_the_secrets_again() -> None:
    """A repeated request gets the first response byte for byte, with the secrets."""
    harness = Harness.make()
    body = {"id": "acme", "name": "Acme"}
    first = await harness.call("POST", CREATE, body, key="k")
    again = await harness.call("POST", CREATE, body, key="k")
    assert again.status == 201
    assert again.body == first.body
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert len(harness.events_of(TenantCreated)) == 1


async def test_an_id_is_taken_once() -> None:
    """A second tenant with the same id is answered with 409 and a pointer to the id."""
    harness = Harness.make()
    await harness.tenant()
    answer = await harness.call("POST", CREATE, {"id": "acme", "name": "Other"})
    assert (answer.status, answer.code) == (409, "already_exists")
    assert answer.json["errors"][0]["pointer"] == "/id"


async def test_of_two_at_once_one_wins() -> None:
    """Of two concurrent requests for one id, one gets 201, the other 409, and one event is published."""
    harness = Harness.make(interleaved=True)
    body = {"id": "acme", "name": "Acme"}
    answers = await asyncio.gather(*(harness.call("POST", CREATE, body) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert len(harness.events_of(TenantCreated)) == 1


async def test_an_id_is_made_when_absent() -> None:
    """A generated id has the form that is required of a chosen one."""
    harness = Harness.make()
    created = (await harness.call("POST", CREATE, {"name": "Acme"})).json
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,62}", created["id"])
    assert (await harness.call("GET", f"/v1/tenants/{created['id']}")).status == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 121}, "/name"),
        ({"name": 7}, "/name"),
        ({"name": "Acme", "id": "A"}, "/id"),
        ({"name": "Acme", "id": "a"}, "/id"),
        ({"name": "Acme", "id": "-a"}, "/id"),
        ({"name": "Acme", "id": "a_b"}, "/id"),
        ({"name": "Acme", "id": "acme\n"}, "/id"),
        ({"name": "Acme", "id": "a" * 64}, "/id"),
        ({"name": "Acme", "limits": {"requests_per_second": 0}}, "/limits/requests_per_second"),
        ({"name": "Acme", "limits": {"requests_per_second": 20_001}}, "/limits/requests_per_second"),
        ({"name": "Acme", "limits": {"requests_per_second": True}}, "/limits/requests_per_second"),
        ({"name": "Acme", "limits": {"requests_per_second": 5.0}}, "/limits/requests_per_second"),
        ({"name": "Acme", "limits": {"burst": 5}}, "/limits/burst"),
        ({"name": "Acme", "colour": "red"}, "/colour"),
    ],
)
async def test_an_invalid_field_is_refused(body: dict[str, Any], pointer: str) -> None:
    """An invalid field is answered with 422 and a pointer to the field, and no tenant is created."""
    harness = Harness.make()
    answer = await harness.call("POST", CREATE, body)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert harness.events == []


async def test_limits_are_stored() -> None:
    """A tenant's resource shows its own rate limit."""
    harness = Harness.make()
    created = await harness.tenant(limits={"requests_per_second": 20_000})
    assert created["limits"] == {"requests_per_second": 20_000}
    assert (await harness.call("GET", "/v1/tenants/acme")).json["limits"] == {"requests_per_second": 20_000}


async def test_onboarding_makes_the_client_and_the_system_accounts() -> None:
    """The first client has every tenant scope and is stored with a digest of its secret, and the system accounts
    exist."""
    harness = Harness.make()
    created = await harness.tenant()
    client = await harness.documents.get(CLIENTS, PLATFORM, created["client"]["client_id"])
    assert client is not None
    assert client["client_tenant_id"] == "acme"
    assert client["scopes"] == list(TENANT_SCOPES)
    assert client["secret_digest"] == client_secret_digest(created["client"]["client_secret"])
    assert await harness.documents.get(SYSTEM_ACCOUNTS, "acme", clearing_account("pix", "BRL")) is not None
    entries = await harness.call("GET", "/v1/ledger/accounts/sys_clearing_pix_brl/entries")
    assert (entries.status, entries.json["data"]) == (200, [])


async def test_a_tenants_token_opens_no_platform_operation(harness: Harness) -> None:
    """A token without the scope gets 403 `insufficient_scope`; a tenant's token with the scope gets 403
    `tenant_mismatch`."""
    headers = {"authorization": "Bearer acme|users:read|"}
    assert (await harness.call("GET", "/v1/tenants/acme", headers=headers)).code == "insufficient_scope"
    headers = {"authorization": "Bearer acme|platform:admin|"}
    assert (await harness.call("GET", "/v1/tenants/acme", headers=headers)).code == "tenant_mismatch"


@pytest.mark.parametrize("tenant_id", ["nobody", "-", "~"])
async def test_an_unknown_tenant_is_not_found(harness: Harness, tenant_id: str) -> None:
    """An unknown tenant id, also the platform's own name, is answered with 404."""
    assert (await harness.call("GET", f"/v1/tenants/{tenant_id}")).code == "not_found"
    assert (await harness.call("POST", f"/v1/tenants/{tenant_id}/signing-keys")).code == "not_found"
