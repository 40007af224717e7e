"""One client connection: reads requests and sends one response after the other, in the order of the requests."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Final, Protocol, cast

from embedded.server.connections import NEVER, Connections
from embedded.server.reading import RequestReader
from embedded.server.writing import CONTINUE, LAST_CHUNK, chunk, to_bytes
from shared.core.problems import Problem
from shared.core.settings import Settings
from shared.http.messages import HttpRequest, HttpResponse, Stream

log = logging.getLogger(__name__)
LINGER_SECONDS: Final = 2
"""The time for which data is read and dropped after the last response (RFC 9112 §9.6). Closing a socket with unread
data resets the connection, and the client can lose the response."""
_CANCELLED: Final = (
    "The server stopped before the request was answered, so it is not known whether it was carried out. Send it again "
    "with the same Idempotency-Key: it is carried out once."
)


class Application(Protocol):
    """The application that answers requests: the gateway."""

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a complete request. Never raises."""
        ...

    def refuse(self, request: HttpRequest, problem: Problem) -> HttpResponse:
        """Return the response to a refused request. `request` holds what is known of it."""
        ...


class Connection(asyncio.Protocol):
    """A client connection.

    One request is in progress at a time. Reading pauses while complete requests wait for their turn and while the
    client does not read its responses, so the memory that one client can use is bounded. While the connection waits
    for the client, a deadline is set.
    """

    __slots__ = (
        "__weakref__",
        "_application",
        "_client_ended",
        "_closing",
        "_connections",
        "_reader",
        "_reading_paused",
        "_rest",
        "_settings",
        "_stage",
        "_task",
        "_transport",
        "_writing_paused",
        "_written",
        "deadline",
    )

    def __init__(self, application: Application, connections: Connections, settings: Settings) -> None:
        self._application = application
        self._connections = connections
        self._settings = settings
        self._reader = RequestReader(settings)
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        # Data that was received and is not parsed yet.
        self._rest = b""
        # The stage of the reader for which the deadline was set.
        self._stage = "between"
        self._reading_paused = False
        self._writing_paused = False
        # Done when the client has read enough for the next piece of a stream, or has disconnected.
        self._written: asyncio.Future[None] | None = None
        self._client_ended = False
        self._closing = False
        self.deadline = NEVER

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request. Its head must be complete within `head_seconds`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from it
        self.deadline = self._connections.now + self._settings.head_seconds
        self._connections.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """Drop a request that has not arrived completely. A request in progress runs on; its response is dropped."""
        self._closing = True
        self._reader.close()
        self._connections.leave(self)
        self._go_on_writing()

    def data_received(self, data: bytes) -> None:
        """Parse the data, or buffer it and stop reading while a request is in progress or the client does not read."""
        if self._closing:
            return
        self._rest = self._rest + data if self._rest else data
        if self._task is None and not self._writing_paused:
            self._go_on()
        else:
            self._pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more data. It can still read, so its requests are answered."""
        self._client_ended = True
        if self._closing:
            return False
        if self._task is None:
            self._go_on()
        return True

    def pause_writing(self) -> None:
        """Note that the client does not read its responses: no further request is begun."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Go on with the next request, now that the client reads again."""
        self._writing_paused = False
        self._go_on_writing()
        if self._task is None and not self._closing:
            self._go_on()

    # Called by the server

    def expire(self) -> None:
        """Handle the deadline: the client was too slow."""
        stage, settings = self._reader.stage, self._settings
        if self._closing or self._writing_paused:
            self.abort()
        elif stage == "between":
            self._end()
        else:
            seconds = settings.head_seconds if stage == "head" else settings.body_seconds
            detail = f"The {stage} of the request was not complete after {seconds} seconds."
            self._reader.refuse(Problem("malformed_request", detail))
            self._go_on()

    def abort(self) -> None:
        """Close immediately. Data that was not sent is lost."""
        self._closing = True
        self._transport.abort()

    def stop(self) -> None:
        """Answer the requests that have arrived, and a request whose body is arriving; then close."""
        self._rest = b""
        self._reader.finish_current()
        if self._task is None and self._reader.ended and not self._closing:
            self._closing = True
            self._transport.close()

    def cancel(self) -> None:
        """Cancel the request in progress, if there is one. The client receives a 503 response, and the connection
        ends."""
        if self._task is not None:
            self._task.cancel()

    # The steps between two requests

    def _go_on(self) -> None:
        """Take the next step: answer, refuse, parse, or wait for the client."""
        reader = self._reader
        while not self._writing_paused:
            if reader.requests:
                self._begin(reader.requests.popleft())
                return
            if reader.ended:
                self._end()
                return
            if self._rest:
                self._rest = reader.feed(self._rest)
            elif self._client_ended:
                reader.finish()
            else:
                break
        self._wait()

    def _begin(self, request: HttpRequest) -> None:
        self._connections.begin(self)
        self._task = asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: HttpRequest) -> None:
        with_body = request.method != "HEAD"  # the application turns a HEAD into a GET
        streaming = False
        try:
            response = await self._application.answer(request)
            if response.stream is not None:
                streaming = True
                await self._send_stream(request, response, response.stream, with_body=with_body)
        except asyncio.CancelledError:
            if self._closing:
                raise
            if streaming:
                self.abort()  # without its end, the client knows that the body is not complete
                return
            # The server is stopping, so later requests of the connection are not processed.
            self._reader.abandon()
            response = self._application.refuse(request, Problem("dependency_unavailable", _CANCELLED))
        finally:
            self._task = None
            self._connections.end(self)
        if self._closing:
            return
        if not streaming:
            self._send(request, response, is_last=self._is_last(), with_body=with_body)
        self._stage = "answered"
        self._go_on()

    def _is_last(self) -> bool:
        """Whether the connection ends after the response that is sent now."""
        reader = self._reader
        return reader.ended and not reader.requests and reader.refusal is None

    async def _send_stream(
        self, request: HttpRequest, response: HttpResponse, stream: Stream, *, with_body: bool
    ) -> None:
        """Send a head and the pieces of a body, not faster than the client reads them.

        A stream that raises, which its maker logs, is cut: the connection ends without the end of the body.
        """
        async with aclosing(stream):
            if self._closing:
                return
            chunked = request.version == "1.1"
            if not self._send(request, response, is_last=self._is_last(), with_body=with_body) or not with_body:
                return
            try:
                async for piece in stream:
                    if piece:
                        self._transport.write(chunk(piece) if chunked else piece)
                        await self._client_reads()
                    if self._transport.is_closing():
                        return
            except Exception:  # noqa: BLE001 - whatever the reason is, the body has no end
                self.abort()
                return
            if chunked:
                self._transport.write(LAST_CHUNK)

    async def _client_reads(self) -> None:
        """Return when the client has read enough for the next piece. It has `idle_seconds` for that."""
        if self._writing_paused and not self._closing:
            self.deadline = self._connections.now + self._settings.idle_seconds
            self._written = asyncio.get_running_loop().create_future()
            await self._written
            self.deadline = NEVER

    def _go_on_writing(self) -> None:
        written, self._written = self._written, None
        if written is not None and not written.done():
            written.set_result(None)

    def _send(self, request: HttpRequest, response: HttpResponse, *, is_last: bool, with_body: bool) -> bool:
        """Send a response. Returns False when it cannot be sent and the client receives `internal_error` instead."""
        date, chunked = self._connections.date, request.version == "1.1"
        try:
            message = to_bytes(response, date, is_last=is_last, with_body=with_body, chunked=chunked)
        except ValueError:
            log.exception("a response cannot be sent")
            failed = self._application.refuse(request, Problem("internal_error", "The response could not be sent."))
            self._transport.write(to_bytes(failed, date, is_last=is_last, with_body=with_body))
            return False
        self._transport.write(message)
        return True

    def _wait(self) -> None:
        """Wait for the client. Head and body have one deadline each, in however many pieces they arrive."""
        reader = self._reader
        if reader.stage != self._stage:
            settings = self._settings
            seconds = {"between": settings.idle_seconds, "head": settings.head_seconds, "body": settings.body_seconds}
            self._stage = reader.stage
            self.deadline = self._connections.now + seconds[self._stage]
        if self._writing_paused:
            return
        if reader.awaits_continue:
            reader.awaits_continue = False
            self._transport.write(CONTINUE)
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def _end(self) -> None:
        """Send the refusal if there is one, and give the client time to read it and to close."""
        refusal, refused = self._reader.refusal, self._reader.refused
        if refusal is not None:
            response = self._application.refuse(refused, refusal)
            self._send(refused, response, is_last=True, with_body=refused.method != "HEAD")
        self._closing = True
        self._rest = b""
        unread = self._transport.get_write_buffer_size() > 0
        self.deadline = self._connections.now + (self._settings.idle_seconds if unread else LINGER_SECONDS)
        if self._client_ended:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
            if self._reading_paused:
                self._reading_paused = False
                self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
