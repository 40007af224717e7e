"""MongoDB's wire protocol, byte by byte."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.mongo_gateway import wire

FIELDS = st.dictionaries(st.text("abc$", min_size=1), st.integers(-(2**63), 2**63 - 1) | st.text() | st.booleans())


def framed(opcode: int, body: bytes, *, request: int = 7) -> bytes:
    return struct.pack("<iiii", 16 + len(body), request, 0, opcode) + body


def message(*sections: bytes, flags: int = 0, end: bytes = b"") -> bytes:
    return framed(2013, struct.pack("<I", flags) + b"".join(sections) + end)


def command(document: dict[str, Any]) -> bytes:
    return b"\0" + bson.encode(document)


def sequence(name: str, *documents: dict[str, Any]) -> bytes:
    content = name.encode() + b"\0" + b"".join(bson.encode(document) for document in documents)
    return b"\1" + struct.pack("<i", 4 + len(content)) + content


async def read(data: bytes) -> wire.Message | None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await wire.read(reader)


async def test_a_command_with_a_sequence_of_documents() -> None:
    """The documents of a sequence become the field with its name, as if they were part of the command."""
    found = await read(message(command({"insert": "c", "$db": "d"}), sequence("documents", {"_id": 1}, {"_id": 2})))
    assert found is not None
    assert list(found.command) == ["insert", "$db", "documents"]
    assert [bson.decode(document.raw) for document in found.command["documents"]] == [{"_id": 1}, {"_id": 2}]
    assert found.wants_reply


async def test_a_checksum_is_passed_over_and_no_reply_is_wanted() -> None:
    """A message may end in a checksum, and a client that sends moreToCome gets no reply."""
    found = await read(message(command({"ping": 1}), flags=1 | 2, end=b"\1\2\3\4"))
    assert found == wire.Message(7, {"ping": 1}, wants_reply=False, is_query=False)


async def test_hello_in_the_old_form() -> None:
    """A connection may begin with OP_QUERY; its reply is OP_REPLY."""
    body = struct.pack("<i", 4) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + bson.encode({"hello": 1})
    found = await read(framed(2004, body))
    assert found is not None
    assert found.command == {"hello": 1, "$db": "admin"}
    reply = wire.written(found, 9, bson.encode({"ok": 1.0}))
    assert struct.unpack_from("<iiii", reply) == (len(reply), 9, 7, 1)
    assert bson.decode(reply[36:]) == {"ok": 1.0}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<iiii", 15, 1, 0, 2013),
        struct.pack("<iiii", wire.MAX_MESSAGE_BYTES + 1, 1, 0, 2013),
        framed(2012, b"compressed"),
        framed(2004, struct.pack("<i", 0) + b"shop.orders\0" + struct.pack("<ii", 0, 1) + bson.encode({})),
        framed(2004, b"\0"),
        message(),
        message(command({"ping": 1}), flags=4),
        message(b"\0" + struct.pack("<i", 4)),
        message(b"\0" + struct.pack("<i", 4000)),
        message(b"\0" + struct.pack("<i", 6) + b"xx"),
        message(b"\2" + bson.encode({})),
        message(command({"insert": "c"}), b"\1" + struct.pack("<i", 17) + b"documents\0abc"),
        message(command({"insert": "c"}), sequence("documents")[:-3] + b"\xff\xff\xff"),
    ],
)
async def test_what_does_not_follow_the_protocol_is_refused(data: bytes) -> None:
    """Every malformed message raises MalformedMessage."""
    with pytest.raises(wire.MalformedMessage):
        await read(data)


@pytest.mark.parametrize("data", [b"", b"\x10\0", framed(2013, b"\0\0\0\0")[:-1]])
async def test_a_connection_that_ends_is_no_message(data: bytes) -> None:
    """If the connection ends, between messages or within one, None is returned."""
    assert await read(data) is None


@given(FIELDS)
def test_a_command_is_read_as_it_was_sent(document: dict[str, Any]) -> None:
    """The fields of a command are read in the order in which they were sent."""
    sent = {"frobnicate": 1, **document}
    found = asyncio.run(read(message(command(sent))))
    assert found is not None
    assert list(found.command.items()) == list(sent.items())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(body: bytes) -> None:
    """Arbitrary bytes from a client raise no exception other than MalformedMessage."""
    for opcode in (2013, 2004):
        try:
            asyncio.run(read(framed(opcode, body)))
        except wire.MalformedMessage:
            continue
