"""Personal data is sealed with the newest key after a rotation."""

from __future__ import annotations

from pathlib import Path

from events.sweeps import Tick
from shared.adapters.files.keyfile import KeyFileSecrets
from shared.ports.documents import Query
from shared.records.users import USER_CHANGES, USERS
from tests.harness import Harness


async def sweep(harness: Harness) -> None:
    """Deliver one tick of the schedule."""
    tick = harness.envelope(Tick(schedule="rewrap_users"))
    assert (await harness.deliver("users/rewrap_users", tick)).status == 204


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
