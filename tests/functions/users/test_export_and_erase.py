"""The rights of a data subject (LGPD): export and erasure of personal data."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from events.users import UserErasureRequested
from shared.ports.documents import Collection, Query
from shared.records.accounts import ACCOUNTS
from shared.records.idempotency import IDEMPOTENCY
from shared.records.notifications import NOTIFICATION_PREFERENCES
from shared.records.pix_charges import PIX_CHARGES
from shared.records.users import USER_CHANGES, USERS
from tests.functions.providers.charges import CHARGES_PATH, charge, reported
from tests.functions.providers.rail import report, with_rail
from tests.harness import Answer, Harness, operations

PERSONAL = ("Ana Souza", "Ana Lima", "52998224725", "ana@example.test", "+5511987654321", "vip-7", "device-of-ana")


async def erase(harness: Harness, user_id: str, **options: Any) -> Answer:
    """Request the erasure of a user."""
    return await harness.call("POST", f"/v1/users/{user_id}/erase", **options)


async def former(harness: Harness) -> str:
    """Create a user with a history and a closed account through which money went, and close the user."""
    user: str = (await harness.user(phone="+5511987654321", metadata={"level": "vip-7"}))["id"]
    account = (await harness.account(1_000, owner_id=user))["id"]
    other = (
        await harness.account(owner_id=(await harness.user("11144477735", name="Rui", email="rui@example.test"))["id"])
    )["id"]
    await harness.pay(account, other, 1_000)
    await harness.run_events()
    await harness.call("PATCH", f"/v1/users/{user}", {"name": "Ana Lima"})
    wanted = {"channels": ["push"], "push_token": "device-of-ana"}
    await harness.call("PATCH", f"/v1/users/{user}/notification-preferences", wanted)
    await harness.call("POST", f"/v1/users/{user}/suspend", {"reason": "Ana Lima has asked for it"})
    await harness.call("POST", f"/v1/accounts/{account}/close")
    assert (await harness.call("POST", f"/v1/users/{user}/close")).status == 200
    return user


async def owed(harness: Harness, account_id: str, name: str, number: str, **options: Any) -> str:
    """Create a charge with a due date for an account of another user; return its txid."""
    due = {"date": "2026-01-09", "debtor": {"name": name, "document": {"type": "cpf", "number": number}}}
    made = await charge(harness, account_id, due=due, **options)
    assert made["due"]["debtor"]["name"] == name
    return str(made["txid"])


async def readable(harness: Harness, tenant: str = "acme") -> str:
    """Return everything that is stored about users and their requests, with every sealed field opened."""
    found: list[str] = []
    collections: tuple[Collection[Any, ...], ...] = (
        USERS,
        USER_CHANGES,
        IDEMPOTENCY,
        NOTIFICATION_PREFERENCES,
        PIX_CHARGES,
    )
    for collection in collections:
        for document in await harness.documents.find(collection, tenant, Query(limit=1000)):
            debtor = document.get("debtor") or {}
            for value in (*document.values(), *debtor.values()):
                try:
                    found += await harness.runtime.secrets.open([str(value)], tenant)
                except ValueError:  # it is not sealed
                    found.append(str(value))
    return "\n".join(found)


async def test_an_export_has_everything_about_a_user(harness: Harness) -> None:
    """The export has the user, the whole history with its values, and the accounts with their statements."""
    user = await former(harness)
    answer = await harness.call("GET", f"/v1/users/{user}/export")
    assert answer.status == 200
    export = answer.json
    assert export["user"] == (await harness.call("GET", f"/v1/users/{user}")).json
    actions = [change["action"] for change in export["changes"]]
    assert actions == ["registered", "updated", "suspended", "closed"]
    assert export["changes"][1]["changes"] == [{"field": "name", "before": "Ana Souza", "after": "Ana Lima"}]
    [account] = await harness.documents.find(ACCOUNTS, "acme", Query(where={"owner_id": user}))
    path = f"/v1/accounts/{account['id']}/statement"
    assert export["accounts"] == [{"id": account["id"], "currency": "BRL", "status": "closed", "statement": path}]
    assert len((await harness.call("GET", path)).json["data"]) == 2
    preferences = {"channels": ["push"], "push_token": "device-of-ana", "quiet_from": None, "quiet_to": None}
    assert export["notification_preferences"] == {"locale": "pt-BR", **preferences}
    person = await harness.call("GET", f"/v1/users/{user}/export", person=user)
    assert person.json == export


async def test_an_export_of_a_user_without_preferences(harness: Harness) -> None:
    """A user who has chosen no channel has no preferences in the export."""
    user = (await harness.user())["id"]
    assert (await harness.call("GET", f"/v1/users/{user}/export")).json["notification_preferences"] is None


async def test_an_export_that_is_too_large_is_refused(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history longer than the bound is refused, with what to do."""
    handler = operations()["users/export_user"].handler
    monkeypatch.setitem(handler.__globals__, "_MOST_ITEMS", 1)
    user = (await harness.user())["id"]
    assert (await harness.call("GET", f"/v1/users/{user}/export")).status == 200
    await harness.call("PATCH", f"/v1/users/{user}", {"name": "Ana Lima"})
    answer = await harness.call("GET", f"/v1/users/{user}/export")
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert "page by page" in answer.json["detail"]


async def test_an_erased_user_has_no_personal_data(harness: Harness) -> None:
    """The response, the user, the list, the history and the export have no personal data, and neither has any stored
    field, opened or not."""
    user = await former(harness)
    before = await readable(harness)
    assert [text for text in PERSONAL if text not in before] == []
    await harness.run_events()
    answer = await erase(harness, user)
    assert answer.status == 200
    gone = ("name", "document", "email", "phone", "metadata")
    assert {answer.json[field] for field in gone} == {None}
    assert (answer.json["id"], answer.json["status"]) == (user, "closed")
    assert (await harness.call("GET", f"/v1/users/{user}")).json == answer.json
    assert answer.json in (await harness.call("GET", "/v1/users")).json["data"]
    history = (await harness.call("GET", f"/v1/users/{user}/changes")).json["data"]
    assert [entry["action"] for entry in history] == ["erased", "closed", "suspended", "updated", "registered"]
    assert {(entry["reason"], *entry["changes"]) for entry in history} == {(None,)}
    assert (await harness.call("GET", f"/v1/users/{user}/export")).json["user"] == answer.json
    left = await readable(harness)
    assert [text for text in PERSONAL if text in left] == []


async def test_the_debtor_of_charges_is_exported_and_erased(harness: Harness) -> None:
    """The export has the charges whose debtor has the user's number; after the erasure no charge and no stored response
    names the debtor, the charges can still be paid, and those of other debtors and tenants are as before."""
    rail = await with_rail(harness)
    user = await former(harness)
    [creditor] = [one for one in await harness.documents.find(ACCOUNTS, "acme", Query()) if one["owner_id"] != user]
    txids = [await owed(harness, creditor["id"], "Ana Lima", "529.982.247-25") for _ in range(3)]
    other = await owed(harness, creditor["id"], "Bia Reis", "11144477735")
    export = (await harness.call("GET", f"/v1/users/{user}/export", person=user)).json["charges_as_debtor"]
    assert {(one["txid"], one["debtor_name"], one["due_date"]) for one in export} == {
        (txid, "Ana Lima", "2026-01-09") for txid in txids
    }
    assert {one["amount"]["value"] for one in export} == {1050}
    assert [text for text in PERSONAL if text not in await readable(harness)] == []
    untouched = (await harness.call("GET", f"{CHARGES_PATH}/{other}")).body
    harness.runtime.settings = harness.runtime.settings._replace(sweep_batch=2)
    assert (await erase(harness, user)).status == 200
    await harness.run_events(times=2, shuffled=True)
    left = await readable(harness)
    assert [text for text in PERSONAL if text in left] == []
    facts = harness.events_of(UserErasureRequested, user)
    assert sorted(txid for fact in facts for txid in fact.charge_ids) == sorted(txids)
    assert [len(fact.charge_ids) for fact in facts] == [2, 1]
    for txid in txids:
        shown = (await harness.call("GET", f"{CHARGES_PATH}/{txid}")).json
        assert (shown["status"], shown["due"]["debtor"], shown["due"]["date"]) == ("active", None, "2026-01-09")
    assert (await harness.call("GET", f"{CHARGES_PATH}/{other}")).body == untouched
    revised = await harness.call("PATCH", f"{CHARGES_PATH}/{txids[1]}", {"description": "as agreed"})
    assert (revised.status, revised.json["due"]["debtor"]) == (200, None)
    await reported(harness, report(rail.orders[0].reference))
    assert (await harness.call("GET", f"{CHARGES_PATH}/{txids[0]}")).json["status"] == "paid"
    assert (await harness.call("GET", f"/v1/users/{user}/export")).json["charges_as_debtor"] == []
    assert harness.undelivered == []


async def test_an_erasure_of_a_debtor_forgets_only_the_charges_of_its_tenant(harness: Harness) -> None:
    """A fact about charges that the tenant does not have, or whose debtor is erased, is accepted and changes nothing; a
    charge of another tenant with the same txid keeps its debtor."""
    await with_rail(harness)
    await harness.tenant("rival")
    theirs = (await harness.account(tenant="rival"))["id"]
    txid = await owed(harness, theirs, "Ana Souza", "52998224725", tenant="rival")
    fact = UserErasureRequested(user_id="usr_1", charge_ids=(txid, "0" * 32))
    for _ in range(2):
        assert (await harness.deliver("providers/forget_debtor", harness.envelope(fact))).status == 204
    shown = (await harness.call("GET", f"{CHARGES_PATH}/{txid}", tenant="rival")).json
    assert shown["due"]["debtor"]["name"] == "Ana Souza"


async def test_a_repeated_creation_of_a_charge_shows_no_erased_debtor(harness: Harness) -> None:
    """The stored response of the creation is answered without the debtor, and no second charge is made."""
    rail = await with_rail(harness)
    user = (await harness.user())["id"]
    creditor = (await harness.account(owner_id=(await harness.user("11144477735"))["id"]))["id"]
    debtor = {"name": "Ana Souza", "document": {"type": "cpf", "number": "52998224725"}}
    body = {
        "account_id": creditor,
        "amount": {"value": 1050, "currency": "BRL"},
        "due": {"date": "2026-01-09", "debtor": debtor},
    }
    first = await harness.call("POST", CHARGES_PATH, body, key="charge")
    await harness.call("POST", f"/v1/users/{user}/close")
    await erase(harness, user)
    await harness.run_events()
    again = await harness.call("POST", CHARGES_PATH, body, key="charge")
    assert (again.status, again.headers["idempotent-replayed"], len(rail.orders)) == (201, "true", 1)
    assert (again.json["txid"], again.json["due"]["debtor"]) == (first.json["txid"], None)


async def test_the_ledger_stays_whole(harness: Harness) -> None:
    """Accounts, statements, entries and the trial balance are the same bytes after the erasure."""
    user = await former(harness)
    [account] = await harness.documents.find(ACCOUNTS, "acme", Query(where={"owner_id": user}))
    paths = [
        f"/v1/accounts/{account['id']}",
        f"/v1/accounts/{account['id']}/statement",
        f"/v1/ledger/accounts/{account['id']}/entries",
        "/v1/ledger/trial-balance",
        "/v1/payments",
    ]
    before = [(await harness.call("GET", path)).body for path in paths]
    await erase(harness, user)
    assert [(await harness.call("GET", path)).body for path in paths] == before


async def test_a_repeated_registration_shows_no_erased_data(harness: Harness) -> None:
    """The stored response of the registration is answered without the personal data, and no second user is made."""
    body = {
        "kind": "customer",
        "name": "Ana Souza",
        "document": {"type": "cpf", "number": "52998224725"},
        "email": "ana@example.test",
    }
    first = await harness.call("POST", "/v1/users", body, key="registration")
    user = first.json["id"]
    await harness.call("POST", f"/v1/users/{user}/close")
    await erase(harness, user)
    again = await harness.call("POST", "/v1/users", body, key="registration")
    assert (again.status, again.headers["idempotent-replayed"]) == (201, "true")
    assert (again.json["id"], again.json["name"], again.json["document"]) == (user, None, None)


async def test_the_number_can_be_registered_again(harness: Harness) -> None:
    """After the erasure a new user can have the taxpayer number, and both can be erased."""
    user = await former(harness)
    assert (await harness.call("POST", f"/v1/users/{user}/close")).status == 409
    await erase(harness, user)
    second = (await harness.user())["id"]
    assert second != user
    await harness.call("POST", f"/v1/users/{second}/close")
    assert (await erase(harness, second)).status == 200


@pytest.mark.parametrize("status", ["pending", "active", "suspended"])
async def test_only_a_closed_user_is_erased(harness: Harness, status: str) -> None:
    """A user that is not closed is answered with 409 and keeps the data; so is one that is erased already."""
    user = await harness.user()
    await harness.alter(USERS, user["id"], status=status)
    answer = await erase(harness, user["id"])
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert (await harness.call("GET", f"/v1/users/{user['id']}")).json["name"] == "Ana Souza"
    await harness.alter(USERS, user["id"], status="closed")
    assert (await erase(harness, user["id"])).status == 200
    assert (await erase(harness, user["id"])).code == "illegal_state"


async def test_one_key_erases_once(crowded: Harness) -> None:
    """Concurrent requests with one key erase once, and a later one gets the stored response."""
    user = (await crowded.user())["id"]
    await crowded.call("POST", f"/v1/users/{user}/close")
    answers = await asyncio.gather(*(erase(crowded, user, key="once") for _ in range(6)))
    assert {answer.status for answer in answers} <= {200, 409}
    later = await erase(crowded, user, key="once")
    assert (later.status, later.headers["idempotent-replayed"]) == (200, "true")
    history = (await crowded.call("GET", f"/v1/users/{user}/changes")).json["data"]
    assert [entry["action"] for entry in history].count("erased") == 1


async def test_an_erasure_reaches_every_page_of_the_history(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history of several pages is erased completely."""
    harness.runtime.settings = harness.runtime.settings._replace(sweep_batch=2)
    user = (await harness.user())["id"]
    for number in range(7):
        await harness.call("PATCH", f"/v1/users/{user}", {"name": f"Ana {number}"})
    await harness.call("POST", f"/v1/users/{user}/close")
    await erase(harness, user)
    entries = await harness.documents.find(USER_CHANGES, "acme", Query(where={"user_id": user}, limit=100))
    assert len(entries) == 10
    assert {entry["content"] for entry in entries} == {None}


async def test_another_tenants_user_is_not_found(harness: Harness) -> None:
    """Another tenant's user is answered as an unknown one, and keeps the data; the scopes are those of users."""
    user = await former(harness)
    await harness.tenant("rival")
    for id in (user, "usr_0"):
        assert (await erase(harness, id, tenant="rival")).code == "not_found"
        answer = await harness.call("GET", f"/v1/users/{id}/export", tenant="rival")
        assert answer.code == "not_found"
    assert (await erase(harness, user, scopes=["users:read"])).code == "insufficient_scope"
    export = await harness.call("GET", f"/v1/users/{user}/export", scopes=["users:write"])
    assert export.code == "insufficient_scope"
    assert (await harness.call("GET", f"/v1/users/{user}")).json["name"] == "Ana Lima"


async def test_sealed_data_of_the_embedded_store_is_erased(tmp_path: Path) -> None:
    """On the embedded store with real encryption the erased user has no sealed field any more."""
    harness = await Harness.on_disk(tmp_path)
    try:
        await harness.tenant()
        user = (await harness.user())["id"]
        await harness.call("POST", f"/v1/users/{user}/close")
        assert (await erase(harness, user)).status == 200
        stored = await harness.documents.get(USERS, "acme", user)
        assert stored is not None
        assert (stored["name"], stored["document_number"], stored["document_index"]) == ("", "", user)
        assert (await harness.user())["id"] != user
    finally:
        await harness.close()
