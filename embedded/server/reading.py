"""Parses bytes into requests. It uses neither sockets nor clocks.

llhttp (through httptools) parses HTTP and refuses most requests that two servers could read differently. This module
refuses others that llhttp accepts: a request has exactly one Host, at most one header for the length of its body, a
target that is a path, and sizes within the settings. Only the head has headers: fields after a chunked body (trailers,
RFC 9110 §6.5) are parsed, counted and dropped.

A refused request is the last of its connection: its end is not certain, so nothing after it is parsed.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final, Literal

import httptools

from shared.core.problems import Problem
from shared.core.settings import Settings
from shared.http.messages import FRAMING_HEADERS, HttpRequest, read_headers

SLICE_BYTES: Final = 8192
"""The size of the pieces that are parsed. At most this much is parsed beyond a bound or beyond the end of a request."""

_LENGTH: Final = re.compile(r"[0-9]{1,19}")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_ABSOLUTE: Final = re.compile(r"https?://([^/?]+)(.*)", re.IGNORECASE | re.DOTALL)

_NO_HTTP: Final = "The request does not have the format of HTTP/1.1 (RFC 9112)."
# A word of llhttp's reason, and what the client is told. The first match counts.
_REASONS: Final = (
    ("pri", "HTTP/2 is not supported. Send HTTP/1.1."),
    ("chunk", "The body is not divided into chunks in the format of RFC 9112 §7.1."),
    ("content-length", "A request has one Content-Length, a decimal number, and no Transfer-Encoding beside it."),
    ("transfer-encoding", "The only supported Transfer-Encoding is `chunked`."),
    ("header", "A line of the head is not a header: a name, a colon and a value without control characters."),
    ("space after start line", "A line of the head begins with a space. Send each header on one line."),
    ("http", "The first line of a request is the method, the target without spaces, and `HTTP/1.1`."),
    ("lf", "Each line of the head ends with CR and LF."),
)


class RequestReader:
    """Parses the requests of one connection.

    `requests` holds the complete ones; the caller takes them from the left. Once `ended` is true, no more will follow.
    If the last one was refused, `refusal` is the reason and `refused` holds what is known of the request.
    """

    __slots__ = (
        "_counted",
        "_fields",
        "_host",
        "_is_last",
        "_parser",
        "_parts",
        "_request",
        "_settings",
        "_size",
        "_slice",
        "_target",
        "awaits_continue",
        "ended",
        "refusal",
        "requests",
        "stage",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parser = httptools.HttpRequestParser(self)
        self.requests: deque[HttpRequest] = deque()
        self.stage: Literal["between", "head", "body"] = "between"
        """The part that is being received: none, the head of a request, or its body."""
        self.awaits_continue = False
        """Whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1)."""
        self.ended = False
        self.refusal: Problem | None = None
        self._is_last = False
        self._request: HttpRequest | None = None
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._host = ""
        self._slice = 0
        # Bytes of the head, or of the framing around the content of the body. The parser does not report where in a
        # slice either begins, so the slice in which it begins is not counted. Nothing within a bound is refused.
        self._counted = 0

    @property
    def refused(self) -> HttpRequest:
        """The refused request. Method and path are empty if the head was not complete."""
        return self._request or HttpRequest("", "", "", {}, b"")

    def feed(self, data: bytes) -> bytes:
        """Parse until a request is complete or refused. Return the data that was not parsed."""
        if len(data) <= SLICE_BYTES:
            self._feed(data)
            return b""
        view = memoryview(data)
        for start in range(0, len(data), SLICE_BYTES):
            self._feed(view[start : start + SLICE_BYTES])
            if self.requests or self.ended:
                return data[start + SLICE_BYTES :]
        return b""

    def finish_current(self) -> None:
        """Make a request whose body is arriving the last one. Drop a head that is not complete."""
        self._is_last = True
        if self.stage != "body":
            self.stage = "between"
            self.ended = True

    def abandon(self) -> None:
        """Drop the requests that wait for their turn and the one that is being received."""
        self.requests.clear()
        self.refusal = None
        self.stage = "between"
        self.ended = True

    def finish(self) -> None:
        """Handle the end of the data. A request that is not complete is refused."""
        if self.stage == "between":
            self.ended = True
        else:
            self.refuse(_malformed("The connection ended before the request was complete."))

    def refuse(self, problem: Problem) -> None:
        """Refuse the request that is being received."""
        self.stage = "between"
        self.ended = True
        self.refusal = problem

    def close(self) -> None:
        """Release the parser, which holds a reference to this reader."""
        self.ended = True
        del self._parser

    def _feed(self, data: bytes | memoryview) -> None:
        self._slice = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # answered as HTTP/1.1; later data may be of the other protocol
        except httptools.HttpParserError as error:
            if not self.ended:
                self.refuse(_problem_of(error))
            return
        if self.stage == "between":
            return
        self._counted += len(data)
        limit = self._settings.max_head_bytes
        if self._counted > limit:
            if self.stage == "head":
                self.refuse(_head_too_large(limit))
            else:
                detail = f"Chunk sizes, chunk extensions and trailers have together at most {limit} bytes."
                self.refuse(Problem("payload_too_large", detail))

    # Called by the parser. It raises its own error for a Problem raised here, with the Problem as context.

    def on_message_begin(self) -> None:
        """Begin a request. Raises Problem `malformed_request` after the last request of the connection."""
        if self.ended:
            raise _malformed("The request follows the last request of the connection.")
        self.stage = "head"
        self._request = None
        self._target = b""
        self._fields = []
        self._counted = -self._slice

    def on_url(self, part: bytes) -> None:
        """Add a part of the request target. Raises Problem `uri_too_long`."""
        self._target += part
        limit = self._settings.max_target_bytes
        if len(self._target) > limit:
            raise Problem("uri_too_long", f"Path and query have together at most {limit} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header field. Trailers are read and dropped."""
        if self.stage == "head":
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the head and begin the body. Raises a Problem for a head that is too large, malformed or ambiguous."""
        self.stage = "body"
        settings, parser = self._settings, self._parser
        if self._counted > settings.max_head_bytes - 2 * SLICE_BYTES or len(self._fields) > settings.max_headers:
            self._check_size()
        headers, repeated = read_headers(self._fields)
        target = self._target.decode("latin-1")
        path, _, query = target.partition("?")
        request = HttpRequest(parser.get_method().decode("latin-1"), path, query, headers, b"", repeated)
        self._request = request
        version = parser.get_http_version()
        if version != "1.1":
            request.version = version
        self._is_last = self._is_last or version != "1.1" or parser.should_upgrade()
        if repeated and not repeated.isdisjoint(FRAMING_HEADERS):
            raise _malformed(f"Sent twice: {', '.join(sorted(repeated & FRAMING_HEADERS))}.")
        host = headers.get("host")
        if version != "1.1" or host != self._host:
            self._check_host(version, host)
        if target[:1] != "/" or "#" in target:
            request.path, request.query = _path_and_query(request.method, target)
        if "content-length" in headers:
            self._check_length(headers["content-length"])
        if "transfer-encoding" in headers:
            _check_coding(version, headers)
        self.awaits_continue = headers.get("expect", "").lower() == "100-continue" and version == "1.1"
        self._parts = []
        self._size = 0
        self._counted = -self._slice

    def on_body(self, part: bytes) -> None:
        """Add a part of the body. Raises Problem `payload_too_large`."""
        self.awaits_continue = False
        self._parts.append(part)
        self._size += len(part)
        self._counted -= len(part)
        if self._size > self._settings.max_body_bytes:
            raise _body_too_large(self._settings.max_body_bytes)

    def on_message_complete(self) -> None:
        """Add the request to `requests`."""
        assert self._request is not None
        request, self._request = self._request, None
        parts = self._parts
        if parts:
            request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.requests.append(request)
        self.awaits_continue = False
        self.stage = "between"
        if self._is_last or not self._parser.should_keep_alive():
            self.ended = True

    def _check_size(self) -> None:
        if len(self._fields) > self._settings.max_headers:
            raise Problem("head_too_large", f"A request has at most {self._settings.max_headers} header fields.")
        # A header line is name, colon, space, value, CR and LF.
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)
        if size > self._settings.max_head_bytes:
            raise _head_too_large(self._settings.max_head_bytes)

    def _check_host(self, version: str, host: str | None) -> None:
        """Check version and Host (RFC 9112 §3.2). The host that was checked last on this connection is cached."""
        if version not in ("1.0", "1.1"):
            raise _malformed(f"HTTP/{version} is not supported. Send HTTP/1.1.")
        if host is None:
            if version == "1.0":
                return
            raise _malformed("An HTTP/1.1 request needs a Host header.")
        if _HOST.fullmatch(host) is None:
            raise _malformed("The Host header is not a host with an optional port.")
        self._host = host

    def _check_length(self, length: str) -> None:
        if _LENGTH.fullmatch(length) is None:
            raise _malformed("Content-Length must be a decimal number of at most 19 digits.")
        if int(length) > self._settings.max_body_bytes:
            raise _body_too_large(self._settings.max_body_bytes)


def _check_coding(version: str, headers: dict[str, str]) -> None:
    """Allow only `chunked`, without Content-Length and in HTTP/1.1 (RFC 9112 §6.1)."""
    if headers["transfer-encoding"].lower() != "chunked":
        raise _malformed("The only supported Transfer-Encoding is `chunked`.")
    if version != "1.1" or "content-length" in headers:
        raise _malformed("Transfer-Encoding needs HTTP/1.1 and excludes Content-Length.")


def _path_and_query(method: str, target: str) -> tuple[str, str]:
    """Return path and query of a target that does not begin with a path (RFC 9112 §3.2)."""
    if target == "*" and method == "OPTIONS":
        return target, ""
    found = _ABSOLUTE.fullmatch(target)
    if found is not None and "#" not in target and _HOST.fullmatch(found[1]) is not None:
        path, _, query = found[2].partition("?")
        return path or "/", query
    raise _malformed("The request target must be a path with an optional query, or an http URL without a fragment.")


def _problem_of(error: httptools.HttpParserError) -> Problem:
    cause = error.__context__
    if isinstance(cause, Problem):
        return cause
    if isinstance(error, httptools.HttpParserCallbackError):
        raise error  # a defect of this module
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return _malformed(
            "The request does not begin with a method such as GET or POST. A client that begins with TLS must use "
            "http:// here."
        )
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return _malformed("The request target has a character that must be percent-encoded.")
    words = str(error).lower()
    return _malformed(next((reason for part, reason in _REASONS if part in words), _NO_HTTP))


def _malformed(detail: str) -> Problem:
    return Problem("malformed_request", detail)


def _head_too_large(limit: int) -> Problem:
    return Problem("head_too_large", f"The head of a request has at most {limit} bytes.")


def _body_too_large(limit: int) -> Problem:
    return Problem("payload_too_large", f"A body has at most {limit} bytes.")
