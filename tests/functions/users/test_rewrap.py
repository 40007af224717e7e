"""Personal data is sealed with the newest key after a rotation."""

from __future__ import annotations

from pathlib import Path

from events.sweeps import Tick
from shared.adapters.files.keyfile import KeyFileSecrets
from shared.core.clock import format_time
from shared.ports.documents import Commit, Query
from shared.records.fraud_reports import FRAUD_REPORTS, FraudReportDocument
from shared.records.notifications import NOTIFICATION_PREFERENCES
from shared.records.pix_charges import PIX_CHARGES
from shared.records.users import USER_CHANGES, USERS
from tests.functions.providers.charges import CHARGES_PATH, charge
from tests.functions.providers.rail import with_rail
from tests.harness import Harness

SWEEPS = ("users/rewrap_users", "notifications/rewrap_preferences", "providers/rewrap_payers")


async def sweep(harness: Harness) -> None:
    """Deliver one tick of each schedule."""
    for operation in SWEEPS:
        tick = harness.envelope(Tick(schedule=operation.partition("/")[2]))
        assert (await harness.deliver(operation, tick)).status == 204


def report(harness: Harness) -> FraudReportDocument:
    """Return a stored report of fraud, whose details are not sealed yet."""
    now = format_time(harness.clock.now())
    return {
        "id": "mrp_1",
        "tenant_id": "acme",
        "version": 1,
        "status": "rejected",
        "provider_id": "med-1",
        "deposit_id": "dep_1",
        "account_id": "acc_1",
        "return_id": "ret_1",
        "amount": 1,
        "amount_held": 0,
        "currency": "BRL",
        "details": None,
        "reason": None,
        "analysis_due_at": now,
        "decided_at": now,
        "correlation_id": "req_1",
        "created_at": now,
        "updated_at": now,
    }


async def test_fields_get_the_newest_key_once(tmp_path: Path) -> None:
    """After a rotation the fields of users and histories have the new key and the same content; a second run and one
    without a rotation write nothing; an erased user stays erased."""
    harness = await Harness.on_disk(tmp_path)
    try:
        secrets = harness.runtime.secrets
        assert isinstance(secrets, KeyFileSecrets)
        await harness.tenant()
        user = (await harness.user(phone="+5511987654321"))["id"]
        await harness.call("PATCH", f"/v1/users/{user}", {"name": "Ana Lima"})
        erased = (await harness.user("11144477735"))["id"]
        await harness.call("POST", f"/v1/users/{erased}/close")
        await harness.call("POST", f"/v1/users/{erased}/erase")
        shown = [(await harness.call("GET", path)).json for path in ("/v1/users", f"/v1/users/{user}/changes")]
        before = await harness.documents.find(USERS, "acme", Query())
        await sweep(harness)
        assert await harness.documents.find(USERS, "acme", Query()) == before
        key = secrets.rotate()
        await sweep(harness)
        stored = await harness.documents.get(USERS, "acme", user)
        assert stored is not None
        fields = [stored["name"], stored["document_number"], stored["email"], stored["phone"]]
        entries = await harness.documents.find(USER_CHANGES, "acme", Query(where={"user_id": user}))
        fields += [entry["content"] for entry in entries if entry["content"] is not None]
        assert {str(field).split(":")[1] for field in fields} == {key}
        assert len(fields) == 5
        after = [(await harness.call("GET", path)).json for path in ("/v1/users", f"/v1/users/{user}/changes")]
        assert after == shown
        version = stored["version"]
        await sweep(harness)
        again = await harness.documents.get(USERS, "acme", user)
        assert again is not None
        assert again["version"] == version
    finally:
        await harness.close()


async def test_debtors_of_charges_get_the_newest_key(tmp_path: Path) -> None:
    """After a rotation the debtors of charges have the new key and are shown as before; a second run, and an immediate
    charge, write nothing."""
    harness = await Harness.on_disk(tmp_path)
    try:
        secrets = harness.runtime.secrets
        assert isinstance(secrets, KeyFileSecrets)
        await harness.tenant()
        await with_rail(harness)
        account = (await harness.account())["id"]
        debtor = {"name": "Ana Lima", "document": {"type": "cpf", "number": "11144477735"}}
        made = [await charge(harness, account, due={"date": "2026-01-09", "debtor": debtor}) for _ in range(3)]
        await charge(harness, account)
        harness.runtime.settings = harness.runtime.settings._replace(sweep_batch=2)
        key = secrets.rotate()
        for _ in range(2):
            await sweep(harness)
            found = await harness.documents.find(PIX_CHARGES, "acme", Query())
            debtors = [one["debtor"] for one in found if one["debtor"] is not None]
            assert {str(one[field]).split(":")[1] for one in debtors for field in ("name", "document_number")} == {key}
            assert sorted((one["version"], one["debtor"] is None) for one in found) == [(1, True), *[(2, False)] * 3]
        for one in made:
            shown = (await harness.call("GET", f"{CHARGES_PATH}/{one['txid']}")).json
            assert shown == one
    finally:
        await harness.close()


async def test_tokens_of_devices_and_details_of_fraud_get_the_newest_key(tmp_path: Path) -> None:
    """After a rotation the tokens of devices and the details of reports of fraud have the new key and the same content;
    a second run writes nothing."""
    harness = await Harness.on_disk(tmp_path)
    try:
        secrets = harness.runtime.secrets
        assert isinstance(secrets, KeyFileSecrets)
        await harness.tenant()
        user = (await harness.user())["id"]
        wanted = {"channels": ["push"], "push_token": "device-of-ana"}
        await harness.call("PATCH", f"/v1/users/{user}/notification-preferences", wanted)
        (details,) = await secrets.seal(["golpe"], "acme")
        stored = report(harness)
        stored["details"] = details
        await harness.documents.commit(Commit("acme", inserts=[(FRAUD_REPORTS, dict(stored))]))
        key = secrets.rotate()
        for _ in range(2):
            await sweep(harness)
            preferences = await harness.documents.get(NOTIFICATION_PREFERENCES, "acme", user)
            found = await harness.documents.get(FRAUD_REPORTS, "acme", "mrp_1")
            assert preferences is not None
            assert found is not None
            sealed = [str(preferences["push_token"]), str(found["details"])]
            assert {text.split(":")[1] for text in sealed} == {key}
            assert await secrets.open(sealed, "acme") == ["device-of-ana", "golpe"]
            assert (preferences["version"], found["version"]) == (2, 2)
    finally:
        await harness.close()
