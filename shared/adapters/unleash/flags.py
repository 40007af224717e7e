"""The flags port on Unleash (docs/decisions/0028).

A task reads the state of all flags at intervals. A flag is evaluated in this process, so a request never waits for
Unleash. While Unleash does not answer, the last state holds; a copy of it lets it hold across a restart, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.unleash.address import Address, read_address
from shared.adapters.unleash.copies import CacheCopies, Copies, Copy, FileCopies
from shared.adapters.unleash.state import State
from shared.core.clock import Clock, format_time
from shared.core.flags import FLAGS, Flag
from shared.core.version import VERSION
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Adapter, AdapterOptions, NotOpened

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)
COPY_FILE: Final = "unleash.json"
SPECIFICATION: Final = "5.2.0"
"""The version of Unleash's specification for clients whose states the engine understands."""
MAX_STATE_BYTES: Final = 8 * 1024 * 1024
_MAX_ANSWERS: Final = 20_000
_SHORTEST_INTERVAL: Final = 0.9


def _count_nothing(_name: str, _label: str) -> None:
    """Take a count where no telemetry is attached."""


class NotRead(Exception):
    """The state could not be read. The text is the reason, in one line."""


class _Answer:
    """The value of a flag for a tenant until the next reading, and how often it was asked for."""

    __slots__ = ("count", "value")

    def __init__(self, value: bool) -> None:
        self.value = value
        self.count = 0


class UnleashFlags(Adapter):
    """The flags of an Unleash server.

    It opens also when the server does not answer: with the copy, otherwise with the defaults. It is never a
    reason for the platform not to serve.
    """

    adapter_name = "client of Unleash"

    def __init__(
        self,
        address: Address,
        copies: Copies,
        clock: Clock,
        *,
        seconds: float,
        refresh_seconds: float,
        count: Callable[[str, str], None] = _count_nothing,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`copies` is where the copy is. A reading takes at most `seconds`, and begins `refresh_seconds` after the one
        before at the latest. `count` counts the readings (`flags_reads`, with `read` or `failed`). `transport` replaces
        the network in tests."""
        self._address = address
        self._copies = copies
        self._clock = clock
        self._seconds = seconds
        self._refresh_seconds = refresh_seconds
        self._count = count
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._state: State | None = None
        self._etag: str | None = None
        self._read_at: str | None = None
        self._trouble: str | None = None
        self._answers: dict[tuple[str, str | None], _Answer] = {}
        self._usage: dict[str, list[int]] = {}
        self._usage_since = ""

    def enabled(self, flag: Flag, tenant_id: str | None) -> bool:
        answer = self._answers.get((flag.name, tenant_id))
        if answer is None:
            answer = self._answer(flag, tenant_id)
        answer.count += 1
        return answer.value

    def _answer(self, flag: Flag, tenant_id: str | None) -> _Answer:
        self.require_open()
        if len(self._answers) >= _MAX_ANSWERS:
            self._forget_answers()
        value = flag.default if self._state is None else self._state.enabled(flag, tenant_id, self._address.app)
        answer = self._answers[flag.name, tenant_id] = _Answer(value)
        return answer

    def _forget_answers(self) -> None:
        """Evaluate flags anew from now on: their state, or the time that a strategy compares with, has changed."""
        for (name, _), answer in self._answers.items():
            self._usage.setdefault(name, [0, 0])[answer.value] += answer.count
        self._answers.clear()

    async def _open(self, closing: AsyncExitStack) -> None:
        closing.callback(self._forget_answers)
        self._usage_since = format_time(self._clock.now())
        await self._load_copy()
        self._client = _client(self._address, self._seconds, self._transport)
        closing.push_async_callback(self._client.aclose)
        await self.refresh()
        reading = asyncio.create_task(self._keep_reading(Random()))  # noqa: S311 - it spreads the readings of processes
        closing.push_async_callback(_cancel, reading)

    async def _keep_reading(self, random: Random) -> None:
        while True:
            await asyncio.sleep(self._refresh_seconds * random.uniform(_SHORTEST_INTERVAL, 1.0))
            await self.refresh()

    async def refresh(self) -> None:
        """Read the state now, and report how often flags were used. Never raises: the last state holds."""
        try:
            async with asyncio.timeout(self._seconds):
                changed = await self._read()
        except NotRead as error:
            self._not_read(str(error))
        except TimeoutError:
            self._not_read(f"it did not answer within {self._seconds:g} s")
        else:
            if self._trouble is not None:
                log.info("Unleash at %s answers again", self._address.url)
            self._trouble = None
            self._count("flags_reads", "read")
            self._read_at = format_time(self._clock.now())
            if changed:
                await self._save_copy()
            self._forget_answers()
            await self._report_usage()
            return
        self._forget_answers()

    def _not_read(self, reason: str) -> None:
        is_new = reason != self._trouble
        self._trouble = reason
        self._count("flags_reads", "failed")
        if is_new:
            log.warning("%s", self.impairment())

    def impairment(self) -> str | None:
        """Return that the flags cannot be read, and which ones hold meanwhile, or None."""
        if self._trouble is None:
            return None
        held = "have their defaults" if self._state is None else f"stay as they were read at {self._read_at}"
        return f"Unleash at {self._address.url} cannot be read: {self._trouble}. The flags {held}"

    async def _read(self) -> bool:
        """Read the state if it has changed, and return whether it has. Raises NotRead."""
        import httpx

        assert self._client is not None, "it is opened before it is refreshed"
        headers = {} if self._etag is None else {"If-None-Match": self._etag}
        try:
            async with self._client.stream("GET", "/client/features", headers=headers) as response:
                if response.status_code == httpx.codes.NOT_MODIFIED and self._etag is not None:
                    return False
                if response.status_code != httpx.codes.OK:
                    raise NotRead(_refusal(response.status_code))
                text = await _text_of(response)
        except httpx.HTTPError as error:
            raise NotRead(_first_line(error)) from None
        try:
            state = State(text)
        except ValueError as error:
            raise NotRead(f"its answer is not a state of flags: {_first_line(error)}") from None
        self._take(state)
        self._etag = response.headers.get("etag")
        return True

    def _take(self, state: State) -> None:
        missing = sorted(FLAGS.keys() - state.names)
        if missing and (self._state is None or missing != sorted(FLAGS.keys() - self._state.names)):
            names = ", ".join(missing)
            log.warning("Unleash does not have %s: the default holds. `lastro migrate` creates missing flags", names)
        self._state = state

    async def _load_copy(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                copy = await self._copies.load()
            if copy is not None and (copy.server, copy.scope) == (self._address.url, self._address.scope):
                self._take(State(copy.text))
                self._read_at = copy.read_at
        except (OSError, ValueError, Unavailable) as error:
            log.warning("%s is not used: %s", self._copies.name, _first_line(error))

    async def _save_copy(self) -> None:
        assert self._state is not None
        assert self._read_at is not None
        copy = Copy(self._address.url, self._address.scope, self._read_at, self._state.text)
        try:
            async with asyncio.timeout(self._seconds):
                await self._copies.save(copy)
        except (OSError, Unavailable) as error:
            where, reason = self._copies.name, _first_line(error)
            log.warning("%s cannot be written, so a restart without Unleash has the defaults: %s", where, reason)

    async def _report_usage(self) -> None:
        """Send Unleash how often each flag was on and off. What could not be sent is sent the next time."""
        import httpx

        if not self._usage:
            return
        assert self._client is not None
        now = format_time(self._clock.now())
        toggles = {name: {"yes": yes, "no": no} for name, (no, yes) in self._usage.items()}
        bucket = {"start": self._usage_since, "stop": now, "toggles": toggles}
        body = {"appName": self._address.app, "instanceId": "lastro", "bucket": bucket}
        with contextlib.suppress(httpx.HTTPError):
            if (await self._client.post("/client/metrics", json=body)).is_success:
                self._usage, self._usage_since = {}, now


def _client(address: Address, seconds: float, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    import httpx

    headers = {
        "Authorization": address.token,
        "Unleash-AppName": address.app,
        "Unleash-Client-Spec": SPECIFICATION,
        "Unleash-SDK": f"lastro:{VERSION}",
    }
    try:
        verify: Any = True if address.ca is None else ssl.create_default_context(cafile=address.ca)
    except OSError as error:
        raise NotOpened(
            f"LASTRO_FLAGS: the certificates in {address.ca} cannot be read: {_first_line(error)}"
        ) from None
    return httpx.AsyncClient(base_url=address.url, headers=headers, timeout=seconds, verify=verify, transport=transport)


async def _text_of(response: httpx.Response) -> str:
    """Return the body as text. Raises NotRead when it is too large or not UTF-8."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_STATE_BYTES:
            raise NotRead(f"its answer has more than {MAX_STATE_BYTES} bytes")
        parts.append(part)
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise NotRead("its answer is not UTF-8") from None


def _refusal(status: int) -> str:
    token = ": it does not accept the token of LASTRO_FLAGS" if status in (401, 403) else ""
    return f"it answered {status}{token}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def unleash_flags(options: AdapterOptions) -> UnleashFlags:
    """Return the flags of a URL (shared.adapters.unleash.address). Raises InvalidSettings."""
    settings, address = options.settings, read_address(options.url)
    file = FileCopies(settings.data_path / COPY_FILE)
    return UnleashFlags(
        address,
        file if options.cache is None else CacheCopies(options.cache, address),
        options.clock,
        seconds=settings.flags_seconds,
        refresh_seconds=settings.flags_refresh_seconds,
        count=options.increase,
    )
