"""An administrator of a real Unleash, who switches flags in the environment `development`."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from shared.core.flags import Flag
from tests.servers.unleash_server import ADMIN_TOKEN, UnleashServer


class Administrator:
    """Switches flags that exist."""

    def __init__(self, url: str) -> None:
        api = UnleashServer.api_of(url)
        self._client = httpx.Client(base_url=api, headers={"Authorization": ADMIN_TOKEN}, timeout=120)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def switch(self, flag: Flag, on: bool | Sequence[str]) -> None:
        """Turn a flag on or off for all tenants, or on for these."""
        place = self._place(flag)
        constraints = []
        if not isinstance(on, bool):
            constraints = [{"contextName": "tenantId", "operator": "IN", "values": list(on)}]
        for strategy in self._get(f"{place}/strategies"):
            fields = {**strategy, "constraints": constraints}
            self._client.put(f"{place}/strategies/{strategy['id']}", json=fields).raise_for_status()
        self._client.post(f"{place}/{'on' if on else 'off'}").raise_for_status()

    def is_on(self, flag: Flag) -> bool:
        """Return whether a flag is enabled."""
        enabled: bool = self._get(self._place(flag))["enabled"]
        return enabled

    def _get(self, path: str) -> Any:
        return self._client.get(path).raise_for_status().json()

    @staticmethod
    def _place(flag: Flag) -> str:
        return f"/admin/projects/default/features/{flag.name}/environments/development"
