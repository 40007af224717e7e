"""The callbacks of a simulated provider: signed reports, which are sent until the platform accepts them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from shared.adapters.providers import callback_signature as provider_signature
from shared.core.clock import Clock
from shared.core.randomness import SecretSource
from shared.ports.rail import callback_secret_name
from shared.ports.secrets import Secrets

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]
"""Posts a body with headers to a URL and returns the status of the response. Raises OSError when there is no
response."""
Sleep = Callable[[float], Awaitable[None]]
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


class Report(Protocol):
    """What a simulated provider reports, with the fault that was ordered for its report."""

    @property
    def name(self) -> str:
        """The provider's id of it, for the log."""
        ...

    @property
    def fault(self) -> str | None:
        """`late`, `twice` or `never`; other faults do not concern the delivery."""
        ...

    @property
    def seconds(self) -> float:
        """The delay of the fault `late`."""
        ...


R = TypeVar("R", bound=Report)


class Reporter(Generic[R]):
    """Sends reports to the platform, each until it is accepted.

    `callback` returns the URL and the body of a report; without a URL it is not sent yet. `reported` is called after a
    report was accepted.
    """

    def __init__(
        self,
        secret: bytes,
        clock: Clock,
        post: Post,
        sleep: Sleep,
        callback: Callable[[R], tuple[str | None, bytes]],
        reported: Callable[[R], None],
    ) -> None:
        self._secret = secret
        self._clock = clock
        self._post = post
        self._sleep = sleep
        self._callback = callback
        self._reported = reported
        self.tasks: set[asyncio.Task[None]] = set()
        """The reports that are not accepted yet."""

    def begin(self, report: R) -> None:
        """Send a report in the background. Needs a running event loop."""
        self.run(self._report(report))

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work in the background, until `close`. Needs a running event loop."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def at_once(self, report: R) -> None:
        """Send a report now, and in the background if it is not accepted."""
        if await self._deliver(report):
            self._reported(report)
        else:
            self.begin(report)

    async def close(self) -> None:
        """Stop reporting."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if isinstance(self._post, HttpPost):
            await self._post.aclose()

    async def _report(self, report: R) -> None:
        if report.fault == "never":
            return
        if report.fault == "late":
            await self._sleep(report.seconds)
        pause = FIRST_RETRY_SECONDS
        for _ in range(MAX_DELIVERIES):
            if await self._deliver(report):
                if report.fault == "twice":
                    await self._deliver(report)
                self._reported(report)
                return
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_RETRY_SECONDS)
        log.error("the report of %s was not accepted in %d deliveries", report.name, MAX_DELIVERIES)

    async def _deliver(self, report: R) -> bool:
        url, body = self._callback(report)
        if url is None:
            return False
        headers: dict[str, Any] = provider_signature.sign(self._secret, body, self._clock.now())
        try:
            status = await self._post(url, {**headers, "content-type": "application/json"}, body)
        except OSError as error:
            log.info("the report of %s got no response: %s", report.name, error)
            return False
        if not 200 <= status < 300:
            log.info("the report of %s was answered with %d", report.name, status)
        return 200 <= status < 300


async def callback_secret(provider: str, secrets: Secrets, source: SecretSource) -> bytes:
    """Return the secret with which a provider signs its callbacks. The first call creates and stores it."""
    name = callback_secret_name(provider)
    secret = await secrets.get(name)
    if secret is None:
        secret = source.hexadecimal().encode()
        await secrets.put(name, secret)
    return secret
