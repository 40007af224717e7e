"""The rails of one machine: a provider that the settings name, else its simulator behind this platform's own gateway.

What goes between the platform and its simulator goes through the gateway as any provider's traffic does, in this
process and without a socket: it works before the first connection is taken, and while the last ones drain.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from embedded.simulators.pix import PREFIX, HttpPost, PixSimulator, callback_secret
from shared.adapters.pix.rail import PixHttpRail
from shared.http.messages import HttpRequest

if TYPE_CHECKING:
    from embedded.gateway.gateway import Gateway
    from shared.context.runtime import Runtime

JOURNAL_FILE: Final = "pix-simulator.jsonl"


class OwnPost:
    """Posts to this platform in this process, and to anybody else over HTTP."""

    def __init__(self, gateway: Gateway, base_url: str) -> None:
        self._gateway = gateway
        self._base_url = base_url.rstrip("/")
        self._elsewhere = HttpPost()

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. Raises OSError when there is none."""
        path = url.removeprefix(self._base_url)
        if path == url or not path.startswith("/"):
            return await self._elsewhere(url, headers, body)
        response = await self._gateway.handle(HttpRequest("POST", path, "", dict(headers), body))
        return response.status

    async def aclose(self) -> None:
        """Close the connections."""
        await self._elsewhere.aclose()


async def add_rails(runtime: Runtime, gateway: Gateway, stack: AsyncExitStack) -> dict[str, PixSimulator]:
    """Give the runtime its rails, and return the simulators that are played here, by their names."""
    settings = runtime.settings
    if settings.pix_rail:
        rail = PixHttpRail(settings.pix_rail)
        runtime.rails["pix"] = rail
        stack.push_async_callback(rail.aclose)
        return {}
    import httpx

    post = OwnPost(gateway, settings.base_url)
    simulator = PixSimulator(
        await callback_secret(runtime.secrets, runtime.random),
        runtime.clock,
        runtime.random,
        post,
        settings.data_path / JOURNAL_FILE,
    )
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=gateway), base_url=settings.base_url)
    rail = PixHttpRail(settings.base_url.rstrip("/") + PREFIX, client=client)
    runtime.rails["pix"] = rail
    stack.push_async_callback(post.aclose)
    stack.push_async_callback(rail.aclose)
    stack.push_async_callback(simulator.close)
    return {"pix": simulator}
