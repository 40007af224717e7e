"""The client of a new tenant in a realm on a server: registered by an event, retried, and found again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.sweeps import SagaOverdue, Tick
from events.tenants import ClientRegistered, ClientRequested, TenantCreated
from shared.identity.tenancy import TENANT_SCOPES
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.identity import ClientRefused, NewClient
from shared.records.tenants import CLIENT_REGISTRATIONS
from tests.harness import Harness

CREATE = "/v1/tenants"


class RecordingClients:
    """A realm that records the registrations. `outcome` is raised when it is set, after the effect."""

    def __init__(self) -> None:
        self.registered: list[NewClient] = []
        self.outcome: Exception | None = None

    async def register(self, client: NewClient) -> None:
        self.registered.append(client)
        if self.outcome is not None:
            raise self.outcome


@pytest.fixture
def realm(harness: Harness) -> RecordingClients:
    """The realm of the harness."""
    realm = RecordingClients()
    harness.runtime.clients = realm
    return realm


async def created(harness: Harness, **headers: str) -> Any:
    """Create the tenant `shop` and return it with its secrets; the published events are not delivered."""
    answer = await harness.call("POST", CREATE, {"id": "shop", "name": "Shop"}, headers=headers, key="create-shop")
    assert answer.status == 201, answer.body
    return answer.json


async def status(harness: Harness) -> str:
    return str((await harness.call("GET", f"{CREATE}/shop")).json["status"])


async def test_a_tenant_is_pending_until_the_realm_has_its_client(harness: Harness, realm: RecordingClients) -> None:
    """The response has the client's credentials and `pending`; after the event the realm has the client with this
    secret and every scope of a tenant, and the tenant is active."""
    made = await created(harness)
    assert made["status"] == "pending"
    assert realm.registered == []
    await harness.run_events(times=2)
    wanted = NewClient(made["client"]["client_id"], made["client"]["client_secret"], "shop", TENANT_SCOPES)
    assert set(realm.registered) == {wanted}
    assert await status(harness) == "active"
    assert [event.client_id for event in harness.events_of(ClientRegistered)] == [wanted.client_id]


async def test_requests_of_a_pending_tenant_are_refused(harness: Harness, realm: RecordingClients) -> None:
    """A request of a pending tenant is answered with 503 and Retry-After, and the same one is accepted when the tenant
    is active."""
    await created(harness)
    answer = await harness.call("GET", "/v1/accounts", tenant="shop")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "dependency_unavailable", "1")
    await harness.run_events()
    assert (await harness.call("GET", "/v1/accounts", tenant="shop")).status == 200


async def test_the_secret_is_sealed_and_removed_when_the_realm_has_it(
    harness: Harness, realm: RecordingClients
) -> None:
    """The client's secret is stored sealed until it is registered, and is in no event."""
    made = await created(harness)
    secret = made["client"]["client_secret"]
    assert secret not in repr(vars(harness.documents))
    found = await harness.documents.get(CLIENT_REGISTRATIONS, "shop", made["client"]["client_id"])
    assert found is not None
    assert found["secret"] is not None
    await harness.run_events()
    found = await harness.documents.get(CLIENT_REGISTRATIONS, "shop", made["client"]["client_id"])
    assert found is not None
    assert (found["status"], found["secret"], found["due_at"]) == ("registered", None, None)
    assert secret.encode() not in b"".join(envelope.data for envelope in harness.events)


async def test_an_unknown_outcome_is_retried(harness: Harness, realm: RecordingClients) -> None:
    """When the realm does not answer, the event is delivered again with the same client; the tenant is active after the
    answer, once."""
    await created(harness)
    realm.outcome = Unavailable("timeout")
    (requested,) = [event for event in harness.events if event.type == ClientRequested.type]
    for _ in range(2):
        delivery = await harness.deliver("tenants/register_client", requested)
        assert (delivery.status, delivery.headers["Kne-Code"]) == (503, "dependency_unavailable")
        assert await status(harness) == "pending"
    realm.outcome = None
    for _ in range(2):
        assert (await harness.deliver("tenants/register_client", requested)).status == 204
    assert len(set(realm.registered)) == 1
    assert await status(harness) == "active"
    assert len(harness.events_of(ClientRegistered)) == 1


async def test_a_refusal_is_a_dead_letter_with_its_reason(harness: Harness, realm: RecordingClients) -> None:
    """A client that the realm refuses makes the event a dead letter at once; its replay registers the client when the
    reason is gone."""
    await created(harness)
    realm.outcome = ClientRefused("the realm has another client of this id")
    (requested,) = [event for event in harness.events if event.type == ClientRequested.type]
    delivery = await harness.deliver("tenants/register_client", requested)
    assert delivery.headers["Kne-Code"] == "illegal_state"
    assert "another client of this id" in delivery.headers["Kne-Detail"]
    realm.outcome = None
    assert (await harness.deliver("tenants/register_client", requested)).status == 204
    assert await status(harness) == "active"


async def test_an_overdue_registration_is_retried_until_it_succeeds(harness: Harness, realm: RecordingClients) -> None:
    """The sweep finds a registration whose events were lost; each attempt that fails has a later deadline, without a
    dead letter, and the first that succeeds makes the tenant active."""
    made = await created(harness)
    realm.outcome = Unavailable("away")
    for attempt in (1, 2, 3):
        harness.clock.advance(timedelta(minutes=10))
        await harness.deliver("operations/sweep_sagas", harness.envelope(Tick(schedule="sagas"), tenant=PLATFORM))
        overdue = harness.events_of(SagaOverdue)[-1]
        assert (overdue.saga_type, overdue.saga_id, overdue.attempt) == ("client", made["client"]["client_id"], attempt)
        if attempt == 3:
            realm.outcome = None
        assert (await harness.deliver("tenants/register_client", harness.events[-1])).status == 204
    assert len(realm.registered) == 3
    assert await status(harness) == "active"
    harness.clock.advance(timedelta(minutes=10))
    before = len(harness.events)
    await harness.deliver("operations/sweep_sagas", harness.envelope(Tick(schedule="sagas"), tenant=PLATFORM))
    assert len(harness.events) == before


async def test_a_pending_tenant_is_neither_suspended_nor_activated(harness: Harness, realm: RecordingClients) -> None:
    """A pending tenant cannot be suspended or activated by a request: 409."""
    await created(harness)
    for action in ("suspend", "activate"):
        answer = await harness.call("POST", f"{CREATE}/shop/{action}")
        assert (answer.status, answer.code) == (409, "illegal_state")


async def test_without_a_realm_the_tenant_is_active_at_once(harness: Harness) -> None:
    """When the platform issues the tokens itself, a tenant is active in the response, and no registration is
    requested."""
    assert (await created(harness))["status"] == "active"
    assert harness.events_of(ClientRequested) == []
    assert len(harness.events_of(TenantCreated)) == 2


async def test_a_process_without_a_realm_cannot_register(harness: Harness, realm: RecordingClients) -> None:
    """A process in which LASTRO_IDENTITY is not set leaves the registration to another: the event is retried."""
    await created(harness)
    harness.runtime.clients = None
    (requested,) = [event for event in harness.events if event.type == ClientRequested.type]
    assert (await harness.deliver("tenants/register_client", requested)).status == 503


async def test_a_wait_ends_when_the_tenant_is_active(harness: Harness, realm: RecordingClients) -> None:
    """With `Prefer: wait` the response has the final status and the secrets, and its replay is byte for byte the same;
    the stored response is sealed."""

    async def deliver_everything(_request_id: str, _seconds: float) -> bool:
        await harness.run_events()
        return True

    harness.runtime.request_quiet = deliver_everything
    first = await harness.call("POST", CREATE, {"id": "shop", "name": "Shop"}, headers={"prefer": "wait=5"}, key="k")
    assert (first.status, first.json["status"]) == (201, "active")
    again = await harness.call("POST", CREATE, {"id": "shop", "name": "Shop"}, headers={"prefer": "wait=5"}, key="k")
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json["client"]["client_secret"] not in repr(vars(harness.documents))
