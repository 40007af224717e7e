"""The reports of a simulated PIX provider: signed callbacks, which are sent until the platform accepts them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from embedded.simulators.pix_model import SimulatedPayment
from shared.adapters.pix import callback_signature as provider_signature
from shared.core.clock import Clock

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]
"""Posts a body with headers to a URL and returns the status of the response. Raises OSError when there is no
response."""
Sleep = Callable[[float], Awaitable[None]]
CALLBACK_PATH: Final = "/pix"
"""What a provider adds to the URL of a webhook (API Pix)."""
FIRST_RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 30.0
MAX_DELIVERIES: Final = 200


class HttpPost:
    """Posts over HTTP, with the given client or with one that is created at first use."""

    def __init__(self, client: httpx.AsyncClient | None = None, timeout_seconds: float = 10.0) -> None:
        self._timeout = timeout_seconds
        self._client = client

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post JSON and return the status of the response. Raises OSError when there is no response."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout)
        try:
            answer = await self._client.post(url, headers=dict(headers), content=body)
        except httpx.HTTPError as error:
            raise OSError(f"{type(error).__name__}: {error}") from None
        return answer.status_code

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


class Reporter:
    """Reports payments to the webhooks of their keys.

    `webhooks` has the URL by key. `reported` is called after the report of a payment was accepted.
    """

    def __init__(
        self,
        secret: bytes,
        clock: Clock,
        post: Post,
        sleep: Sleep,
        webhooks: Mapping[str, str],
        reported: Callable[[SimulatedPayment], None],
    ) -> None:
        self._secret = secret
        self._clock = clock
        self._post = post
        self._sleep = sleep
        self._webhooks = webhooks
        self._reported = reported
        self.tasks: set[asyncio.Task[None]] = set()
        """The reports that are not accepted yet."""

    def begin(self, payment: SimulatedPayment) -> None:
        """Report a payment in the background. Needs a running event loop."""
        task = asyncio.get_running_loop().create_task(self._report(payment))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def at_once(self, payment: SimulatedPayment) -> None:
        """Report a payment now, and in the background if it is not accepted."""
        if await self._deliver(payment):
            self._end(payment)
        else:
            self.begin(payment)

    async def close(self) -> None:
        """Stop reporting."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if isinstance(self._post, HttpPost):
            await self._post.aclose()

    async def _report(self, payment: SimulatedPayment) -> None:
        if payment.fault == "never":
            return
        if payment.fault == "late":
            await self._sleep(payment.seconds)
        pause = FIRST_RETRY_SECONDS
        for _ in range(MAX_DELIVERIES):
            if await self._deliver(payment):
                if payment.fault == "twice":
                    await self._deliver(payment)
                self._end(payment)
                return
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_RETRY_SECONDS)
        log.error("the report of %s was not accepted in %d deliveries", payment.end_to_end_id, MAX_DELIVERIES)

    def _end(self, payment: SimulatedPayment) -> None:
        payment.told = True
        self._reported(payment)

    async def _deliver(self, payment: SimulatedPayment) -> bool:
        url = self._webhooks.get(payment.key) or payment.webhook
        if url is None:
            return False
        body = orjson.dumps({"pix": [payment.shown()]})
        headers: dict[str, Any] = provider_signature.sign(self._secret, body, self._clock.now())
        try:
            status = await self._post(f"{url}{CALLBACK_PATH}", {**headers, "content-type": "application/json"}, body)
        except OSError as error:
            log.info("the report of %s got no response: %s", payment.end_to_end_id, error)
            return False
        if not 200 <= status < 300:
            log.info("the report of %s was answered with %d", payment.end_to_end_id, status)
        return 200 <= status < 300
