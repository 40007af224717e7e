"""Serialises responses as HTTP/1.1."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from shared.http.messages import HttpResponse

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    """Return a piece of a body as a chunk (RFC 9112 §7.1). It is not empty: an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def to_bytes(response: HttpResponse, date: str, *, is_last: bool, with_body: bool, chunked: bool = True) -> bytes:
    """Return a response as HTTP/1.1 bytes: the head alone when its body is a stream.

    `is_last`: the connection ends after it. `with_body`: False for the response to a HEAD request. `chunked`: False
    for a stream to a client of HTTP/1.0, whose end is the end of the connection. Raises ValueError
    for a header with characters outside latin-1, or with a line break, which a client would read as two headers.
    """
    body = response.body
    lines = [
        _STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} ",
        f"date: {date}",
        *[f"{name}: {value}" for name, value in response.headers.items()],
    ]
    if response.status == 204:
        body = b""
    elif response.stream is not None:
        if chunked:
            lines.append("transfer-encoding: chunked")
    else:
        lines.append(f"content-length: {len(body)}")
    if is_last:
        lines.append("connection: close")
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError(f"a header holds a line break: {response.headers}")
    encoded = f"{head}\r\n\r\n".encode("latin-1")
    return encoded + body if with_body else encoded
