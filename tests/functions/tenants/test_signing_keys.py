"""Rotating and revoking signing keys."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from events.tenants import SigningKeyRotated
from shared.ports.documents import Commit, Query
from shared.records.tenants import SIGNING_KEYS
from tests.harness import Answer, Harness, SigningPair

KEYS = "/v1/tenants/acme/signing-keys"


async def rotate(harness: Harness, body: Any = None) -> Any:
    """A new key of the tenant, in use from now on by the harness."""
    answer = await harness.call("POST", KEYS, body)
    assert answer.status == 201, answer.body
    harness.keys["acme"] = SigningPair(answer.json["key_id"], answer.json["secret"])
    return answer.json


async def signed_with(harness: Harness, pair: SigningPair) -> Answer:
    """The answer to a request that is signed with this key (422 when the signature was good: the body is not)."""
    used, harness.keys["acme"] = harness.keys["acme"], pair
    answer = await harness.call("POST", "/v1/users", {})
    harness.keys["acme"] = used
    return answer


async def status_of(harness: Harness, key_id: str) -> str:
    """A key's status as the API shows it."""
    shown = (await harness.call("GET", f"{KEYS}/{key_id}")).json
    assert "secret" not in shown
    status: str = shown["status"]
    return status


async def test_the_key_before_stays_good_through_its_grace(harness: Harness) -> None:
    """Both keys sign until the grace is over; then the old one is revoked by itself."""
    old = harness.keys["acme"]
    new = await rotate(harness, {"grace_seconds": 60})
    assert new["status"] == "active"
    assert await status_of(harness, old.key_id) == "grace"
    assert (await signed_with(harness, old)).status == 422
    harness.clock.advance(timedelta(seconds=59))
    assert (await signed_with(harness, old)).status == 422
    harness.clock.advance(timedelta(seconds=1))
    assert (await signed_with(harness, old)).code == "revoked_key"
    assert await status_of(harness, old.key_id) == "revoked"
    assert (await signed_with(harness, harness.keys["acme"])).status == 422


async def test_rotation_says_where_the_key_is_and_tells_of_it(harness: Harness) -> None:
    """201 with Location, a day of grace when the body is empty, and one event with both keys."""
    old = harness.keys["acme"]
    answer = await harness.call("POST", KEYS)
    assert set(answer.json) == {"key_id", "secret", "status", "created_at"}
    assert answer.headers["location"] == f"{KEYS}/{answer.json['key_id']}"
    told = harness.events_of(SigningKeyRotated)
    assert [(fact.key_id, fact.previous_key_id, fact.grace_until) for fact in told] == [
        (answer.json["key_id"], old.key_id, "2026-01-02T00:00:00.000000Z")
    ]


async def test_no_grace_ends_the_old_key_at_once(harness: Harness) -> None:
    """`grace_seconds` 0 revokes the key before with the same commit."""
    old = harness.keys["acme"]
    await rotate(harness, {"grace_seconds": 0})
    assert (await signed_with(harness, old)).code == "revoked_key"


@pytest.mark.parametrize("seconds", [-1, 604_801, 1.0, "60", True])
async def test_a_grace_that_does_not_fit_is_refused(harness: Harness, seconds: object) -> None:
    """422 at /grace_seconds."""
    answer = await harness.call("POST", KEYS, {"grace_seconds": seconds})
    assert answer.code == "validation_failed"
    assert answer.json["errors"][0]["pointer"] == "/grace_seconds"


async def test_of_rotations_at_once_one_key_stays_active(crowded: Harness) -> None:
    """However rotations cut in on each other, exactly one key is active in the end."""
    answers = await asyncio.gather(*(crowded.call("POST", KEYS) for _ in range(5)))
    assert {answer.status for answer in answers} == {201}
    keys = await crowded.documents.find(SIGNING_KEYS, "acme", Query(limit=100))
    assert sorted(key["status"] for key in keys) == ["active", *["grace"] * 5]


async def test_a_key_in_grace_can_be_revoked(harness: Harness) -> None:
    """Revoking ends a grace now; doing it again changes nothing and answers the same."""
    old = harness.keys["acme"]
    await rotate(harness)
    answer = await harness.call("POST", f"{KEYS}/{old.key_id}/revoke")
    assert (answer.status, answer.json["status"]) == (200, "revoked")
    assert (await signed_with(harness, old)).code == "revoked_key"
    again = await harness.call("POST", f"{KEYS}/{old.key_id}/revoke")
    assert (again.status, again.json["status"]) == (200, "revoked")


async def test_the_last_active_key_stays(harness: Harness) -> None:
    """409 illegal_state, and the key goes on signing."""
    only = harness.keys["acme"]
    answer = await harness.call("POST", f"{KEYS}/{only.key_id}/revoke")
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert (await signed_with(harness, only)).status == 422


async def test_of_two_revocations_at_once_one_key_stays_active(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two active keys is revoked on the strength of the other: one revocation finds that it is the last."""
    old, commit = harness.keys["acme"], harness.documents.commit
    new = (await harness.call("POST", KEYS)).json["key_id"]
    await harness.alter(SIGNING_KEYS, old.key_id, status="active", expires_at=None)
    decided, both_decided = 0, asyncio.Event()

    async def once_both_have_decided(pending: Commit) -> None:
        nonlocal decided
        decided += 1
        if decided == 2:
            both_decided.set()
        await both_decided.wait()
        await commit(pending)

    monkeypatch.setattr(harness.documents, "commit", once_both_have_decided)
    answers = await asyncio.gather(*(harness.call("POST", f"{KEYS}/{key}/revoke") for key in (old.key_id, new)))
    assert sorted(answer.status for answer in answers) == [200, 409]
    active = await harness.documents.find(SIGNING_KEYS, "acme", Query(where={"status": "active"}))
    assert len(active) == 1


async def test_keys_belong_to_one_tenant(harness: Harness) -> None:
    """Under another tenant's path a key is not found, and another tenant's key signs nothing."""
    await harness.tenant("rival")
    foreign = harness.keys["rival"]
    assert (await harness.call("GET", f"{KEYS}/{foreign.key_id}")).code == "not_found"
    assert (await harness.call("POST", f"{KEYS}/{foreign.key_id}/revoke")).code == "not_found"
    assert (await signed_with(harness, foreign)).code == "unknown_key"
