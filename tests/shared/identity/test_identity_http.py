"""Reading an issuer's documents over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.identity.keys import MAX_JWKS_BYTES, fetch_over_http

ANSWERS = {
    "/good": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "/gone": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "/moved": b"HTTP/1.1 302 Found\r\nLocation: /good\r\nContent-Length: 0\r\n\r\n",
    "/huge": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (MAX_JWKS_BYTES + 1),
    "/rubbish": b"rubbish\r\n\r\n",
}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWERS[request.split()[1].decode()])
    try:
        await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_document_is_read(base_url: str) -> None:
    """The body of a 200 is returned unchanged."""
    assert await fetch_over_http(f"{base_url}/good") == b"{}"


@pytest.mark.parametrize("path", ["/gone", "/moved", "/huge", "/rubbish"])
async def test_anything_else_is_an_os_error(base_url: str, path: str) -> None:
    """Another status, a redirect, a body over the bound, and an answer that is not HTTP raise OSError."""
    with pytest.raises(OSError, match=path):
        await fetch_over_http(base_url + path)


async def test_a_refused_connection_is_an_os_error() -> None:
    """A refused connection and an invalid URL raise OSError."""
    for url in ("http://127.0.0.1:1/x", "no url"):
        with pytest.raises(OSError, match="cannot be read"):
            await fetch_over_http(url)
