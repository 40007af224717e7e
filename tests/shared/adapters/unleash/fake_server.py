"""An Unleash in this process, for the client's behaviour: what it answers, and what it was sent."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson

TOKEN = "default:production.hidden"
URL = f"unleash+http://:{TOKEN}@unleash.test/api"


def feature(name: str, *, enabled: bool = True, tenants: list[str] | None = None) -> dict[str, Any]:
    """Return a flag as Unleash's API for clients describes it: for all, or for these tenants."""
    constraints = [] if tenants is None else [{"contextName": "tenantId", "operator": "IN", "values": tenants}]
    strategy = {"name": "default", "parameters": {}, "constraints": constraints}
    return {"name": name, "type": "kill-switch", "enabled": enabled, "strategies": [strategy]}


class FakeUnleash:
    """Answers readings of its state. `outcome` replaces the answer: a status, content, or an exception to raise."""

    def __init__(self) -> None:
        self.features: list[dict[str, Any]] = []
        self.outcome: int | bytes | Exception | None = None
        self.requests: list[httpx.Request] = []
        self.usage: list[dict[str, Any]] = []
        self.accepts_usage = True
        self.hangs = False

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def set(self, *features: dict[str, Any]) -> None:
        """Replace the flags."""
        self.features = list(features)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/client/metrics":
            if not self.accepts_usage:
                return httpx.Response(500)
            self.usage.append(orjson.loads(request.content))
            return httpx.Response(202)
        self.requests.append(request)
        if self.hangs:
            await asyncio.sleep(3600)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if isinstance(self.outcome, int):
            return httpx.Response(self.outcome)
        body = orjson.dumps({"version": 2, "features": self.features}) if self.outcome is None else self.outcome
        etag = f'"{hash(body)}"'
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304, headers={"etag": etag})
        return httpx.Response(200, content=body, headers={"etag": etag})
