"""Byte streams that two HTTP servers might read differently, and how this server must read them.

The forms are those of request-smuggling suites. Most are followed by a complete request for /smuggled: a server that
determines the end of the first request wrongly reads that request as something else, or as a further request.
"""

from __future__ import annotations

from typing import NamedTuple

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


class Stream(NamedTuple):
    """The bytes that are sent, the paths of the requests in them, and the code of the refusal that ends the stream, if
    any."""

    sent: bytes
    paths: tuple[str, ...] = ()
    refusal: str | None = "malformed_request"


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((b"POST /first HTTP/1.1", b"Host: a", *lines, b"", b"")) + body


def _chunked(chunks: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", body=chunks)


_REFUSED_HEADS: dict[str, bytes] = {
    # Two headers for one length (CL.TE, TE.CL, CL.CL)
    "length, then chunked": _post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked, then length": _post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": _post(b"Content-Length: 0", b"Content-Length: 35"),
    "the same length twice": _post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "two lengths in one": _post(b"Content-Length: 3, 3", body=b"abc"),
    "two lengths in one, differing": _post(b"Content-Length: 0, 35"),
    # Invalid lengths
    "a length with a sign": _post(b"Content-Length: +3", body=b"abc"),
    "a negative length": _post(b"Content-Length: -1"),
    "a hexadecimal length": _post(b"Content-Length: 0x3", body=b"abc"),
    "a length with a point": _post(b"Content-Length: 3.0", body=b"abc"),
    "a length with an underscore": _post(b"Content-Length: 1_0", body=b"0123456789"),
    "a length with a blank inside": _post(b"Content-Length: 1 0", body=b"0123456789"),
    "a length behind a vertical tab": _post(b"Content-Length: \x0b3", body=b"abc"),
    "an empty length": _post(b"Content-Length:"),
    "a length beyond 64 bits": _post(b"Content-Length: 18446744073709551619", body=b"abc"),
    "a length of many zeros": _post(b"Content-Length: " + b"0" * 5000 + b"3", body=b"abc"),
    # Codings other than `chunked`
    "an unknown coding": _post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked, then identity": _post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "identity, then chunked": _post(b"Transfer-Encoding: identity, chunked", body=b"0\r\n\r\n"),
    "gzip, then chunked": _post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked twice": _post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "chunked twice in two lines": _post(*[b"Transfer-Encoding: chunked"] * 2, body=b"0\r\n\r\n"),
    "identity and chunked in two lines": _post(
        b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunked and identity in two lines": _post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n"
    ),
    "chunked behind a comma": _post(b"Transfer-Encoding: ,chunked", body=b"0\r\n\r\n"),
    "chunked with a parameter": _post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"),
    "chunked in quotes": _post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "chunked in two words": _post(b"Transfer-Encoding: chun ked", body=b"0\r\n\r\n"),
    "chunked behind a vertical tab": _post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "chunked behind a form feed": _post(b"Transfer-Encoding: \x0cchunked", body=b"0\r\n\r\n"),
    "an empty coding": _post(b"Transfer-Encoding:"),
    "identity": _post(b"Transfer-Encoding: identity"),
    "chunked in HTTP/1.0": b"POST /first HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    # Names that resemble known names
    "a blank before the colon": _post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "a tab before the colon": _post(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"),
    "a blank before the name": _post(b" Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "no colon": _post(b"Transfer-Encoding"),
    "no name": _post(b": chunked"),
    "a quote in a name": _post(b'"X": a'),
    "a NUL in a name": _post(b"Transfer-Encoding\x00: chunked", body=b"0\r\n\r\n"),
    "a letter beyond ASCII in a name": _post(b"Transfer-Encod\xefng: chunked", body=b"0\r\n\r\n"),
    "a NUL in a value": _post(b"X: a\x00b"),
    "a bell in a value": _post(b"X: a\x07b"),
    # Line ends
    "a line folded": _post(b"X: a", b" Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a line folded by a tab": _post(b"Transfer-Encoding:", b"\tchunked", body=b"0\r\n\r\n"),
    "a bare LF behind a field": _post(b"X: a\nTransfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a bare CR behind a field": _post(b"X: a\rTransfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a bare LF as the empty line": _post(b"X: a")[:-2] + b"\n",
    "bare LFs all through": b"POST /first HTTP/1.1\nHost: a\n\n",
    "bare CRs all through": b"POST /first HTTP/1.1\rHost: a\r\r",
    "CR CR LF": _post(b"X: a\r"),
    # Hosts
    "no Host": b"GET /first HTTP/1.1\r\n\r\n",
    "two Hosts": _post(b"Host: b"),
    "the same Host twice": _post(b"Host: a"),
    "a Host with a path": b"GET /first HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"GET /first HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "two Hosts in one": b"GET /first HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET /first HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    # Request lines
    "no HTTP at all": b"nonsense\r\n\r\n",
    "HTTP/0.9": b"GET /first\r\n\r\n",
    "HTTP/0.9 by name": b"GET /first HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET /first HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2": b"GET /first HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/01.1": b"GET /first HTTP/01.1\r\nHost: a\r\n\r\n",
    "http/1.1": b"GET /first http/1.1\r\nHost: a\r\n\r\n",
    "a version of letters": b"GET /first HTTP/x.y\r\nHost: a\r\n\r\n",
    "a blank behind the version": b"GET /first HTTP/1.1 \r\nHost: a\r\n\r\n",
    "a method in lower case": b"get /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": b"FIRST /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method and a tab": b"GET\t/first HTTP/1.1\r\nHost: a\r\n\r\n",
    "no method": b" /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a NUL": b"GET /first\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target beyond ASCII": b"GET /f\xefrst HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a blank": b"GET /first /second HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a fragment": b"GET /first#second HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target without a slash": b"GET first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is only a query": b"GET ?first HTTP/1.1\r\nHost: a\r\n\r\n",
    "an asterisk for a GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n",
    "an absolute target with a user": b"GET http://u@b/first HTTP/1.1\r\nHost: b\r\n\r\n",
    "an absolute target with a fragment": b"GET http://b/first#second HTTP/1.1\r\nHost: b\r\n\r\n",
    "an absolute target of another scheme": b"GET ftp://b/first HTTP/1.1\r\nHost: b\r\n\r\n",
}

_REFUSED_CHUNKS: dict[str, bytes] = {
    "a signed size": b"+3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "a size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a blank before a size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a blank behind a size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a size with an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a size of letters": b"xyz\r\nabc\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a bare LF behind a size": b"3\nabc\r\n0\r\n\r\n",
    "a bare CR behind a size": b"3\rabc\r\n0\r\n\r\n",
    "CR CR LF behind a size": b"3\r\r\nabc\r\n0\r\n\r\n",
    "a bare LF behind a chunk": b"3\r\nabc\n0\r\n\r\n",
    "nothing behind a chunk": b"3\r\nabc0\r\n\r\n",
    "a chunk that is longer": b"3\r\nabcd\r\n0\r\n\r\n",
    "a chunk that is shorter": b"4\r\nabc\r\n0\r\n\r\n",
    "an extension without a name": b"3;\r\nabc\r\n0\r\n\r\n",
    "a bare LF in an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "a bare CR in an extension": b"3;a=b\rc\r\nabc\r\n0\r\n\r\n",
    "a NUL in an extension": b"3;a=\x00\r\nabc\r\n0\r\n\r\n",
    "a quote that is not closed": b'3;a="b\r\nabc\r\n0\r\n\r\n',
    "a bare LF as the end": b"0\r\n\n",
    "a bare LF in a trailer": b"0\r\nX: a\n\r\n",
    "a trailer that is not a field": b"0\r\nno field\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "a length as a trailer": b"0\r\nContent-Length: 35\r\n\r\n",
    "a coding as a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
}

_READ: dict[str, Stream] = {
    "two requests": Stream(_post() + SMUGGLED, ("/first", "/smuggled"), None),
    "empty lines before a request": Stream(b"\r\n\r\n" + _post() + SMUGGLED, ("/first", "/smuggled"), None),
    "a length with zeros and blanks": Stream(
        _post(b"Content-Length:  03 ", body=b"abc") + SMUGGLED, ("/first", "/smuggled"), None
    ),
    "chunked in capitals": Stream(
        _post(b"transfer-encoding: CHUNKED", body=b"3\r\nabc\r\n0\r\n\r\n") + SMUGGLED, ("/first", "/smuggled"), None
    ),
    "zeros before a size": Stream(_chunked(b"0003\r\nabc\r\n000\r\n\r\n") + SMUGGLED, ("/first", "/smuggled"), None),
    "extensions": Stream(_chunked(b'3;a;b=c;d="e;f"\r\nabc\r\n0;g\r\n\r\n') + SMUGGLED, ("/first", "/smuggled"), None),
    "trailers": Stream(
        _chunked(b"3\r\nabc\r\n0\r\nAuthorization: Bearer a\r\nHost: b\r\nX: y\r\n\r\n") + SMUGGLED,
        ("/first", "/smuggled"),
        None,
    ),
    "names with an underscore": Stream(
        _post(b"Transfer_Encoding: chunked", b"Content_Length: 35") + SMUGGLED, ("/first", "/smuggled"), None
    ),
    "an absolute target": Stream(
        b"GET http://b:80/first?x HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED, ("/first", "/smuggled"), None
    ),
    "an absolute target without a path": Stream(
        b"GET http://b HTTP/1.1\r\nHost: b\r\n\r\n" + SMUGGLED, ("/", "/smuggled"), None
    ),
    "an asterisk for OPTIONS": Stream(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED, ("*", "/smuggled"), None),
    "a body behind a GET": Stream(
        b"GET /first HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n" + SMUGGLED * 2, ("/first", "/smuggled"), None
    ),
    "an expectation with its body": Stream(
        _post(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc") + SMUGGLED, ("/first", "/smuggled"), None
    ),
    # Requests that end the connection: the request after them is not read.
    "Connection: close": Stream(_post(b"Connection: close") + SMUGGLED, ("/first",), None),
    "close beside keep-alive": Stream(_post(b"Connection: keep-alive, close") + SMUGGLED, ("/first",), None),
    "close as a trailer": Stream(_chunked(b"0\r\nConnection: close\r\n\r\n") + SMUGGLED, ("/first",), None),
    "HTTP/1.0": Stream(b"GET /first HTTP/1.0\r\n\r\n" + SMUGGLED, ("/first",), None),
    "HTTP/1.0 that would stay": Stream(
        b"GET /first HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + SMUGGLED, ("/first",), None
    ),
    "an upgrade": Stream(_post(b"Connection: upgrade", b"Upgrade: websocket") + SMUGGLED, ("/first",), None),
    "an upgrade with a body": Stream(
        _post(b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc") + SMUGGLED, ("/first",), None
    ),
    # Sizes
    "a length beyond the bound": Stream(_post(b"Content-Length: 262145"), (), "payload_too_large"),
    "a chunk beyond the bound": Stream(_chunked(b"40001\r\n" + b"a" * 0x40001), (), "payload_too_large"),
    "chunks beyond the bound": Stream(_chunked((b"8000\r\n" + b"a" * 0x8000 + b"\r\n") * 9), (), "payload_too_large"),
    "a target without end": Stream(b"GET /" + b"a" * 100_000, (), "uri_too_long"),
    "a query without end": Stream(b"GET /?" + b"a=b&" * 20_000, (), "uri_too_long"),
    "headers without end": Stream(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20_000, (), "head_too_large"),
    "a header without end": Stream(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000, (), "head_too_large"),
    "a name without end": Stream(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X" * 100_000, (), "head_too_large"),
    "blanks without end": Stream(b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b" " * 100_000, (), "head_too_large"),
    "too many headers": Stream(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n", (), "head_too_large"),
    "extensions without end": Stream(_chunked(b"3;" + b"a" * 100_000), (), "payload_too_large"),
    "an extension on every chunk": Stream(
        _chunked((b"1;" + b"a" * 1000 + b"\r\na\r\n") * 100), (), "payload_too_large"
    ),
    "chunks of one byte": Stream(_chunked(b"1\r\na\r\n" * 40_000), (), "payload_too_large"),
    "a size of zeros without end": Stream(_chunked(b"0" * 100_000), (), "payload_too_large"),
    "trailers without end": Stream(_chunked(b"0\r\n" + b"X: y\r\n" * 20_000), (), "payload_too_large"),
    "a trailer without end": Stream(_chunked(b"0\r\nX: " + b"y" * 100_000), (), "payload_too_large"),
}

STREAMS: dict[str, Stream] = {
    **{name: Stream(head + SMUGGLED) for name, head in _REFUSED_HEADS.items()},
    **{f"chunks: {name}": Stream(_chunked(chunks) + SMUGGLED) for name, chunks in _REFUSED_CHUNKS.items()},
    **_READ,
}
