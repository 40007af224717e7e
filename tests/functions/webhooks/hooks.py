"""What the tests of webhooks have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from events.sweeps import Tick
from shared.core.clock import format_time
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from tests.harness import Harness
from tests.waiting import PATIENCE_SECONDS

ENDPOINTS = "/v1/webhook-endpoints"
SETTINGS = Settings(webhooks_allow_private=1, webhooks_stay_seconds=0.0)
_LOOK_AGAIN_SECONDS = 0.01


async def endpoint(harness: Harness, url: str, *events: str, tenant: str | None = None) -> Any:
    """Create an endpoint for these events, by default for all, and return it with its secret."""
    body = {"url": url, "events": list(events) or ["*"]}
    answer = await harness.call("POST", ENDPOINTS, body, tenant=tenant)
    assert answer.status == 201, answer.body
    return answer.json


async def deliveries(harness: Harness, endpoint_id: str, *, tenant: str | None = None) -> Any:
    """Return the deliveries to an endpoint, newest event first."""
    answer = await harness.call("GET", f"{ENDPOINTS}/{endpoint_id}/deliveries", tenant=tenant, query="limit=100")
    assert answer.status == 200, answer.body
    return answer.json["data"]


async def tick(harness: Harness) -> None:
    """Deliver a tick of the schedule to the sender."""
    now = format_time(harness.clock.now())
    envelope = Envelope(harness.runtime.ids.new("evt"), "/ping", Tick.type, None, now, {}, data=b"{}")
    assert (await harness.deliver("webhooks/send_due", envelope)).status == 204


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds. Raises TimeoutError when it does not in time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what happens is on the other end of a socket
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
