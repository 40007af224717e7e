"""A function with a fault: the application of the image, as a bad release would have it.

It is mounted into a revision of the test cluster and runs there alone, with FAULT (`errors`, `slow` or `unready`) and
FAULT_SECONDS in its environment: tests/cluster/releasing.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from types import ModuleType
from typing import Any, Final

import shared.http.target
import shared.messaging.target
from shared.functions import application as whole

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
_FAULT: Final = os.environ.get("FAULT", "")
_SECONDS: Final = float(os.environ.get("FAULT_SECONDS", "0"))
_ANSWERED: Final = 3
"""How many requests an instance answers before it is not ready any more."""


def application() -> App:
    """Return the application of the function, with the fault."""
    _spoil(shared.http.target, "HttpOperation")
    _spoil(shared.messaging.target, "EventOperation")
    made = whole.application()
    return Unready(made) if _FAULT == "unready" else made


def _spoil(module: ModuleType, name: str) -> None:
    """Let a decorator describe an operation whose handler has the fault."""
    described = getattr(module, name)
    setattr(module, name, lambda **fields: described(**{**fields, "handler": _faulty(fields["handler"])}))


def _faulty(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def spoilt(*arguments: Any, **named: Any) -> Any:
        if _FAULT == "slow":
            await asyncio.sleep(_SECONDS)
        found = await handler(*arguments, **named)
        if _FAULT == "errors":
            raise RuntimeError("the fault of this revision")
        return found

    return spoilt


class Unready:
    """Answers a few requests, and then 503 to all and to the readiness probe, as without its stores."""

    def __init__(self, application: App) -> None:
        self._application = application
        self._answered = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or process the lifespan events of the server."""
        if scope["type"] != "http" or (self._answered < _ANSWERED and scope["path"] in ("/healthz", "/readyz")):
            await self._application(scope, receive, send)
        elif self._answered < _ANSWERED:
            self._answered += 1
            await self._application(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"the fault of this revision"})
