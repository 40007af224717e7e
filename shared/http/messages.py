"""HTTP requests and responses, independent of the server and the framework."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from shared.context.rate_limits import RateGate
    from shared.identity.tokens import Caller

SECURITY_HEADERS: Final = frozenset(
    {
        "authorization",
        "x-tenant-id",
        "idempotency-key",
        "x-timestamp",
        "x-key-id",
        "x-signature",
        "x-request-id",
    }
)
FRAMING_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding"})
"""Headers that define the host, the content or the length of a request. Repeated, they are ambiguous (RFC 9112)."""
_ONCE: Final = SECURITY_HEADERS | FRAMING_HEADERS
_EVENT_PREFIX: Final = "ce-"
"""The prefix of the headers that carry attributes of a CloudEvent. Each may occur once, as a security header may."""
MUTATING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Stream(Protocol):
    """The pieces of a body, in their order. An asynchronous generator is one."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Begin to read."""
        ...

    async def aclose(self) -> None:
        """End it. Nothing more is read from it."""
        ...


@dataclass(slots=True)
class HttpRequest:
    """One request. `path` and `query` are as they were sent: nothing is decoded or normalized.

    `headers` have lower-case names. `repeated` has the names of the security headers that were sent more than once.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    repeated: frozenset[str] = frozenset()
    rate_gate: RateGate | None = None
    """The limit of the gateway in this process, when the gateway has not applied it itself."""
    caller: Caller | None = None
    """The caller, when a gateway in this process has already verified the token."""
    wait: bool = field(default=True)
    version: str = "1.1"
    """The client's version of HTTP. A response to 1.0 has no chunks: the end of the connection ends its body."""

    def header(self, name: str) -> str | None:
        """Return the value of a header (lower-case name), or None when it is absent or empty."""
        return self.headers.get(name) or None


@dataclass(slots=True)
class HttpResponse:
    """A response: the status, the header fields by name, and the body in bytes.

    `stream` is the body of a response whose length is not known before it is sent; `body` is empty then. Its owner is
    who receives the response: it reads the stream, or closes it (`aclose`). A stream that raises has no end: the
    connection is cut, so that the client does not take a part for the whole.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    stream: Stream | None = None

    def on_end(self, action: Callable[[], object]) -> None:
        """Call `action` when the body has been read or closed; at once for a body in bytes."""
        if self.stream is None:
            action()
        else:
            self.stream = _WithEnd(self.stream, action)


class _WithEnd:
    """A stream that calls an action once, when it has ended or is closed; also when it is closed before it is read,
    which a generator does not notice."""

    def __init__(self, stream: Stream, action: Callable[[], object]) -> None:
        self._stream = stream
        self._pieces = aiter(stream)
        self._action: Callable[[], object] | None = action

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except BaseException:
            self._end()
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._end()

    def _end(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the headers by lower-case name, and the names of security, framing and `ce-` headers that were sent twice.

    Bytes outside ASCII become the characters of latin-1, one to one (RFC 9110 §5.5). Spaces and tabs around a value are
    removed.
    """
    headers: dict[str, str] = {}
    repeated: set[str] = set()
    for raw_name, raw_value in raw:
        name = _known_names.get(raw_name)
        if name is None:
            name = _name_of(raw_name)
        if name in headers and (name in _ONCE or name.startswith(_EVENT_PREFIX)):
            repeated.add(name)
        headers[name] = raw_value.decode("latin-1").strip(" \t")
    return headers, frozenset(repeated) if repeated else _NONE


_NONE: Final[frozenset[str]] = frozenset()
_MAX_KNOWN_NAMES: Final = 256
_known_names: dict[bytes, str] = {}


def _name_of(raw: bytes) -> str:
    """Return a header's name as lower-case text. Names are cached: clients send the same few again and again."""
    name = raw.decode("latin-1").lower()
    if len(_known_names) < _MAX_KNOWN_NAMES and len(raw) <= 64:
        _known_names[bytes(raw)] = name
    return name
