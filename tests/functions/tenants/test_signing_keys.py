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
    """Rotate the tenant's key; the harness signs with the new one from now on."""
    answer = await harness.call("POST", KEYS, body)
    assert answer.status == 201, answer.body
    harness.keys["acme"] = SigningPair(answer.json["key_id"], answer.json["secret"])
    return answer.json


async def signed_with(harness: Harness, pair: SigningPair) -> Answer:
    """Send an invalid request that is signed with this key, and return the answer: 422 when the signature is
    accepted."""
    used, harness.keys["acme"] = harness.keys["acme"], pair
    answer = await harness.call("POST", "/v1/users", {})
    harness.keys["acme"] = used
    return answer


async def status_of(harness: Harness, key_id: str) -> str:
    """Return a key's status in the API."""
    shown = (await harness.call("GET", f"{KEYS}/{key_id}")).json
    assert "secret" not in shown
    status: str = shown["status"]
    return status


async def test_the_previous_key_is_valid_in_its_grace_period(harness: Harness) -> None:
    """Both keys are accepted during the grace period; after it the previous key is revoked."""
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


async def test_a_rotation_returns_the_new_key_and_publishes_an_event(harness: Harness) -> None:
    """A rotation is answered with 201 and Location, has a grace period of one day by default, and publishes one event
    with both key ids."""
    old = harness.keys["acme"]
    answer = await harness.call("POST", KEYS)
    assert set(answer.json) == {"key_id", "secret", "status", "created_at"}
    assert answer.headers["location"] == f"{KEYS}/{answer.json['key_id']}"
    published = harness.events_of(SigningKeyRotated)
    assert [(fact.key_id, fact.previous_key_id, fact.grace_until) for fact in published] == [
        (answer.json["key_id"], old.key_id, "2026-01-02T00:00:00.000000Z")
    ]


async def test_no_grace_ends_the_old_key_at_once(harness: Harness) -> None:
    """`grace_seconds` 0 revokes the previous key at once."""
    old = harness.keys["acme"]
    await rotate(harness, {"grace_seconds": 0})
    assert (await signed_with(harness, old)).code == "revoked_key"


@pytest.mark.parametrize("seconds", [-1, 604_801, 1.0, "60", True])
async def test_an_invalid_grace_period_is_refused(harness: Harness, seconds: object) -> None:
    """A grace period out of its bounds is answered with 422 at `/grace_seconds`."""
    answer = await harness.call("POST", KEYS, {"grace_seconds": seconds})
    assert answer.code == "validation_failed"
    assert answer.json["errors"][0]["pointer"] == "/grace_seconds"


async def test_of_rotations_at_once_one_key_stays_active(crowded: Harness) -> None:
    """After concurrent rotations exactly one key is active."""
    answers = await asyncio.gather(*(crowded.call("POST", KEYS) for _ in range(5)))
    assert {answer.status for answer in answers} == {201}
    keys = await crowded.documents.find(SIGNING_KEYS, "acme", Query(limit=100))
    assert sorted(key["status"] for key in keys) == ["active", *["grace"] * 5]


async def test_a_key_in_grace_can_be_revoked(harness: Harness) -> None:
    """Revoking a key in its grace period has an effect at once, and a repeated revocation gets the same response."""
    old = harness.keys["acme"]
    await rotate(harness)
    answer = await harness.call("POST", f"{KEYS}/{old.key_id}/revoke")
    assert (answer.status, answer.json["status"]) == (200, "revoked")
    assert (await signed_with(harness, old)).code == "revoked_key"
    again = await harness.call("POST", f"{KEYS}/{old.key_id}/revoke")
    assert (again.status, again.json["status"]) == (200, "revoked")


async def test_the_last_active_key_stays(harness: Harness) -> None:
    """Revoking the last active key is answered with 409 `illegal_state`, and the key stays valid."""
    only = harness.keys["acme"]
    answer = await harness.call("POST", f"{KEYS}/{only.key_id}/revoke")
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert (await signed_with(harness, only)).status == 422


async def test_of_two_revocations_at_once_one_key_stays_active(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two concurrent revocations of the last two active keys, one is refused."""
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
    """A key is not found under another tenant's path, and is not accepted for another tenant's requests."""
    await harness.tenant("rival")
    foreign = harness.keys["rival"]
    assert (await harness.call("GET", f"{KEYS}/{foreign.key_id}")).code == "not_found"
    assert (await harness.call("POST", f"{KEYS}/{foreign.key_id}/revoke")).code == "not_found"
    assert (await signed_with(harness, foreign)).code == "unknown_key"
