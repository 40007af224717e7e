"""The opening and closing of adapters, in the same way for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, Self, TypeVar

from shared.core.clock import Clock
from shared.core.settings import Settings
from shared.ports.documents import Collection, Unavailable

if TYPE_CHECKING:
    from shared.ports.cache import Cache

CLOSE_SECONDS: Final = 5.0
"""The longest time for closing an adapter, unless its caller sets another, in seconds."""
PROBE_SECONDS: Final = 0.9
"""The longest time in which `Adapter.trouble` waits for a server, in seconds."""
_PAUSE_SECONDS: Final = 0.2

T = TypeVar("T")

WriterKind = Literal["thread", "process"]
"""Where the writer of the embedded store runs: in a thread of this process, or in its own process."""


def _count_nothing(_name: str, _label: str) -> None:
    """Count nothing: the default of an adapter without metrics."""


class AdapterOptions(NamedTuple):
    """The arguments from which an adapter is made."""

    url: str
    """The URL of the setting; "" for an embedded adapter."""
    ports: frozenset[str]
    """The names of the ports that this process uses of the adapter. When an adapter could also serve the documents but
    does not, the results of its calls are durable when they return, because `Documents.durable` does not include it."""
    settings: Settings
    clock: Clock
    collections: Callable[[], Sequence[Collection[Any, ...]]]
    """Returns all collections of documents. The call loads the records of every domain."""
    writer: WriterKind = "thread"
    waits: bool = True
    """Whether opening may wait, up to a setting, for a server or another process. Otherwise it fails immediately."""
    increase: Callable[[str, str], None] = _count_nothing
    """Increases the counter of a name and a label by one (shared.telemetry)."""
    cache: Cache | None = None
    """The cache that the processes share, for an adapter of a function that runs alone; otherwise None."""


class NotOpened(Unavailable):
    """An adapter could not be opened. The text is one line with the file or server, and the reason."""


class Closed(Unavailable):
    """A port was used after its adapter was closed."""


class Adapter:
    """A server, a file or memory that implements one or more ports. `async with adapter:` opens it and closes it at the
    end.

    Making an adapter opens nothing: no file, connection, thread or task. An adapter is opened once; to try again, make
    another. Entering raises NotOpened, whose text has no password. When entering fails or is cancelled, everything that
    was opened is closed in reverse order.

    After the adapter is closed, every method that reads, writes or sends raises Closed.
    """

    adapter_name: ClassVar[str]
    """The name in messages, after "the": `store`."""

    is_closed = False
    close_seconds = CLOSE_SECONDS
    """The time that closing may take, in seconds. It is set before the callbacks of `_open` are called."""
    _was_entered = False
    _closing: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        if self._was_entered:
            raise RuntimeError(f"the {self.adapter_name} was opened before: make another one")
        self._was_entered = True
        try:
            async with AsyncExitStack() as closing:
                await self._open(closing)
                self.require_open()
                self._closing = closing.pop_all()
        except BaseException:
            self.is_closed = True
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close within this time, in seconds. A second call does nothing.

        The adapter is closed also when this raises; the exception says what was lost.
        """
        if self.is_closed:
            return
        self.is_closed = True
        self.close_seconds = seconds
        closing, self._closing = self._closing, None
        if closing is not None:
            await closing.aclose()

    @property
    def server_shown(self) -> str:
        """The server in messages, with its address and without a password."""
        return f"the {self.adapter_name}"

    def require_open(self) -> None:
        """Raise Closed after the adapter was closed."""
        if self.is_closed:
            raise Closed(f"the {self.adapter_name} is closed")

    async def trouble(self) -> str | None:
        """Return the reason for which the adapter cannot serve now, or None. It answers within about a second."""
        try:
            self.require_open()
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe()
        except TimeoutError:
            return f"{self.server_shown} does not answer"
        except Unavailable as error:
            return str(error)
        return None

    async def _probe(self) -> None:
        """Raise Unavailable when the adapter cannot serve now. It is cancelled after PROBE_SECONDS."""

    def impairment(self) -> str | None:
        """Return what does not work while the adapter can serve, or None: `/readyz` reports it and is still 200."""
        return None

    async def _open(self, closing: AsyncExitStack) -> None:
        """Open what the ports need. After each step, push its closing onto `closing` immediately."""


async def retry_at_start(attempt: Callable[[], Awaitable[T]], setting: str, seconds: float) -> T:
    """Return the result of an attempt to reach a server, which is repeated after Unavailable until the time has passed.

    `setting` is the setting with the server's URL, for the message of NotOpened. An attempt that raises NotOpened
    itself, or Closed is the last one.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await attempt()
        except (NotOpened, Closed):
            raise
        except Unavailable as error:
            if loop.time() >= deadline:
                raise NotOpened(f"{setting} cannot be used: {error}") from error
        await asyncio.sleep(_PAUSE_SECONDS)
