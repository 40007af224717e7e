"""The runtime of one process of the platform under test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from inspect import iscoroutinefunction
from random import Random
from typing import Any, Final, cast

from shared.adapters.memory.stores import (
    MemoryFlags,
    MemoryNonces,
)
from shared.context.runtime import Runtime
from shared.core.clock import ManualClock
from shared.core.settings import Settings
from shared.identity.tenancy import PERSON_SCOPES, PLATFORM_SCOPE, TENANT_SCOPES
from shared.identity.tokens import Caller
from shared.ports.outgoing import OutgoingAnswer, OutgoingDocument
from shared.telemetry.recorder import Telemetry
from tests.predictable import PredictableSecretSource

PLATFORM_TOKEN: Final = "platform"
AT_ONCE: Final = Settings(outbox_grace_seconds=0, commit_pause_seconds=0.0)
"""Settings for a manual clock: the outbox needs no grace time, and retries need no pause."""
_SECRETS: Final = PredictableSecretSource(1)
"""One counter for all processes, so that tenants have different numbers."""


class Verifier:
    """Accepts a tenant's id as a token with every scope, and `<tenant>/<user>` as a person's.

    The verification of tokens has its own tests.
    """

    async def verify(self, token: str) -> Caller:
        if token == PLATFORM_TOKEN:
            return Caller("platform", "platform", None, frozenset({PLATFORM_SCOPE}))
        tenant_id, _, user_id = token.partition("/")
        if user_id:
            return Caller(user_id, tenant_id, tenant_id, PERSON_SCOPES, user_id)
        return Caller(token, token, token, frozenset(TENANT_SCOPES))


class Interleaved:
    """A port whose every call suspends a random number of times, by a seed."""

    def __init__(self, port: Any, random: Random) -> None:
        self._port = port
        self._random = random

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        if not iscoroutinefunction(attribute):
            return attribute

        async def call(*arguments: Any, **named: Any) -> Any:
            await self._turns()
            result = await attribute(*arguments, **named)
            await self._turns()
            return result

        return call

    async def _turns(self) -> None:
        for _ in range(self._random.randrange(3)):
            await asyncio.sleep(0)


def runtime_of(
    clock: ManualClock, random: Random, documents: Any, ledger: Any, cache: Any, bus: Any, secrets: Any, rail: Any
) -> Runtime:
    """Return a runtime with these ports. Its tokens are the ids of tenants, and webhooks are always accepted."""
    return Runtime(
        settings=AT_ONCE,
        clock=clock,
        random=random,
        secret_source=_SECRETS,
        documents=documents,
        ledger=ledger,
        cache=cache,
        nonces=MemoryNonces(),
        bus=bus,
        secrets=secrets,
        flags=MemoryFlags(),
        verifier=cast("Any", Verifier()),
        telemetry=Telemetry(random, 0.0),
        rails={"pix": rail},
        outgoing=_AcceptingEndpoints(),
    )


class _AcceptingEndpoints:
    """A network in which each webhook endpoint accepts every event at once."""

    async def refusal(self, url: str) -> str | None:
        return None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutgoingAnswer:
        return OutgoingAnswer(204, None, 0)

    async def get(self, url: str, headers: Mapping[str, str]) -> OutgoingDocument:
        return OutgoingDocument(404, None, b"")

    def url_of(self, location: str) -> str:
        return f"https://{location}"
