"""Parsing bytes into requests: what is accepted, what is refused, and independence of how the bytes are divided."""

from __future__ import annotations

import random

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embedded.server.reading import SLICE_BYTES, RequestReader
from shared.core.settings import Settings
from shared.http.messages import HttpRequest
from tests.embedded.server.hostile import SMUGGLED, STREAMS, Stream

SETTINGS = Settings()


def read(*pieces: bytes, reader: RequestReader | None = None) -> tuple[list[HttpRequest], str | None]:
    """Return the requests in these pieces, and the code of the refusal after them."""
    reader = reader or RequestReader(SETTINGS)
    found: list[HttpRequest] = []
    for piece in pieces:
        rest = piece
        while rest and not reader.ended:
            rest = reader.feed(rest)
            found += reader.requests
            reader.requests.clear()
    return found, reader.refusal.code if reader.refusal is not None else None


def in_pieces(sent: bytes, size: int) -> list[bytes]:
    return [sent[start : start + size] for start in range(0, len(sent), size)]


@pytest.mark.parametrize("size", [1, 7, SLICE_BYTES, 1_000_000])
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_a_hostile_stream_is_read_in_one_way(stream: Stream, size: int) -> None:
    """However the bytes are divided, the same requests are found, and ambiguous ones are refused."""
    if size < 10 and len(stream.sent) > 50_000:
        size *= 500
    requests, refusal = read(*in_pieces(stream.sent, size))
    assert ([request.path for request in requests], refusal) == ([*stream.paths], stream.refusal)


def test_trailers_are_no_headers() -> None:
    """Fields after a chunked body are dropped, whether they arrive with the head or later."""
    sent = (
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Request-Id: head\r\n\r\n"
        b"3\r\nabc\r\n0\r\nAuthorization: Bearer a\r\nX-Signature: v1=a\r\nX-Request-Id: trailer\r\n\r\n"
    )
    for size in (len(sent), 1):
        [request], refusal = read(*in_pieces(sent, size))
        assert refusal is None
        assert request.headers == {"host": "a", "transfer-encoding": "chunked", "x-request-id": "head"}
        assert (request.body, request.repeated) == (b"abc", frozenset())


def test_a_request_is_read_as_it_was_sent() -> None:
    """Path, query and header values are the bytes that were sent; names are in lower case."""
    [request], _ = read(
        b"PATCH /a%2Fb/?x=%20&?y HTTP/1.1\r\nHOST: a\r\nX-A: \t \xc3\xa3 b\t\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert (request.method, request.path, request.query, request.body) == ("PATCH", "/a%2Fb/", "x=%20&?y", b"{}")
    assert request.headers == {"host": "a", "x-a": "\xc3\xa3 b", "content-length": "2"}


def test_header_names_with_an_underscore_are_other_names() -> None:
    """X_Signature is not X-Signature, and Content_Length is not a length."""
    [first, _], _ = read(b"GET /a HTTP/1.1\r\nHost: a\r\nX_Signature: a\r\nContent_Length: 9\r\n\r\n" + SMUGGLED)
    assert first.headers == {"host": "a", "x_signature": "a", "content_length": "9"}


@pytest.mark.parametrize("host", ["", "a", "a:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "a-b.c_d.", "%41"])
def test_a_host_is_a_name_and_a_port(host: str) -> None:
    """Names, addresses and ports of RFC 3986 are valid hosts, and so is an empty one (RFC 9110 §7.2)."""
    assert read(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())[1] is None


def test_each_request_s_host_is_checked() -> None:
    """The host of every request on a connection is checked."""
    good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    requests, refusal = read(good + good + b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
    assert (len(requests), refusal) == (2, "malformed_request")


@pytest.mark.parametrize(
    ("head", "tail", "bound", "code"),
    [
        (b"GET /", b" HTTP/1.1\r\nHost: a\r\n\r\n", SETTINGS.max_target_bytes - 1, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n", SETTINGS.max_head_bytes - 15, "head_too_large"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 262144\r\n\r\n", b"", SETTINGS.max_body_bytes, None),
    ],
    ids=["target", "head", "body"],
)
@pytest.mark.parametrize("size", [1000, SLICE_BYTES, 1_000_000])
def test_a_request_as_large_as_a_bound_is_read(
    head: bytes, tail: bytes, bound: int, code: str | None, size: int
) -> None:
    """A request within every bound is accepted, and one byte more is refused, however the bytes are divided."""
    requests, refusal = read(*in_pieces(head + b"a" * bound + tail, size))
    assert (len(requests), refusal) == (1, None)
    if code is not None:
        assert read(*in_pieces(head + b"a" * (bound + 1) + tail, size)) == ([], code)


def test_as_many_headers_as_allowed_are_read() -> None:
    """A hundred header fields are accepted, and one more is refused."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert len(read(head + b"X: y\r\n" * 99 + b"\r\n")[0]) == 1
    assert read(head + b"X: y\r\n" * 100 + b"\r\n") == ([], "head_too_large")


def test_many_small_chunks_are_read() -> None:
    """A body in chunks of a hundred bytes is within the bound of the chunk framing."""
    chunk = b"64\r\n" + b"a" * 100 + b"\r\n"
    [request], refusal = read(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 2621 + b"0\r\n\r\n"
    )
    assert (len(request.body), refusal) == (262_100, None)


def test_a_large_body_is_not_counted_to_the_next_head() -> None:
    """A large body that arrives together with the next request does not count towards the next head."""
    body = b"x" * (SETTINGS.max_head_bytes + 1000)
    first = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    requests, refusal = read(first + body + SMUGGLED[:20], SMUGGLED[20:])
    assert ([request.path for request in requests], refusal) == (["/a", "/smuggled"], None)


def test_each_head_is_counted_for_itself() -> None:
    """The bound of the head applies to each request of a connection separately."""
    requests, refusal = read((b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n") * 10)
    assert (len(requests), refusal) == (10, None)


def test_reading_stops_at_a_whole_request() -> None:
    """Parsing stops soon after a complete request, and returns the remaining data."""
    reader = RequestReader(SETTINGS)
    rest = reader.feed(SMUGGLED * 10_000)
    assert 0 < len(reader.requests) <= SLICE_BYTES // len(SMUGGLED) + 1
    assert len(rest) == len(SMUGGLED) * 10_000 - SLICE_BYTES


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [(b"", None), (b"\r\n", None), (SMUGGLED, None), (b"GET / HT", "malformed_request"), (b"G", "malformed_request")],
)
def test_a_client_that_stops_in_the_middle(sent: bytes, refusal: str | None) -> None:
    """The end of the data is allowed between requests, and causes a refusal inside one."""
    reader = RequestReader(SETTINGS)
    read(sent, reader=reader)
    reader.finish()
    assert reader.ended
    assert (reader.refusal.code if reader.refusal is not None else None) == refusal


def test_a_refusal_has_the_parts_that_were_read() -> None:
    """Path and request id of a refused request are known when its head was complete, and empty otherwise."""
    reader = RequestReader(SETTINGS)
    read(b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-Request-Id: me\r\nContent-Length: 999999\r\n\r\n", reader=reader)
    assert (reader.refused.path, reader.refused.header("x-request-id")) == ("/a", "me")
    reader = RequestReader(SETTINGS)
    read(b"POST /a HTTP/1.1\r\nHost : a\r\n\r\n", reader=reader)
    assert (reader.refused.method, reader.refused.path) == ("", "")


def test_a_client_may_expect_100_continue() -> None:
    """A client waits for `100 Continue` from the end of its head to the first byte of the body, and never with
    HTTP/1.0."""
    head = b"POST / HTTP/1.%d\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
    awaited = {}
    for sent in (head % 1, head % 1 + b"a", head % 0):
        reader = RequestReader(SETTINGS)
        read(sent, reader=reader)
        awaited[sent] = reader.awaits_continue
    assert awaited == {head % 1: True, head % 1 + b"a": False, head % 0: False}


# Generated streams

ENDS = st.sampled_from([b"\r\n"] * 90 + [b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n ", b"\r\n\t"])
LINES = st.sampled_from(
    [b"GET / HTTP/1.1", b"POST /a HTTP/1.1", b"POST /a HTTP/1.1", b"PUT /a?b HTTP/1.1"] * 3
    + [
        b"GET / HTTP/1.0",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET http://b/a HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"get / HTTP/1.1",
    ]
)
FIELDS = st.sampled_from(
    [b"Content-Length: 3", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y", b"X: y"] * 6
    + [
        b"Content-Length: 0",
        b"Content-Length: 37",
        b"Content-Length: +3",
        b"Content-Length: 3, 3",
        b"Content-Length: 03",
        b"content-length:3",
        b"Content_Length: 3",
        b"Content-Length : 3",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding: chunked ",
        b"Transfer-Encoding: x",
        b"Transfer-Encoding : chunked",
        b" Transfer-Encoding: chunked",
        b"TRANSFER-ENCODING:chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Expect: 100-continue",
        b"X: \x00",
        b"X: \xff",
        b"X",
        b"",
    ]
)
CHUNKS = st.sampled_from(
    [b"3\r\nabc\r\n", b"5\r\nabcde\r\n", b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\n\r\n"] * 3
    + [
        b"0\r\nX: y\r\n\r\n",
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"3;a=b\r\nabc\r\n",
        b"03\r\nabc\r\n",
        b"3\nabc\n",
        b"3 \r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"FFFFFFFFFFFFFFFF3\r\nabc\r\n",
        b"abc",
        b"abcde",
    ]
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Generate text that resembles a request, from valid and nearly valid parts."""
    fields = draw(st.lists(FIELDS, max_size=3))
    if draw(st.integers(0, 9)):
        fields.insert(0, b"Host: a")
    lines = [draw(LINES), *fields, b""]
    return b"".join(line + draw(ENDS) for line in lines) + b"".join(draw(st.lists(CHUNKS, max_size=3)))


CHANGES = st.tuples(
    st.integers(0, 10_000),
    st.integers(0, 2),
    st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b";", b",", b"0", b"a", b"\xff"]),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Generate several requests in one stream, with bytes inserted, removed or changed."""
    sent = bytearray(b"".join(draw(st.lists(messages(), min_size=1, max_size=3))))
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(b"\r\n\x00 \t:;,0a\xff")), max_size=2)
    ):
        at = place % (len(sent) + 1)
        sent[at : at + place % 2] = b"" if byte == 0xFF and place % 3 else bytes([byte])
    return bytes(sent)


@settings(max_examples=400)
@given(streams(), st.integers(0, 2**32))
@example(SMUGGLED * 3, 0)
def test_pieces_make_no_difference(sent: bytes, seed: int) -> None:
    """A stream has the same requests when it is parsed at once, byte by byte, or divided anywhere."""
    cuts = sorted(random.Random(seed).sample(range(len(sent) + 1), min(len(sent), 5)))
    cut = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    whole = read(sent)
    assert whole == read(*in_pieces(sent, 1)) == read(*cut)


def by_h11(sent: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return method, target and body of each request that h11 finds in a stream, up to its first refusal."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(sent)
    found: list[tuple[bytes, bytes, bytes]] = []
    head, body = None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return found
        if isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            found.append((head.method, head.target, body))
            connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return found
            connection.start_next_cycle()
        else:
            return found


@settings(max_examples=400)
@given(streams())
def test_h11_finds_no_other_requests(sent: bytes) -> None:
    """h11, an independent parser, finds the same requests or refuses: no stream has different requests for the two
    parsers."""
    ours = [(request.method, request.path, request.query, request.body) for request in read(sent)[0]]
    for mine, (method, target, body) in zip(ours, by_h11(sent), strict=False):
        absolute = b"http://b"
        path, _, query = target.removeprefix(absolute).decode("latin-1").partition("?")
        assert mine == (method.decode(), path or "/", query, body)


PLAIN_REASONS = {
    b"FOO /v1/x HTTP/1.1\r\n": "The request does not begin with a method such as GET or POST.",
    b"\x16\x03\x01\x02\x00": "A client that begins with TLS must use http:// here.",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "HTTP/2 is not supported.",
    b"GET /\x01 HTTP/1.1\r\n": "must be percent-encoded",
    b"GET /a b HTTP/1.1\r\n": "The first line of a request is the method, the target without spaces",
    b"GET / HTTX/1.1\r\n": "The first line of a request is",
    b"GET / HTTP/3.7\r\n": "The first line of a request is",
    b"GET / HTTP/1.1\nHost: a\n\n": "ends with CR and LF",
    b"GET / HTTP/1.1\r\n A: b\r\n\r\n": "begins with a space",
    b"GET / HTTP/1.1\r\nHost a\r\n\r\n": "is not a header: a name, a colon and a value",
    b"GET / HTTP/1.1\r\nA: b\x00\r\n\r\n": "is not a header: a name, a colon and a value",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": "one Content-Length, a decimal number",
    b"POST / HTTP/1.1\r\nContent-Length: a\r\n\r\n": "one Content-Length, a decimal number",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n": "Transfer-Encoding is `chunked`",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": "not divided into chunks",
}


@pytest.mark.parametrize(("sent", "reason"), PLAIN_REASONS.items(), ids=range(len(PLAIN_REASONS)))
def test_a_malformed_request_is_refused_with_a_plain_reason(sent: bytes, reason: str) -> None:
    """The detail says what is wrong with the request, in words of HTTP and not of the parser."""
    reader = RequestReader(SETTINGS)
    reader.feed(sent)
    assert reader.refusal is not None
    assert reader.refusal.code == "malformed_request"
    assert reason in reader.refusal.detail
