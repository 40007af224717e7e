"""HTTP itself: only the head has credentials, responses are in the order of requests, and malformed HTTP gets a
problem, too."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.contract.calling import Client, Deployment, Pair, as_body, in_status
from tests.contract.wire import Answer
from tests.embedded.server.hostile import STREAMS, Stream

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAY = "/v1/payments"


def chunked(client: Client, body: bytes, *, trailers: frozenset[str]) -> tuple[bytes, bytes]:
    """Return a signed payment in chunks, with these headers as trailers: the head, and the data after it."""
    headers = {**client.headers("POST", PAY, body), "transfer-encoding": "chunked", "host": "lastro"}
    lines = {name: f"{name}: {value}\r\n" for name, value in headers.items()}
    head = "".join(line for name, line in lines.items() if name not in trailers)
    tail = "".join(line for name, line in lines.items() if name in trailers)
    return (
        f"POST {PAY} HTTP/1.1\r\nconnection: close\r\n{head}\r\n".encode(),
        b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, tail.encode()),
    )


ALL = frozenset({"authorization", "idempotency-key", "x-timestamp", "x-key-id", "x-signature"})
HIDDEN = [
    (frozenset({"authorization"}), "missing_token"),
    (frozenset({"x-signature"}), "missing_signature"),
    (frozenset({"x-timestamp", "x-key-id"}), "missing_signature"),
    (frozenset({"idempotency-key"}), "invalid_signature"),
    (frozenset({"content-type"}), "unsupported_media_type"),
    (ALL, "missing_token"),
]


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize(
    ("trailers", "code"), HIDDEN, ids=lambda value: "+".join(sorted(value)) if value != str(value) else ""
)
async def test_a_trailer_is_not_a_header(pair: Pair, trailers: frozenset[str], code: str, pieces: int) -> None:
    """Required headers count only in the head, whether the trailers arrive with it or later."""
    head, rest = chunked(pair.client, as_body(pair.payment()), trailers=trailers)
    answer = await pair.client.wire.raw(*([head + rest] if pieces == 1 else [head, rest]))
    assert answer.code == code


async def test_a_signed_request_may_be_chunked(pair: Pair) -> None:
    """A chunked body is accepted as any other, and its trailers have no effect."""
    head, rest = chunked(pair.client, as_body(pair.payment()), trailers=frozenset())
    rest = rest.removesuffix(b"\r\n") + b"Authorization: Bearer other\r\nX-Signature: v1=other\r\n\r\n"
    assert (await pair.client.wire.raw(head + rest)).status == 201


async def test_a_payment_before_a_malformed_request_is_answered(pair: Pair) -> None:
    """When a valid payment and a malformed request are sent together, 201 comes first, then 400, and then the end of
    the connection."""
    client, body = pair.client, as_body(pair.payment())
    lines = "".join(f"{name}: {value}\r\n" for name, value in client.headers("POST", PAY, body).items())
    good = f"POST {PAY} HTTP/1.1\r\nhost: lastro\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body
    reader, writer = await asyncio.open_connection(client.wire.host, client.wire.port)
    writer.write(good + b"GET / HTTP/1.1\r\nHost : lastro\r\n\r\n")
    answers = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert re.findall(rb"HTTP/1.1 ([0-9]{3}) ", answers) == [b"201", b"400"]
    payment = json.loads(answers.split(b"\r\n\r\n")[1].partition(b"HTTP/1.1")[0])
    await in_status(client, f"{PAY}/{payment['id']}", "settled")


def is_problem(answer: Answer, code: str) -> bool:
    """Return whether this is a complete problem document with this code, and the last response of the connection."""
    return (
        answer.code == code
        and set(answer.document) == {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}
        and answer.document["status"] == answer.status
        and answer.document["request_id"] == answer.header("x-request-id") != ""
        and answer.header("connection") == "close"
    )


REFUSED = {name: stream for name, stream in STREAMS.items() if stream.refusal and not stream.paths}


@pytest.mark.parametrize("stream", REFUSED.values(), ids=REFUSED)
async def test_malformed_http_is_answered_with_a_problem(deployment: Deployment, stream: Stream) -> None:
    """Each hostile stream is answered with a problem that has its code and a request id."""
    answer = await deployment.wire.raw(stream.sent)
    assert is_problem(answer, str(stream.refusal)), answer
    assert (await deployment.wire.send("GET", "/healthz")).status == 200


async def test_a_refused_request_keeps_its_id(deployment: Deployment) -> None:
    """A request that is refused after its head was read has its own X-Request-Id and path."""
    answer = await deployment.wire.send("POST", PAY + "?a=b", [("x-request-id", "mine"), ("content-length", "9999999")])
    assert is_problem(answer, "payload_too_large")
    assert (answer.document["request_id"], answer.document["instance"]) == ("mine", PAY)


async def test_a_long_query_is_refused_for_its_parameter(demo: Client) -> None:
    """A query of 30 KiB is within the bound, and is refused for the unknown parameter in it."""
    answer = await demo.get(f"{PAY}?cursor=" + "%41" * 10_000)
    assert (answer.code, answer.parameters) == ("malformed_request", ["cursor"])
