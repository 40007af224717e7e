"""A simulated provider as an HTTP program of its own (`lastro simulate`)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse, read_headers

if TYPE_CHECKING:
    import socket

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MAX_BODY_BYTES: Final = 256 * 1024
STOP_SECONDS: Final = 5


class ConnectionCut(Exception):
    """The fault `cut`: the request was processed, and its answer is lost."""


class Simulator(Protocol):
    """A simulated provider."""

    def start(self) -> None:
        """Continue with what the previous process left."""
        ...

    async def close(self) -> None:
        """Stop. What is left is in the journal."""
        ...

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request. Raises Problem for a method that is not allowed, and ConnectionCut."""
        ...


class Program:
    """The ASGI application of a simulator, which `make` makes when the server starts."""

    def __init__(self, make: Callable[[], Simulator]) -> None:
        self._make = make
        self._simulator: Simulator | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or process the lifespan events of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._simulator = self._make()
        self._simulator.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._simulator.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        assert self._simulator is not None, "the server starts the lifespan first"
        body = await _body(receive)
        headers, repeated = read_headers(scope["headers"])
        path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        if body is None:
            response = _problem(413, f"A body has at most {MAX_BODY_BYTES} bytes.")
        else:
            request = HttpRequest(scope["method"], path, query, headers, body, repeated)
            try:
                response = await self._simulator(request)
            except Problem as problem:
                response = _problem(problem.status, problem.detail)
            except ConnectionCut:
                # A response that ends before its stated length: the server closes the connection.
                await send(_start(HttpResponse(200, {"content-length": "1"}, b"")))
                return
        response.headers["content-length"] = str(len(response.body))
        await send(_start(response))
        await send({"type": "http.response.body", "body": response.body})


def serve(make: Callable[[], Simulator], listening: socket.socket) -> None:
    """Serve a simulator on a listening socket until SIGINT or SIGTERM; then return."""
    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn's own handling raises the signal again after the server has stopped."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

    config = uvicorn.Config(
        Program(make),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    Server(config).run(sockets=[listening])


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request, or None when it is too large."""
    body = b""
    while True:
        message = await receive()
        piece: bytes = message.get("body", b"")
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body


def _start(response: HttpResponse) -> Message:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    return {"type": "http.response.start", "status": response.status, "headers": headers}


def _problem(status: int, detail: str) -> HttpResponse:
    value = {"type": "about:blank", "status": status, "detail": detail}
    return HttpResponse(status, {"content-type": "application/problem+json"}, orjson.dumps(value))
