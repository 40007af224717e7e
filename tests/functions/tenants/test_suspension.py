"""Suspending and activating tenants."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from functions.tenants._suspension import TENANT_STATUS_CHANGES
from shared.identity.tenancy import TENANT_SCOPES
from shared.ports.documents import Commit
from shared.records.deposits import DEPOSITS
from shared.records.tenants import TENANTS, TenantStatus
from tests.functions.providers.rail import callback, deposit, report, with_rail
from tests.harness import Harness

SUSPEND, ACTIVATE = "/v1/tenants/acme/suspend", "/v1/tenants/acme/activate"
STATUSES: tuple[TenantStatus, ...] = get_args(TenantStatus)


async def test_a_suspended_tenants_requests_are_refused(harness: Harness) -> None:
    """Reading and changing requests are 403 `tenant_suspended` until the activation; another tenant's are accepted."""
    await harness.tenant("other")
    account = (await harness.account())["id"]
    answer = await harness.call("POST", SUSPEND)
    assert (answer.status, answer.json["status"]) == (200, "suspended")
    assert (await harness.call("GET", "/v1/tenants/acme")).json == answer.json
    refused = [
        await harness.call("GET", f"/v1/accounts/{account}"),
        await harness.call("GET", "/v1/payments"),
        await harness.call("POST", "/v1/payments", {}),
        await harness.call("POST", f"/v1/accounts/{account}/close"),
        await harness.call("PATCH", "/v1/users/usr_1", {}),
    ]
    assert {(each.status, each.code) for each in refused} == {(403, "tenant_suspended")}
    assert (await harness.call("GET", "/v1/payments", tenant="other")).status == 200
    assert (await harness.call("POST", ACTIVATE)).json["status"] == "active"
    assert (await harness.call("GET", f"/v1/accounts/{account}")).status == 200


async def test_a_missing_scope_comes_before_the_suspension(harness: Harness) -> None:
    """The checks keep their order: token, scope, tenant, signature."""
    await harness.call("POST", SUSPEND)
    assert (await harness.call("GET", "/v1/payments", scopes=["users:read"])).code == "insufficient_scope"
    answer = await harness.call("POST", "/v1/payments", {}, sign=False, scopes=TENANT_SCOPES)
    assert answer.code == "tenant_suspended"


async def test_what_is_in_progress_ends(harness: Harness) -> None:
    """A payment, a refund and a deposit that were accepted before the suspension settle during it, also by a callback
    that comes later."""
    await with_rail(harness)
    payer, payee = (await harness.account(1000))["id"], (await harness.account())["id"]
    settled = (await harness.pay(payer, payee, 200))["id"]
    await harness.run_events()
    refund = (await harness.call("POST", f"/v1/payments/{settled}/refunds")).json["id"]
    payment = (await harness.pay(payer, payee, 300))["id"]
    made = (await deposit(harness, payee))["id"]
    await harness.call("POST", SUSPEND)
    await harness.run_events()
    stored = await harness.documents.get(DEPOSITS, "acme", made)
    assert stored is not None
    assert (await callback(harness, report(stored["txid"]))).status == 200
    await harness.run_events()
    await harness.call("POST", ACTIVATE)
    assert (await harness.payment(payment))["status"] == "settled"
    assert (await harness.call("GET", f"/v1/refunds/{refund}")).json["status"] == "settled"
    assert (await harness.call("GET", f"/v1/deposits/{made}")).json["status"] == "settled"
    assert await harness.balance(payee) == (1350, 0, 1350)
    assert harness.undelivered == []


async def test_a_suspension_between_admission_and_commit_lets_the_request_end(harness: Harness) -> None:
    """A request that was admitted before the suspension is carried out; the next one is refused."""
    documents = harness.runtime.documents

    class SuspendedMeanwhile:
        def __getattr__(self, name: str) -> object:
            return getattr(documents, name)

        async def commit(self, commit: Commit) -> None:
            harness.runtime.documents = documents
            assert (await harness.call("POST", SUSPEND)).status == 200
            await documents.commit(commit)

    owner = (await harness.user())["id"]
    harness.runtime.documents = SuspendedMeanwhile()  # type: ignore[assignment]  # the rest is the store's
    body = {"owner_id": owner, "currency": "BRL"}
    assert (await harness.call("POST", "/v1/accounts", body)).status == 201
    assert (await harness.call("POST", "/v1/accounts", body)).code == "tenant_suspended"


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("path", "to"), [(SUSPEND, "suspended"), (ACTIVATE, "active")])
async def test_each_action_in_each_status(harness: Harness, status: TenantStatus, path: str, to: TenantStatus) -> None:
    """An active tenant can be suspended and a suspended one activated; the rest is 409 and changes nothing."""
    await harness.alter(TENANTS, "acme", status=status)
    before = await harness.documents.get(TENANTS, "acme", "acme")
    answer = await harness.call("POST", path)
    legal: dict[TenantStatus, set[TenantStatus]] = {"pending": set(), "active": {"suspended"}, "suspended": {"active"}}
    assert TENANT_STATUS_CHANGES[status] == legal[status]
    if to in legal[status]:
        assert (answer.status, answer.json["status"]) == (200, to)
        return
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert await harness.documents.get(TENANTS, "acme", "acme") == before


async def test_a_repeated_suspension_is_one(crowded: Harness) -> None:
    """Concurrent requests with one key suspend once; after the activation the stored response is returned, and the
    tenant stays active."""
    answers = await asyncio.gather(*(crowded.call("POST", SUSPEND, {}, key="once") for _ in range(10)))
    assert {answer.status for answer in answers} <= {200, 409}
    await crowded.call("POST", ACTIVATE)
    later = await crowded.call("POST", SUSPEND, {}, key="once")
    assert (later.headers["idempotent-replayed"], later.json["status"]) == ("true", "suspended")
    assert (await crowded.call("GET", "/v1/tenants/acme")).json["status"] == "active"


async def test_keys_of_a_suspended_tenant_can_be_rotated(harness: Harness) -> None:
    """The operator can replace the signing key of a suspended tenant, whose leak may be the reason."""
    await harness.call("POST", SUSPEND)
    assert (await harness.call("POST", "/v1/tenants/acme/signing-keys", {"grace_seconds": 0})).status == 201


@pytest.mark.parametrize("action", ["suspend", "activate"])
async def test_only_the_operator_changes_the_status(harness: Harness, action: str) -> None:
    """An unknown tenant is 404; a tenant's own token is refused, with its scopes and with the platform's."""
    assert (await harness.call("POST", f"/v1/tenants/nobody/{action}")).code == "not_found"
    path = f"/v1/tenants/acme/{action}"
    for scopes, code in ((TENANT_SCOPES, "insufficient_scope"), (["platform:admin"], "tenant_mismatch")):
        token = {"authorization": f"Bearer acme|{' '.join(scopes)}|"}
        assert (await harness.call("POST", path, headers=token)).code == code
    assert (await harness.call("GET", "/v1/tenants/acme")).json["status"] == "active"
