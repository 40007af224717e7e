"""A tenant's client of two platforms. It sends each command under one key until it is answered, and counts what it was
answered on the way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import httpx

from tests.contract.calling import RENEW_SECONDS, TOKEN_PATH, Key
from tests.waiting import PATIENCE_SECONDS

REQUEST_SECONDS: Final = 30.0
"""How long the client waits for a response before it counts it as lost and asks the other platform."""
LIMIT_SECONDS: Final = 3 * PATIENCE_SECONDS
JSON: Final = "application/json"
CLOUD_EVENT: Final = "application/cloudevents+json"
_PAUSE: Final = 0.05
_RETRIED: Final = frozenset({429, 503})


class Unanswered(Enum):
    """Why a request has no response."""

    NOT_SENT = "no platform accepts connections"
    LOST = "the connection broke, or the time ran out"


LOST: Final = Unanswered.LOST


@dataclass
class Counts:
    """What happened to the commands of a case."""

    answered: int = 0
    refused: int = 0
    """Requests that could not be sent, or were answered with 503, 429, or 409 while a request is in progress."""
    lost: int = 0
    """Requests without a response: the connection broke, or the time ran out."""
    had_happened: int = 0
    """Commands with a lost response of which a repeated request showed that they had been accepted."""
    had_not: int = 0
    """Commands with a lost response that a repeated request made for the first time."""
    longest: float = 0.0
    """The longest time from the first request of a command to its answer, in seconds."""


@dataclass(frozen=True)
class Kept:
    """A command and its answer. Every repetition must get the same."""

    path: str
    body: bytes
    answer: bytes


@dataclass(frozen=True)
class Credentials:
    """A client of the token endpoint, and the key that it signs with when it is a tenant's."""

    client_id: str
    client_secret: str
    tenant_id: str = ""
    key: Key | None = None

    @classmethod
    def of_tenant(cls, made: Mapping[str, Any]) -> Credentials:
        """Return the credentials in the response to POST /v1/tenants."""
        key = Key(made["signing_key"]["key_id"], made["signing_key"]["secret"])
        return cls(made["client"]["client_id"], made["client"]["client_secret"], made["id"], key)


@dataclass
class Door:
    """Connections to one platform, and the token that it has issued."""

    http: httpx.AsyncClient
    token: str = ""
    token_until: float = 0.0


@dataclass
class Client:
    """The client. `addresses` has the base URL of each platform that runs, and may change at any time."""

    addresses: Mapping[str, str]
    credentials: Credentials
    token_url: str = TOKEN_PATH
    """An absolute URL, or a path of each platform."""
    counts: Counts = field(default_factory=Counts)
    kept: dict[str, Kept] = field(default_factory=dict)
    doors: dict[str, Door] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The tenant's id."""
        return self.credentials.tenant_id

    async def aclose(self) -> None:
        """Close all connections."""
        for door in self.doors.values():
            await door.http.aclose()

    async def command(self, key: str, path: str, body: Any, *, first: int = 0, wait: int = 0) -> Any:
        """Send a POST until it is accepted, alternately to the platforms, and return its resource.

        `first` chooses the platform that gets the first request. With `wait`, the platform may wait for so many seconds
        until the resource is final.
        """
        content, began, lost = json.dumps(body).encode(), time.monotonic(), False
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                response = await self._sent("POST", path, content, key, first, wait)
                if isinstance(response, httpx.Response) and not _is_retried(response):
                    break
                if response is LOST:
                    self.counts.lost += 1
                    lost = True
                else:
                    self.counts.refused += 1
                first += 1
                await asyncio.sleep(_PAUSE)
        assert response.status_code in (200, 201), f"POST {path}: {response.text}"
        self.counts.answered += 1
        self.counts.longest = max(self.counts.longest, time.monotonic() - began)
        if lost:
            if response.headers.get("idempotent-replayed") == "true":
                self.counts.had_happened += 1
            else:
                self.counts.had_not += 1
        known = self.kept.setdefault(key, Kept(path, content, response.content))
        assert known.answer == response.content, f"POST {path}: the answer to {key} is another now"
        return response.json()

    async def once(self, key: str, path: str, body: Any) -> int:
        """Send a POST once, and return the status of its response; 0 without one."""
        response = await self._sent("POST", path, json.dumps(body).encode(), key, 0)
        return response.status_code if isinstance(response, httpx.Response) else 0

    async def publish(self, event: Mapping[str, Any], *, first: int = 0) -> None:
        """Send an event to the Broker's ingress of one platform after the other, until it is accepted. It may be
        accepted twice."""
        content = json.dumps(event).encode()
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                response = await self._sent("POST", "/brokers/default", content, "", first, media_type=CLOUD_EVENT)
                if isinstance(response, httpx.Response) and not _is_retried(response):
                    break
                first += 1
                await asyncio.sleep(_PAUSE)
        assert response.status_code == 202, response.text

    async def get(self, path: str, *, first: int = 0) -> Any:
        """Send a GET until it is answered, and return its body."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                response = await self._sent("GET", path, b"", "", first)
                if isinstance(response, httpx.Response) and not _is_retried(response):
                    break
                first += 1
                await asyncio.sleep(_PAUSE)
        assert response.status_code == 200, f"GET {path}: {response.text}"
        return response.json()

    async def listed(self, path: str) -> list[Any]:
        """Return all items of a list."""
        found: list[Any] = []
        separator = "&" if "?" in path else "?"
        page = await self.get(f"{path}{separator}limit=100")
        while True:
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            page = await self.get(f"{path}{separator}limit=100&cursor={page['next_cursor']}")

    async def reaches(self, path: str, statuses: frozenset[str]) -> Any:
        """Read a resource until it has one of the statuses, and return it."""
        found: Any = None
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                while (found := await self.get(path))["status"] not in statuses:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise AssertionError(f"it does not reach {sorted(statuses)}: {found}") from None
        return found

    async def check_answers(self) -> int:
        """Send every answered command once more and check that it gets its first answer. Return how many."""
        for number, (key, kept) in enumerate(self.kept.items()):
            response = await self._repeated(key, kept, number)
            assert response.headers.get("idempotent-replayed") == "true", f"{key}: {response.text}"
            assert response.content == kept.answer, f"{key}: the answer is another now"
        return len(self.kept)

    async def _repeated(self, key: str, kept: Kept, place: int) -> httpx.Response:
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                response = await self._sent("POST", kept.path, kept.body, key, place)
                if isinstance(response, httpx.Response) and not _is_retried(response):
                    return response
                place += 1
                await asyncio.sleep(_PAUSE)

    async def _sent(
        self, method: str, path: str, content: bytes, key: str, place: int, wait: int = 0, media_type: str = JSON
    ) -> httpx.Response | Unanswered:
        """Send one request to one of the platforms."""
        names = sorted(self.addresses)
        if not names:
            return Unanswered.NOT_SENT
        address = self.addresses[names[place % len(names)]]
        door = self.doors.get(address)
        if door is None:
            door = self.doors[address] = Door(httpx.AsyncClient(base_url=address, timeout=REQUEST_SECONDS))
        try:
            refusal = await self._refresh(door)
            if refusal is not None:
                return refusal
            headers = self._headers(method, path, content, key, door.token)
            if content:
                headers["content-type"] = media_type
            if wait:
                headers["prefer"] = f"wait={wait}"
            return await door.http.request(method, path, headers=headers, content=content)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Unanswered.NOT_SENT
        except httpx.TransportError:
            return LOST

    async def _refresh(self, door: Door) -> httpx.Response | None:
        """Get a token unless there is a fresh one. Return the response that refuses it, or None."""
        if time.monotonic() < door.token_until:
            return None
        form = {
            "grant_type": "client_credentials",
            "client_id": self.credentials.client_id,
            "client_secret": self.credentials.client_secret,
        }
        response = await door.http.post(self.token_url, data=form)
        if _is_retried(response):
            return response
        assert response.status_code == 200, response.text
        door.token, door.token_until = response.json()["access_token"], time.monotonic() + RENEW_SECONDS
        return None

    def _headers(self, method: str, path: str, content: bytes, key: str, token: str) -> dict[str, str]:
        headers = {"authorization": f"Bearer {token}"}
        if not key:
            return headers
        headers["idempotency-key"] = key
        if self.credentials.key is None:
            return headers
        timestamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        signature = self.credentials.key.sign(
            method, path, content, tenant_id=self.id, timestamp=timestamp, idempotency_key=key
        )
        return headers | {"x-timestamp": timestamp, "x-key-id": self.credentials.key.id, "x-signature": signature}


def _is_retried(response: httpx.Response) -> bool:
    if response.status_code == 409:
        return bool(response.json().get("code") == "request_in_progress")
    return response.status_code in _RETRIED
