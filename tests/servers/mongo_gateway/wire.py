"""MongoDB's wire protocol: OP_MSG, and OP_QUERY for the first message of a connection.

Source: the MongoDB Wire Protocol and OP_MSG specifications.
"""

from __future__ import annotations

import struct
from asyncio import IncompleteReadError, StreamReader
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import bson
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

MAX_MESSAGE_BYTES: Final = 48_000_000
_OP_REPLY: Final = 1
_OP_QUERY: Final = 2004
_OP_MSG: Final = 2013
_CHECKSUM_PRESENT: Final = 1
_MORE_TO_COME: Final = 2
_REQUIRED_FLAGS: Final = 0xFFFF
_HEADER: Final = struct.Struct("<iiii")


class MalformedMessage(Exception):
    """A message that does not follow the protocol. The connection is closed."""


class Message(NamedTuple):
    """A command: its fields in order, with embedded documents as raw BSON. The first field is the command's name."""

    request: int
    command: dict[str, Any]
    wants_reply: bool
    is_query: bool


async def read(reader: StreamReader) -> Message | None:
    """Return the next message, or None at the end of the connection. Raises MalformedMessage."""
    try:
        length, request, _, opcode = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if not _HEADER.size < length <= MAX_MESSAGE_BYTES:
            raise MalformedMessage(f"a message of {length} bytes")
        body = await reader.readexactly(length - _HEADER.size)
    except (IncompleteReadError, ConnectionError):
        return None
    try:
        if opcode == _OP_MSG:
            return _message(request, body)
        if opcode == _OP_QUERY:
            return _query(request, body)
    except (bson.errors.BSONError, struct.error, ValueError, IndexError) as error:
        raise MalformedMessage(str(error)) from None
    raise MalformedMessage(f"opcode {opcode}; OP_MSG (2013) is accepted, and OP_QUERY (2004) for hello")


def written(message: Message, number: int, reply: bytes) -> bytes:
    """Return the message with a reply, a BSON document, to this one."""
    if message.is_query:
        body, opcode = struct.pack("<iqii", 8, 0, 0, 1) + reply, _OP_REPLY
    else:
        body, opcode = b"\0\0\0\0\0" + reply, _OP_MSG
    return _HEADER.pack(_HEADER.size + len(body), number, message.request, opcode) + body


def fields(document: bytes | Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a BSON document, with embedded documents as raw BSON."""
    return dict(RawBSONDocument(document) if isinstance(document, bytes) else document)


def _message(request: int, body: bytes) -> Message:
    (flags,) = struct.unpack_from("<I", body)
    if flags & _REQUIRED_FLAGS & ~(_CHECKSUM_PRESENT | _MORE_TO_COME):
        raise MalformedMessage(f"unknown flags {flags:#x}")
    end = len(body) - (4 if flags & _CHECKSUM_PRESENT else 0)
    command: dict[str, Any] = {}
    sequences: dict[str, list[RawBSONDocument]] = {}
    position = 4
    while position < end:
        kind, position = body[position], position + 1
        (size,) = struct.unpack_from("<i", body, position)
        if size < 5 or position + size > end:
            raise MalformedMessage(f"a section of {size} bytes")
        section = body[position : position + size]
        position += size
        if kind == 0:
            command = fields(section)
        elif kind == 1:
            name, _, documents = section[4:].partition(b"\0")
            sequences[name.decode()] = bson.decode_all(documents, DEFAULT_RAW_BSON_OPTIONS)
        else:
            raise MalformedMessage(f"a section of kind {kind}")
    if not command:
        raise MalformedMessage("no command")
    return Message(request, {**command, **sequences}, wants_reply=not flags & _MORE_TO_COME, is_query=False)


def _query(request: int, body: bytes) -> Message:
    namespace, _, rest = body[4:].partition(b"\0")
    database, _, collection = namespace.decode().partition(".")
    if collection != "$cmd":
        raise MalformedMessage("OP_QUERY is for hello only")
    command = fields(rest[8:])
    return Message(request, {**command, "$db": database}, wants_reply=True, is_query=True)
