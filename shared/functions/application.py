"""The ASGI application of a function that runs alone: the framework's application, with the runtime opened and closed.

`uvicorn --factory shared.functions.application:application` is the command of the image. FUNCTION_TARGET and
FUNCTION_SOURCE select the function, as they do for the framework. Besides the function's paths, the application answers
the probes `/healthz` and `/readyz`; in `lastro up` the platform answers them.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from shared.functions.process import begin_or_exit, install, refuse_to_start

if TYPE_CHECKING:
    from shared.bootstrap.process import Process
    from shared.core.settings import Settings
    from shared.telemetry.logs import Logs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)
_READY: Final = "/readyz"
_PROBES: Final = {"/healthz": "alive", _READY: "ready"}


def application() -> Application:
    """Return the application of the function that FUNCTION_TARGET and FUNCTION_SOURCE select.

    Ends the process with one log line and exit code 1 when a setting is invalid or the function's file does not exist.
    """
    settings, logs = begin_or_exit()
    from functions_framework.aio import create_asgi_app
    from functions_framework.exceptions import FunctionsFrameworkException

    try:
        framework = create_asgi_app(os.environ.get("FUNCTION_TARGET"), os.environ.get("FUNCTION_SOURCE"))  # type: ignore[no-untyped-call]
    except FunctionsFrameworkException as error:
        refuse_to_start(str(error))
    return Application(framework, settings, logs)


class Application:
    """Opens the runtime when the server starts and closes it when the server stops (ASGI's lifespan)."""

    def __init__(self, framework: App, settings: Settings, logs: Logs | None) -> None:
        self._framework = framework
        self._settings = settings
        self._logs = logs
        self._process: Process | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or process the lifespan events of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"] in _PROBES and scope["method"] in ("GET", "HEAD"):
            await self._probe(scope["path"], send)
        else:
            await self._framework(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        from shared.bootstrap.process import Process

        await receive()
        async with AsyncExitStack() as stack:
            process = await stack.enter_async_context(Process(self._settings, logs=self._logs))
            install(process.runtime_alone())
            self._process = process
            stack.callback(install, None)
            # Its stores are opened by the first request or probe.
            log.info("%s has started", os.environ.get("FUNCTION_TARGET", "the function"))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            log.info("stopping")
        if self._logs is not None:
            self._logs.sink.flush()
        await send({"type": "lifespan.shutdown.complete"})

    async def _probe(self, path: str, send: Send) -> None:
        reason, impaired = None, list[str]()
        if path == _READY:
            reason = "the function is starting" if self._process is None else await self._process.trouble()
            impaired = [] if self._process is None else self._process.impairments()
        code, answer = 200, {"status": _PROBES[path], **({"impaired": impaired} if impaired else {})}
        if reason is not None:
            code, answer = 503, {"status": "not ready", "reason": reason}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
