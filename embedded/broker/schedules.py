"""PingSources: an event at set times of the wall clock, to the source's sink.

They work as in the ping adapter: standard cron of five fields or a descriptor (`@hourly`), in a timezone. A tick is
skipped when the platform was not running at its time, or when the wall clock jumped over it and later ones. When the
wall clock is set back, the schedules continue from its new time.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from embedded.broker.plan import Plan, Subscription
from embedded.broker.timers import Timers
from embedded.manifests.cron import Cron
from embedded.manifests.eventing import PingSource
from shared.core.clock import Clock, JumpWatch, format_time
from shared.core.envelope import Envelope
from shared.core.ids import IdSource
from shared.ports.documents import Unavailable

log = logging.getLogger(__name__)
PING_TYPE: Final = "dev.knative.sources.ping"
_CHECK_SECONDS: Final = 1.0
_SENDING_SECONDS: Final = 0.5

Send = Callable[[Subscription, Envelope], Awaitable[None]]


@dataclass(slots=True)
class _Entry:
    """One PingSource and the wall time of its next tick. None: it never ticks again."""

    ping: PingSource
    subscription: Subscription
    cron: Cron
    due: datetime | None = None


class Schedules:
    """Sends the events of the plan's PingSources when they are due."""

    def __init__(self, plan: Plan, clock: Clock, timers: Timers, ids: IdSource, send: Send) -> None:
        self._clock = clock
        self._timers = timers
        self._ids = ids
        self._send = send
        self._sending: set[asyncio.Task[None]] = set()
        self._running = False
        self._jumps = JumpWatch(clock)
        self._entries: list[_Entry] = []
        self.ticks: dict[str, int] = {}
        for name, (ping, subscription) in plan.pings.items():
            self._entries.append(_Entry(ping, subscription, Cron(ping.spec.schedule, ping.spec.timezone)))
            self.ticks[name] = 0

    def start(self) -> None:
        """Wait for the next tick of each schedule after the present time."""
        self._running = True
        self._jumps = JumpWatch(self._clock)
        self._set_next_ticks(self._clock.now())
        self._check_later()

    async def stop(self) -> None:
        """Make no more ticks. Wait a moment for those being sent; a tick that is not sent by then is dropped."""
        self._running = False
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=_SENDING_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _set_next_ticks(self, now: datetime) -> None:
        for entry in self._entries:
            entry.due = entry.cron.next_after(now)

    def _check_later(self) -> None:
        # Timers measure monotonic time, and ticks are wall times. The wall clock is therefore read every second, and
        # exactly when the next tick is expected.
        dues = [entry.due for entry in self._entries if entry.due is not None]
        if dues:
            wait = (min(dues) - self._clock.now()).total_seconds()
            self._timers.after(min(max(wait, 0.0), _CHECK_SECONDS), self._check)

    def _check(self) -> None:
        """Send the ticks that are due."""
        if not self._running:
            return
        now = self._clock.now()
        if self._jumps.check() < 0:
            self._set_next_ticks(now)
        for entry in self._entries:
            if entry.due is not None and entry.due <= now:
                self._tick(entry)
                entry.due = entry.cron.next_after(now)
        self._check_later()

    def _tick(self, entry: _Entry) -> None:
        self.ticks[entry.ping.name] += 1
        task = asyncio.get_running_loop().create_task(self._deliver(entry.subscription, self._event(entry.ping)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, subscription: Subscription, envelope: Envelope) -> None:
        try:
            await self._send(subscription, envelope)
        except Unavailable as error:
            log.warning("a tick of %s is dropped: %s", subscription.name, error)

    def _event(self, ping: PingSource) -> Envelope:
        spec = ping.spec
        return Envelope(
            id=self._ids.new("evt"),
            source=f"/apis/v1/namespaces/{ping.namespace}/pingsources/{ping.name}",
            type=PING_TYPE,
            subject=None,
            time=format_time(self._clock.now()),
            extensions=dict(spec.ce_overrides.extensions) if spec.ce_overrides else {},
            data=_data(spec.data, spec.data_base64),
        )


def _data(text: str, encoded: str) -> bytes:
    """Return the data of a tick as JSON text. Other text becomes a JSON string, because events of the platform carry
    only JSON."""
    raw = base64.b64decode(encoded) if encoded else text.encode()
    if not raw:
        return b"{}"
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return orjson.dumps(raw.decode("utf-8", "replace"))
    return raw
