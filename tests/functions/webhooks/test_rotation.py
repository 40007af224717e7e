"""The secret of an endpoint is replaced without a gap, and a disabled endpoint is enabled again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.records.webhooks import WEBHOOK_ENDPOINTS
from tests.functions.webhooks.hooks import ENDPOINTS, deliveries, endpoint
from tests.functions.webhooks.receiver import Received, Receiver, status
from tests.harness import Harness

NUMBERS = ("52998224725", "11144477735", "39053344705", "15350946056")
REGISTERED = "lastro.user.registered.v1"


async def rotated(harness: Harness, endpoint_id: str, body: Any = None) -> str:
    """Replace the secret of an endpoint and return the new one."""
    answer = await harness.call("POST", f"{ENDPOINTS}/{endpoint_id}/rotate-secret", body)
    assert answer.status == 200, answer.body
    return str(answer.json["secret"])


def accepts(secret: str, received: Received, harness: Harness) -> bool:
    """Return whether a receiver with this secret accepts a request."""
    signatures = received.headers["webhook-signature"].split(" ")
    assert all(signature.startswith("v1,") for signature in signatures)
    expected = Webhook(secret).sign(received.headers["webhook-id"], harness.clock.now(), received.body.decode())
    return expected in signatures


async def sent(harness: Harness, receiver: Receiver, number: str) -> Received:
    """Register a user and return the request about it."""
    await harness.user(number)
    await harness.run_events()
    return receiver.received[-1]


async def test_two_signatures_during_the_grace_time(hooks: Harness, receiver: Receiver) -> None:
    """After a rotation the library accepts an event with the new secret and with the previous one, until the grace time
    has passed; then with the new one only."""
    made = await endpoint(hooks, receiver.url, REGISTERED)
    new = await rotated(hooks, made["id"], {"grace_seconds": 60})
    assert new != made["secret"]
    both = await sent(hooks, receiver, NUMBERS[0])
    for secret in (new, made["secret"]):
        assert Webhook(secret).verify(both.body, both.headers)["type"] == REGISTERED
    assert len(both.headers["webhook-signature"].split(" ")) == 2
    hooks.clock.advance(timedelta(seconds=60))
    one = await sent(hooks, receiver, NUMBERS[1])
    Webhook(new).verify(one.body, one.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(one.body, one.headers)
    assert len(one.headers["webhook-signature"].split(" ")) == 1


async def test_a_second_rotation_and_one_without_grace(hooks: Harness, receiver: Receiver) -> None:
    """The default grace time is a day. A second rotation ends the grace of the first secret, and one without a grace
    time ends that of every earlier secret at once."""
    made = await endpoint(hooks, receiver.url, REGISTERED)
    second = await rotated(hooks, made["id"])
    hooks.clock.advance(timedelta(hours=23, minutes=59))
    received = await sent(hooks, receiver, NUMBERS[0])
    assert [accepts(secret, received, hooks) for secret in (made["secret"], second)] == [True, True]
    third = await rotated(hooks, made["id"], {"grace_seconds": None})
    received = await sent(hooks, receiver, NUMBERS[1])
    assert [accepts(secret, received, hooks) for secret in (made["secret"], second, third)] == [False, True, True]
    fourth = await rotated(hooks, made["id"], {"grace_seconds": 0})
    received = await sent(hooks, receiver, NUMBERS[2])
    assert [accepts(secret, received, hooks) for secret in (second, third, fourth)] == [False, False, True]


async def test_a_rotation_is_repeated_by_its_key(hooks: Harness) -> None:
    """The same key returns the same new secret, which is sealed at rest; a wrong grace time is refused."""
    made = await endpoint(hooks, "https://hooks.example.com/")
    path = f"{ENDPOINTS}/{made['id']}/rotate-secret"
    first = await hooks.call("POST", path, key="k")
    assert (await hooks.call("POST", path, key="k")).body == first.body
    assert first.json["secret"] not in repr(vars(hooks.documents))
    for seconds in (-1, 604_801, "60", 1.5):
        assert (await hooks.call("POST", path, {"grace_seconds": seconds})).code == "validation_failed"


async def test_a_disabled_endpoint_is_enabled_again(hooks: Harness, receiver: Receiver) -> None:
    """An endpoint that was disabled gets the events after it was enabled, and may fail for five days again. Enabling an
    active endpoint changes nothing."""
    made = await endpoint(hooks, receiver.url, REGISTERED)
    path = f"{ENDPOINTS}/{made['id']}"
    receiver.answers.append(status(410))
    await sent(hooks, receiver, NUMBERS[0])
    await sent(hooks, receiver, NUMBERS[1])
    assert len(receiver.received) == 1
    for _ in range(2):
        answer = await hooks.call("POST", f"{path}/enable")
        assert (answer.status, answer.json["status"]) == (200, "active")
    stored = await hooks.documents.get(WEBHOOK_ENDPOINTS, "acme", made["id"])
    assert stored is not None
    assert stored["failing_since"] is None
    await sent(hooks, receiver, NUMBERS[2])
    assert len(receiver.received) == 2
    (delivery,) = [found for found in await deliveries(hooks, made["id"]) if found["status"] == "exhausted"]
    await hooks.call("POST", f"{path}/deliveries/{delivery['id']}/resend")
    await hooks.run_events()
    assert len(receiver.received) == 3
