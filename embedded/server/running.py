"""Runs the platform as a process: it serves until a signal arrives, finishes the requests in progress, and exits with
0."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from embedded.platform.platform import Options, Platform, settle_memory
from embedded.server.listening import connection_limit
from embedded.server.serving import Server
from shared.core.settings import Settings

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

log = logging.getLogger(__name__)
ANSWER_SECONDS: Final = 4.0
"""The longest time that requests in progress can take after the signal, in seconds."""
_AT_LEAST_ONE: Final = (
    "max_connections",
    "max_target_bytes",
    "max_headers",
    "max_head_bytes",
    "max_body_bytes",
    "head_seconds",
    "body_seconds",
    "idle_seconds",
)


def run(settings: Settings, options: Options, listening: socket.socket, ready: Callable[[Platform], Any]) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called once, when the platform answers requests.

    Raises what Platform.start raises, and ValueError for a bound of the server that is less than 1 or if this process
    cannot have a single connection.
    """
    for name in _AT_LEAST_ONE:
        value = getattr(settings, name)
        if value < 1:
            raise ValueError(f"LASTRO_{name.upper()}={value} must be at least 1")
    limit = connection_limit(settings.max_connections)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, options, listening, limit, ready))


def _loop_factory() -> Callable[[], AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # uvloop has no wheel for this platform; asyncio's own loop is used
        return None
    factory: Callable[[], AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(
    settings: Settings,
    options: Options,
    listening: socket.socket,
    limit: int,
    ready: Callable[[Platform], Any],
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    starting = asyncio.ensure_future(Platform.start(settings, options))
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        # The process ends even when the start waits for something, such as a blocked writer or a directory in use.
        starting.cancel()
    try:
        platform = await starting
    except asyncio.CancelledError:
        log.warning("stopped before the platform had started")
        listening.close()
        return
    try:
        settle_memory()
        if not stopping.is_set():
            server = Server(platform.gateway, settings, listening, limit)
            await _answer_requests(server, stopped, lambda: ready(platform))
    finally:
        stopped.cancel()
        listening.close()
        await platform.stop()


async def _answer_requests(server: Server, stopped: asyncio.Future[Any], ready: Callable[[], Any]) -> None:
    accepting = server.start()
    ready()
    await asyncio.wait((accepting, stopped), return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping: requests in progress are answered first")
    await server.stop(ANSWER_SECONDS)
    if not accepting.cancelled():
        accepting.result()
