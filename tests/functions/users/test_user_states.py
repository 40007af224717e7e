"""Activating, suspending and closing users."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, get_args

import pytest

from events.sweeps import Tick
from events.users import UserActivated, UserClosed, UserRegistered, UserSuspended
from functions.users._states import USER_STATUS_CHANGES
from shared.ports.documents import Commit, Query
from shared.records.accounts import ACCOUNTS
from shared.records.users import USERS, UserStatus
from tests.harness import Answer, Harness

STATUSES: tuple[UserStatus, ...] = get_args(UserStatus)
LEGAL = {("pending", "active"), ("suspended", "active"), ("active", "suspended")} | {
    (status, "closed") for status in ("pending", "active", "suspended")
}
OTHER = "11144477735"


async def act(harness: Harness, user_id: str, action: str, body: Any = None, **options: Any) -> Answer:
    """Request an action on a user."""
    return await harness.call("POST", f"/v1/users/{user_id}/{action}", body, **options)


async def status_of(harness: Harness, user_id: str) -> str:
    """Return the status of a user."""
    return str((await harness.call("GET", f"/v1/users/{user_id}")).json["status"])


async def history(harness: Harness, user_id: str) -> list[Any]:
    """Return the history of a user, oldest first."""
    page = (await harness.call("GET", f"/v1/users/{user_id}/changes", query="limit=100")).json
    return list(reversed(page["data"]))


async def sweep(harness: Harness) -> None:
    """Deliver one tick of the schedule that ends closings."""
    tick = harness.envelope(Tick(schedule="finish_user_closing"))
    assert (await harness.deliver("users/finish_user_closing", tick)).status == 204


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("action", "to"), [("activate", "active"), ("suspend", "suspended"), ("close", "closed")])
async def test_each_action_in_each_status(harness: Harness, status: UserStatus, action: str, to: str) -> None:
    """An action is accepted in the statuses of the design, and is 409 elsewhere, without a change or a fact."""
    user = await harness.user()
    await harness.alter(USERS, user["id"], status=status)
    before, events = await harness.documents.get(USERS, "acme", user["id"]), len(harness.events)
    answer = await act(harness, user["id"], action)
    if (status, to) in LEGAL:
        assert (answer.status, answer.json["status"], answer.json["name"]) == (200, to, user["name"])
        assert (await harness.call("GET", f"/v1/users/{user['id']}")).json == answer.json
        assert len(harness.events) == events + 1
        return
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert await harness.documents.get(USERS, "acme", user["id"]) == before
    assert len(harness.events) == events


@pytest.mark.parametrize("status", STATUSES)
def test_the_legal_changes_of_a_user_are_those_of_the_design(status: UserStatus) -> None:
    """A user changes from each status only to those of the design, and never from `closed`."""
    assert USER_STATUS_CHANGES[status] == {to for source, to in LEGAL if source == status}


async def test_each_change_of_status_is_published_and_in_the_history(harness: Harness) -> None:
    """The facts have the user's id and no more; the history has action, time, client and reason."""
    user = (await harness.user())["id"]
    await act(harness, user, "suspend", {"reason": "Ana Souza has lost her card"})
    await act(harness, user, "activate")
    await act(harness, user, "close")
    facts = [harness.events_of(model, user) for model in (UserSuspended, UserActivated, UserClosed)]
    assert [len(found) for found in facts] == [1, 2, 1]
    found = await history(harness, user)
    assert [entry["action"] for entry in found] == ["registered", "suspended", "activated", "closed"]
    assert [entry["reason"] for entry in found] == [None, "Ana Souza has lost her card", None, None]
    assert {entry["client_id"] for entry in found} == {"harness"}
    assert {entry["actor_user_id"] for entry in found} == {None}
    everything = repr(vars(harness.documents)) + b"".join(event.data for event in harness.events).decode()
    assert "lost her card" not in everything


async def test_a_suspended_users_account_does_not_pay(harness: Harness) -> None:
    """A payment from a suspended user's account is declined as `user_suspended`, and after the activation it is paid;
    the account receives money meanwhile, and its refunds are paid."""
    payer, owner = (await harness.account(1000))["id"], (await harness.user())["id"]
    other = (await harness.account(1000, owner_id=(await harness.user(OTHER))["id"]))["id"]
    received = (await harness.pay(other, payer, 200))["id"]
    await harness.run_events()
    await act(harness, owner, "suspend")
    payments = [(await harness.pay(payer, other, 300))["id"], (await harness.pay(other, payer, 100))["id"]]
    refund = (await harness.call("POST", f"/v1/payments/{received}/refunds")).json["id"]
    await harness.run_events()
    found = [await harness.payment(id) for id in payments]
    assert [payment["status"] for payment in found] == ["declined", "settled"]
    assert found[0]["failure"]["code"] == "user_suspended"
    assert (await harness.call("GET", f"/v1/refunds/{refund}")).json["status"] == "settled"
    assert await harness.balance(payer) == (1100, 0, 1100)
    await act(harness, owner, "activate")
    later = (await harness.pay(payer, other, 300))["id"]
    await harness.run_events()
    assert (await harness.payment(later))["status"] == "settled"


async def test_a_suspended_user_gets_no_account(harness: Harness) -> None:
    """An account for a suspended user is refused as `user_not_active`."""
    user = (await harness.user())["id"]
    await act(harness, user, "suspend")
    answer = await harness.call("POST", "/v1/accounts", {"owner_id": user, "currency": "BRL"})
    assert (answer.status, answer.code) == (422, "user_not_active")


@pytest.mark.parametrize("status", ["active", "blocked", "closing"])
async def test_an_open_account_refuses_the_closing(harness: Harness, status: str) -> None:
    """A user with an account that is not closed is not closed, can get further accounts, and is closed after them."""
    user, account = (await harness.user())["id"], (await harness.account())["id"]
    await harness.alter(ACCOUNTS, account, status=status)
    for _ in range(2):
        answer = await act(harness, user, "close")
        assert (answer.status, answer.code) == (409, "illegal_state")
    assert await status_of(harness, user) == "active"
    second = (await harness.account())["id"]
    for id in (account, second):
        await harness.alter(ACCOUNTS, id, status="closed")
    assert (await act(harness, user, "close")).json["status"] == "closed"
    assert len(harness.events_of(UserClosed)) == 1


async def test_a_closed_user_stays_closed(harness: Harness) -> None:
    """A closed user gets no account, is not changed, and is still shown; the document stays registered."""
    user = (await harness.user())["id"]
    await act(harness, user, "close")
    answer = await harness.call("POST", "/v1/accounts", {"owner_id": user, "currency": "BRL"})
    assert answer.code == "user_not_active"
    assert (await harness.call("PATCH", f"/v1/users/{user}", {"name": "Ana"})).code == "illegal_state"
    assert await status_of(harness, user) == "closed"


class _AccountBefore:
    """Documents that open an account for a user before the n-th commit of the closing."""

    def __init__(self, harness: Harness, user_id: str, position: int) -> None:
        self._harness, self._user_id, self._left = harness, user_id, position
        self._documents = harness.runtime.documents
        self.answer: Answer | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def commit(self, commit: Commit) -> None:
        if self._left == 0:
            self._harness.runtime.documents = self._documents
            body = {"owner_id": self._user_id, "currency": "BRL"}
            self.answer = await self._harness.call("POST", "/v1/accounts", body)
        self._left -= 1
        await self._documents.commit(commit)


@pytest.mark.parametrize("position", [0, 1])
async def test_no_account_is_left_open_for_a_user_who_is_closed_meanwhile(harness: Harness, position: int) -> None:
    """An account that is opened before the closing begins refuses it; one that is requested later is refused."""
    user = (await harness.user())["id"]
    racing = _AccountBefore(harness, user, position)
    harness.runtime.documents = racing
    closing = await act(harness, user, "close")
    assert racing.answer is not None
    assert (racing.answer.status, closing.status) == ((201, 409) if position == 0 else (422, 200))
    open_accounts = await harness.documents.find(ACCOUNTS, "acme", Query(where={"owner_id": user}))
    assert (await status_of(harness, user) == "closed") == (open_accounts == [])


async def test_closings_and_openings_at_once(crowded: Harness) -> None:
    """Whatever the order of concurrent openings and closings, a closed user has no account that is open."""
    user = (await crowded.user())["id"]
    body = {"owner_id": user, "currency": "BRL"}
    opened = [crowded.call("POST", "/v1/accounts", body) for _ in range(3)]
    answers = await asyncio.gather(*opened, *(act(crowded, user, "close") for _ in range(3)))
    accounts = await crowded.documents.find(ACCOUNTS, "acme", Query(where={"owner_id": user}))
    assert len(accounts) == [answer.status for answer in answers].count(201)
    assert (await status_of(crowded, user) == "closed") == (not accounts)
    assert len(crowded.events_of(UserClosed)) == (0 if accounts else 1)


@pytest.mark.parametrize("with_account", [False, True])
async def test_a_closing_that_a_crash_interrupted_is_ended_by_the_sweep(harness: Harness, with_account: bool) -> None:
    """After a minute the sweep closes the user, or ends the closing without effect when an account is open."""
    user = (await harness.user())["id"]
    if with_account:
        await harness.account()
    await harness.alter(USERS, user, closing_since="2026-01-01T00:00:00.000000Z")
    await sweep(harness)
    assert await status_of(harness, user) == "active"
    harness.clock.advance(timedelta(seconds=61))
    await sweep(harness)
    assert await status_of(harness, user) == ("active" if with_account else "closed")
    stored = await harness.documents.get(USERS, "acme", user)
    assert stored is not None
    assert stored["closing_since"] is None
    assert len(harness.events_of(UserClosed)) == (0 if with_account else 1)
    if not with_account:
        assert (await history(harness, user))[-1]["client_id"] is None


async def test_a_tenant_that_demands_a_review_gets_pending_users(harness: Harness) -> None:
    """With `user_review` a new user is pending, is not published as activated, and gets accounts after the
    activation."""
    created = await harness.tenant("careful", user_review=True)
    assert created["user_review"] is True
    user = await harness.user(tenant="careful")
    assert user["status"] == "pending"
    assert len(harness.events_of(UserRegistered)) == 1
    assert harness.events_of(UserActivated) == []
    body = {"owner_id": user["id"], "currency": "BRL"}
    assert (await harness.call("POST", "/v1/accounts", body, tenant="careful")).code == "user_not_active"
    assert (await act(harness, user["id"], "suspend", tenant="careful")).code == "illegal_state"
    assert (await act(harness, user["id"], "activate", tenant="careful")).json["status"] == "active"
    assert (await harness.call("POST", "/v1/accounts", body, tenant="careful")).status == 201


@pytest.mark.parametrize("action", ["activate", "suspend", "close"])
async def test_a_repeated_request_is_one_change(crowded: Harness, action: str) -> None:
    """Ten concurrent requests with one key change the status once; a later one gets the stored response, which is
    stored sealed."""
    user = (await crowded.user())["id"]
    if action == "activate":
        await act(crowded, user, "suspend")
    events = len(crowded.events)
    answers = await asyncio.gather(*(act(crowded, user, action, key="once") for _ in range(10)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert len({answer.body for answer in answers if answer.status == 200}) == 1
    assert len(crowded.events) == events + 1
    later = await act(crowded, user, action, key="once")
    assert (later.status, later.headers["idempotent-replayed"]) == (200, "true")
    assert "Ana Souza" not in repr(vars(crowded.documents))


@pytest.mark.parametrize("action", ["activate", "suspend", "close"])
async def test_another_tenants_user_is_not_found(harness: Harness, action: str) -> None:
    """Another tenant's user is answered as an unknown one, and stays as it is."""
    user = (await harness.user())["id"]
    await harness.tenant("rival")
    for id in (user, "usr_0"):
        answer = await act(harness, id, action, tenant="rival")
        assert (answer.status, answer.code) == (404, "not_found")
    assert await status_of(harness, user) == "active"


@pytest.mark.parametrize("action", ["activate", "suspend", "close"])
async def test_each_action_requires_its_scope(harness: Harness, action: str) -> None:
    """Each action requires `users:write`, and takes no unknown field."""
    user = (await harness.user())["id"]
    assert (await act(harness, user, action, scopes=["users:read"])).code == "insufficient_scope"
    assert (await act(harness, user, action, {"colour": "red"})).code == "validation_failed"
