"""The two ways to call a function in this process.

DirectInvoker calls the operation's core. FrameworkInvoker calls the framework's own application, as a container does.
Both have the same contract.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import unquote

from embedded.broker.delivery import Answer
from embedded.functions.scaling import Functions
from embedded.manifests.serving import Service
from shared.context.runtime import Runtime
from shared.core.envelope import Envelope
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.operation import HttpOperation
from shared.http.pipeline import serve
from shared.messaging.delivery import deliver
from shared.messaging.operation import EventOperation


class DirectInvoker:
    """Calls operations directly. Nothing is serialised, and an event is parsed once for all its consumers."""

    def __init__(self, functions: Functions, runtime: Runtime) -> None:
        self._functions = functions
        self._runtime = runtime

    async def invoke(self, service: str, envelope: Envelope, first: bool) -> Answer:
        """Deliver an event to a Service's function and return the answer, whose status tells the outcome.

        `first` promises that the function never had the event before, which saves the look into its inbox.
        """
        function = self._functions.enter(service)
        try:
            operation = function.operation
            assert isinstance(operation, EventOperation)
            return await deliver(operation, envelope, self._runtime, first=first)
        finally:
            self._functions.leave(function)

    async def serve(self, service: str, request: HttpRequest) -> HttpResponse:
        """Call a Service's function with a request and return its response; failures are problem responses."""
        function = self._functions.enter(service)
        try:
            operation = function.operation
            assert isinstance(operation, HttpOperation)
            response = await serve(operation, request, self._runtime)
        except BaseException:
            self._functions.leave(function)
            raise
        # A function is in use until its response has been read.
        response.on_end(lambda: self._functions.leave(function))
        return response


class FrameworkInvoker:
    """Calls each function through `functions_framework.aio`, loaded from FUNCTION_SOURCE as in its container.

    The rate gate of a request cannot be passed on this way, so the gateway applies its rate limits before the call.
    """

    def __init__(self, functions: Functions, services: dict[str, Service], root: Path) -> None:
        self._functions = functions
        self._services = services
        self._root = root
        self._apps: dict[str, Any] = {}
        functions.on_unload = self._unload

    async def invoke(self, service: str, envelope: Envelope, first: bool) -> Answer:  # noqa: ARG002 - see Invoke
        """Deliver an event in the HTTP binding's binary mode."""
        headers, body = envelope.to_binary()
        return await self._call(service, "POST", "/", "", list(headers.items()), body)

    async def serve(self, service: str, request: HttpRequest) -> HttpResponse:
        """Send a request through the framework's application of a Service's function, and return its response."""
        # A repeated header is passed on repeated, so that the function refuses it. The body is complete, so it is sent
        # with its length, as Kong does.
        headers = [*request.headers.items(), *((name, request.headers[name]) for name in request.repeated)]
        if "transfer-encoding" in request.headers:
            headers = [(name, value) for name, value in headers if name != "transfer-encoding"]
            headers.append(("content-length", str(len(request.body))))
        return await self._call(service, request.method, request.path, request.query, headers, request.body)

    async def _call(
        self, service: str, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
    ) -> HttpResponse:
        function = self._functions.enter(service)
        try:
            response = await call_app(self._app(service), method, path, query, headers, body)
        except BaseException:
            self._functions.leave(function)
            raise
        response.on_end(lambda: self._functions.leave(function))
        return response

    def _unload(self, service: Service) -> None:
        # The framework loads the file again, as a module named after its stem.
        if self._apps.pop(service.name, None) is not None:
            sys.modules.pop(PurePosixPath(service.source).stem, None)

    def _app(self, service: str) -> Any:
        app = self._apps.get(service)
        if app is None:
            from functions_framework.aio import create_asgi_app

            described = self._services[service]
            app = create_asgi_app(described.target, str(self._root / described.source), "http")  # type: ignore[no-untyped-call]
            self._apps[service] = app
        return app


async def call_app(
    app: Any, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> HttpResponse:
    """Send one request through an ASGI application in this process. The sender of the response sets its length.

    A body that the application sends in several pieces is the stream of the response. The application waits while a
    piece is not read.
    """
    scope = {
        "type": "http",
        # From 2.4 on, `send` raises when the client has disconnected; before, an application polls `receive` for it.
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 0),
        "state": {},
    }
    exchange = _Exchange(body)
    running = asyncio.ensure_future(exchange.run(app, scope))
    try:
        await asyncio.wait((running, exchange.streaming), return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        running.cancel()
        raise
    if exchange.streaming.done():
        exchange.response.stream = _AppStream(running, exchange)
    else:
        exchange.streaming.cancel()
        running.result()
    return exchange.response


class _Exchange:
    """One request to an ASGI application, and its response."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.response = HttpResponse(500, {}, b"")
        self.streaming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the first of several pieces was sent."""
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        """The pieces of a stream, and None when the application has ended."""
        self.is_closed = False
        """Whether the stream is closed: its pieces are not read any more."""

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            if self.streaming.done() and not self.is_closed:
                await self.pieces.put(None)

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: dict[str, Any]) -> None:
        response = self.response
        if message["type"] == "http.response.start":
            if self.streaming.done():
                # The framework answers an error with 500, which uvicorn too refuses after the first piece.
                raise RuntimeError("the application failed after the first piece of its response")
            response.status = message["status"]
            response.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            response.headers.pop("content-length", None)
        elif message["type"] == "http.response.body":
            piece = message.get("body", b"")
            if message.get("more_body", False) and not self.streaming.done():
                self.streaming.set_result(None)
            if self.streaming.done():
                await self.pieces.put(piece)
            else:
                response.body = piece


class _AppStream:
    """The body of a response that an application sends in pieces. Closing it cancels the application."""

    def __init__(self, running: asyncio.Task[None], exchange: _Exchange) -> None:
        self._running = running
        self._exchange = exchange

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._exchange.pieces.get()
        if piece is None:
            await self._running  # raises the error of an application that has failed
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        self._exchange.is_closed = True
        self._running.cancel()
        await asyncio.wait((self._running,))
