"""The port for requests to addresses that a tenant has chosen: of webhooks, and in BR Codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

OutgoingError = Literal[
    "address_refused",
    "connection_failed",
    "invalid_response",
    "name_not_resolved",
    "redirect_refused",
    "timeout",
    "tls_failed",
]
"""Why a request has no accepted response:

- `address_refused`: the host is, or its name resolves to, an address that is not public.
- `name_not_resolved`, `connection_failed`, `tls_failed`: no connection, or none with a valid certificate.
- `timeout`: the whole exchange took longer than it may.
- `redirect_refused`: the response is a redirect, which is not followed.
- `invalid_response`: the response is not HTTP, or its headers are too large.
"""


class OutgoingAnswer(NamedTuple):
    """The outcome of a request. `status_code` is None when no response came; `error` then says why."""

    status_code: int | None
    error: OutgoingError | None
    duration_ms: int

    @property
    def accepted(self) -> bool:
        """Whether the receiver has answered with a 2xx status."""
        return self.status_code is not None and 200 <= self.status_code < 300


class OutgoingDocument(NamedTuple):
    """The response to a GET. `status_code` is None when no response came; `error` then says why."""

    status_code: int | None
    error: OutgoingError | None
    content: bytes


class Outgoing(Protocol):
    """Sends requests to addresses that tenants have chosen, and refuses those inside the platform's own network."""

    async def refusal(self, url: str) -> str | None:
        """Return why the platform does not send to this URL, as a sentence; None when it does.

        A name that cannot be resolved now is no reason: each request checks the addresses again.
        """
        ...

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutgoingAnswer:
        """Send a POST and return its outcome. Never raises for anything that the receiver or the network does.

        The connection goes to an address that was checked for this request. Redirects are not followed. The whole
        exchange takes at most LASTRO_WEBHOOKS_SECONDS.
        """
        ...

    async def get(self, url: str, headers: Mapping[str, str]) -> OutgoingDocument:
        """Send a GET and return the response, under the same rules as `post`.

        A response of more than 64 KiB is an `invalid_response`.
        """
        ...

    def url_of(self, location: str) -> str:
        """Return the URL of a location, which is a URL without its scheme: https, and http for this machine itself
        where private addresses are allowed."""
        ...
