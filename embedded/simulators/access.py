"""The access of a simulated provider's API: tokens for client credentials (RFC 6749 §4.4)."""

from __future__ import annotations

import hmac
import string
from base64 import b64decode
from datetime import datetime, timedelta
from random import Random
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from embedded.simulators.answering import json_response
from shared.core.clock import Clock
from shared.http.messages import HttpRequest, HttpResponse

TOKEN_SECONDS: Final = 300
_MAX_TOKENS: Final = 1_000
_TOKEN_LENGTH: Final = 43
_ALPHANUMERIC: Final = string.ascii_letters + string.digits


class ApiClient(NamedTuple):
    """The client that may use the provider's API."""

    id: str
    secret: str


class ApiAccess:
    """Issues access tokens with a scope, and checks them. Without a client every request is allowed."""

    def __init__(self, client: ApiClient | None, scope: str, clock: Clock, random: Random) -> None:
        self._client = client
        self._scope = scope
        self._clock = clock
        self._random = random
        self._tokens: dict[str, datetime] = {}

    def allows(self, request: HttpRequest) -> bool:
        """Return whether the request has a valid token, or needs none."""
        if self._client is None:
            return True
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        expires = self._tokens.get(token)
        return scheme.lower() == "bearer" and expires is not None and self._clock.now() < expires

    async def issue(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Answer `POST /oauth/token`."""
        if dict(parse_qsl(request.body.decode("latin-1"))).get("grant_type") != "client_credentials":
            return json_response(400, {"error": "unsupported_grant_type"})
        if self._client is not None and not _is_client(request.header("authorization"), self._client):
            return json_response(401, {"error": "invalid_client"})
        now = self._clock.now()
        self._tokens = {token: end for token, end in self._tokens.items() if end > now}
        if len(self._tokens) >= _MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        token = "".join(self._random.choices(_ALPHANUMERIC, k=_TOKEN_LENGTH))
        self._tokens[token] = now + timedelta(seconds=TOKEN_SECONDS)
        issued = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": self._scope}
        return json_response(200, issued)


def _is_client(header: str | None, client: ApiClient) -> bool:
    """Return whether the header has the client's id and secret (Basic, RFC 7617)."""
    scheme, _, encoded = (header or "").partition(" ")
    try:
        sent = b64decode(encoded, validate=True)
    except ValueError:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(sent, f"{client.id}:{client.secret}".encode())
