"""HTTP itself: only a head carries credentials, answers keep their order, and what cannot be read is a problem too."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.contract.calling import Client, House, Pair, as_body, in_status
from tests.contract.wire import Answer
from tests.embedded.server.hostile import STREAMS, Stream

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAY = "/v1/payments"


def chunked(client: Client, body: bytes, *, trailers: frozenset[str]) -> tuple[bytes, bytes]:
    """A signed payment in chunks, its headers of these names behind them; the head, and what follows it."""
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
async def test_a_trailer_is_no_header(pair: Pair, trailers: frozenset[str], code: str, pieces: int) -> None:
    """What a request must carry counts in its head only, whether the trailers come with it or after it."""
    head, rest = chunked(pair.client, as_body(pair.payment()), trailers=trailers)
    answer = await pair.client.wire.raw(*([head + rest] if pieces == 1 else [head, rest]))
    assert answer.code == code


async def test_a_signed_request_may_come_in_chunks(pair: Pair) -> None:
    """A body in chunks is served as any other, and fields behind it change nothing."""
    head, rest = chunked(pair.client, as_body(pair.payment()), trailers=frozenset())
    rest = rest.removesuffix(b"\r\n") + b"Authorization: Bearer other\r\nX-Signature: v1=other\r\n\r\n"
    assert (await pair.client.wire.raw(head + rest)).status == 201


async def test_a_payment_before_a_malformed_request_is_answered(pair: Pair) -> None:
    """A good request and a malformed one in one piece: the payment's 201 comes first, then 400, then the end."""
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
    """Whether it is a whole problem document of this code, and the connection's last answer."""
    return (
        answer.code == code
        and set(answer.document) == {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}
        and answer.document["status"] == answer.status
        and answer.document["request_id"] == answer.header("x-request-id") != ""
        and answer.header("connection") == "close"
    )


REFUSED = {name: stream for name, stream in STREAMS.items() if stream.refusal and not stream.paths}


@pytest.mark.parametrize("stream", REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_read_is_a_problem(house: House, stream: Stream) -> None:
    """Whatever a hostile client sends, the answer is a problem with its code and a request id."""
    answer = await house.wire.raw(stream.sent)
    assert is_problem(answer, str(stream.refusal)), answer
    assert (await house.wire.send("GET", "/healthz")).status == 200


async def test_a_refused_request_keeps_its_id(house: House) -> None:
    """A request whose head was read is refused under its own X-Request-Id, and with its path."""
    answer = await house.wire.send("POST", PAY + "?a=b", [("x-request-id", "mine"), ("content-length", "9999999")])
    assert is_problem(answer, "payload_too_large")
    assert (answer.document["request_id"], answer.document["instance"]) == ("mine", PAY)


async def test_a_long_query_is_refused_for_what_it_says(demo: Client) -> None:
    """A query of 30 KiB is within the bound: it is the parameter in it that is refused."""
    answer = await demo.get(f"{PAY}?cursor=" + "%41" * 10_000)
    assert (answer.code, answer.parameters) == ("malformed_request", ["cursor"])
