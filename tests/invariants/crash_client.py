"""A platform in its own process, and a client that repeats each command under the same key, with a new signature,
until it is answered."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from hmac import digest
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx

from shared.core.crash_points import NAMES, VARIABLE
from tests.forking import Forked, ForkServer
from tests.waiting import PATIENCE_SECONDS

ROOT: Final = Path(__file__).resolve().parents[2]
RENEW_SECONDS: Final = 60.0
_PAUSE: Final = 0.02
_AGAIN: Final = frozenset({429, 503})


class Died(Exception):
    """The platform's process has ended."""


@dataclass
class Kept:
    """The first response to a command. Every repetition must get the same."""

    path: str
    body: bytes
    answer: bytes


@cache
def _fork_server() -> ForkServer:
    """The process that each platform is a copy of. See tests/invariants/armed.py for its crash point."""
    environment = {**_environment(), VARIABLE: next(iter(NAMES))}
    return ForkServer(
        "tests.invariants.armed", "embedded.platform.platform", "embedded.server.running", env=environment
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LASTRO_")}


def free_port() -> int:
    """Return a port that is free now, outside the range from which the kernel gives ports to connections."""
    random = Random()
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Platform:
    """`lastro up` on a data directory, which dies at a crash point if one is set."""

    def __init__(self, data_dir: Path, process: Forked, log: Path, log_from: int) -> None:
        """`log` contains the process's output, from the offset `log_from` on."""
        self.data_dir = data_dir
        self.process = process
        self.base_url = ""
        self._log = log
        self._log_from = log_from

    @classmethod
    async def start(
        cls,
        data_dir: Path,
        crash_at: str | None = None,
        settings: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        port: int = 0,
    ) -> Platform:
        """Start the process, with these variables and options too, and wait until it answers. Raises Died when it ends
        before that."""
        environment = {**_environment(), **(settings or {})}
        if crash_at is not None:
            environment[VARIABLE] = crash_at
        log = data_dir.with_suffix(".log")
        arguments = ("up", "--port", str(port), "--data-dir", str(data_dir), "--json", *options)
        with log.open("ab") as stderr:
            begun = stderr.tell()
            process = _fork_server().start(
                "tests.invariants.armed",
                *arguments,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        platform = cls(data_dir, process, log, begun)
        try:
            await platform._answers()
        except BaseException:
            await platform.kill()
            raise
        return platform

    async def _answers(self) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await asyncio.to_thread(self.process.stdout.readline)
        if not line:
            assert await self.ended() == -signal.SIGKILL, self._log.read_text()[-2000:]
            raise Died
        self.base_url = json.loads(line)["base_url"]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    async def ended(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (code := self.process.poll()) is None:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(_PAUSE)
        return code

    @property
    def lost_its_writer(self) -> bool:
        """Return whether the writer process was killed."""
        with self._log.open("rb") as log:
            log.seek(self._log_from)
            return b"memory is dropped: the store's writer ended" in log.read()

    async def kill(self) -> None:
        """Kill the process, as `kill -9` does."""
        self.process.kill()
        await self.ended()
        if self.process.stdout is not None:
            self.process.stdout.close()

    async def stop(self) -> None:
        """Stop the process, which must end without an error."""
        self.process.terminate()
        assert await self.ended() == 0


@dataclass
class Client:
    """A tenant's client, which is used with one platform after another."""

    credentials: dict[str, Any]
    kept: dict[str, Kept] = field(default_factory=dict)
    platform: Platform | None = None
    http: httpx.AsyncClient | None = None
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    """The owner of the token, and the time when it was requested."""

    async def meet(self, platform: Platform) -> None:
        """Send requests to this platform from now on."""
        await self.leave()
        self.platform, self.tokens = platform, {}
        self.http = httpx.AsyncClient(base_url=platform.base_url, timeout=PATIENCE_SECONDS)

    async def leave(self) -> None:
        """Close the connections."""
        if self.http is not None:
            await self.http.aclose()

    async def _send(self, method: str, path: str, headers: dict[str, str], content: bytes) -> httpx.Response:
        assert self.http is not None
        assert self.platform is not None
        try:
            return await self.http.request(method, path, headers=headers, content=content)
        except httpx.TransportError:
            # Without a response, either the process has ended, which shows within a moment, or the platform has a
            # fault.
            await self.platform.ended()
            raise Died from None

    async def _token(self, who: str) -> str:
        text, got_at = self.tokens.get(who, ("", -math.inf))
        if time.monotonic() > got_at + RENEW_SECONDS:
            part = self.credentials[who]
            form = f"grant_type=client_credentials&client_id={part['client_id']}&client_secret={part['client_secret']}"
            headers = {"content-type": "application/x-www-form-urlencoded"}
            path = "/realms/lastro/protocol/openid-connect/token"
            answer = await self._send("POST", path, headers, form.encode())
            while answer.status_code in _AGAIN:
                await asyncio.sleep(_PAUSE)
                answer = await self._send("POST", path, headers, form.encode())
            assert answer.status_code == 200, answer.text
            text = answer.json()["access_token"]
            self.tokens[who] = text, time.monotonic()
        return text

    async def get(self, path: str) -> Any:
        """Send a GET until it is answered, and return its body."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                headers = {"authorization": f"Bearer {await self._token('demo')}"}
                answer = await self._send("GET", path, headers, b"")
                if answer.status_code not in _AGAIN:
                    assert answer.status_code == 200, answer.text
                    return answer.json()
                await asyncio.sleep(_PAUSE)

    async def listed(self, path: str) -> list[Any]:
        """Return all items of a list."""
        found: list[Any] = []
        page = await self.get(f"{path}?limit=100")
        while True:
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            page = await self.get(f"{path}?limit=100&cursor={page['next_cursor']}")

    async def post(self, key: str, path: str, body: Any, *, wait: int = 0) -> Any:
        """Send a command under its key until it is answered, and return the answer. Any later answer must be the
        same."""
        content = json.dumps(body).encode()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await self._send("POST", path, await self._signed(key, path, content, wait), content)
                if answer.status_code not in _AGAIN and answer.status_code != 409:
                    break
                await asyncio.sleep(_PAUSE)
        assert answer.status_code in (200, 201), answer.text
        known = self.kept.setdefault(key, Kept(path, content, answer.content))
        assert known.answer == answer.content, "an answer that was given is another now"
        return answer.json()

    async def _signed(self, key: str, path: str, content: bytes, wait: int) -> dict[str, str]:
        demo = self.credentials["demo"]
        timestamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        lines = ("v1", "POST", path, "", sha256(content).hexdigest(), demo["tenant_id"], key, timestamp, demo["key_id"])
        signature = digest(demo["signing_secret"].encode(), "\n".join(lines).encode(), "sha256")
        headers = {
            "authorization": f"Bearer {await self._token('demo')}",
            "content-type": "application/json",
            "idempotency-key": key,
            "x-timestamp": timestamp,
            "x-key-id": demo["key_id"],
            "x-signature": f"v1={b64encode(signature).decode()}",
        }
        return headers | ({"prefer": f"wait={wait}"} if wait else {})

    async def simulate(self, path: str, body: Any) -> httpx.Response:
        """Send an order to a simulated provider, as whoever controls the simulation."""
        headers = {"content-type": "application/json"}
        return await self._send("POST", f"/simulators/{path}", headers, json.dumps(body).encode())

    async def publish(self, event: dict[str, Any]) -> None:
        """Send an event to the Broker's ingress until it is accepted. It may be accepted twice."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                headers = {
                    "authorization": f"Bearer {await self._token('platform')}",
                    "content-type": "application/cloudevents+json",
                }
                answer = await self._send("POST", "/brokers/default", headers, json.dumps(event).encode())
                if answer.status_code not in _AGAIN:
                    assert answer.status_code == 202, answer.text
                    return
                await asyncio.sleep(_PAUSE)

    async def check_first_responses(self) -> None:
        """Send every answered command once more, and check that each gets its first response."""
        for key, kept in list(self.kept.items()):
            headers = await self._signed(key, kept.path, kept.body, 0)
            answer = await self._send("POST", kept.path, headers, kept.body)
            assert answer.headers.get("idempotent-replayed") == "true", answer.text
            assert answer.content == kept.answer
