"""The flags as Unleash defined them at one moment, evaluated by Unleash's own engine."""

from __future__ import annotations

from typing import Final

import orjson

from shared.core.flags import Flag

TENANT: Final = "tenantId"
"""The context field of Unleash with the tenant's id, by which strategies select tenants."""


class BadState(ValueError):
    """What was read is no state of flags. The text is the reason."""


class State:
    """What Unleash's API for clients answered. Raises ValueError when it is not the state of flags."""

    def __init__(self, text: str) -> None:
        # Imported here: it loads a library, which only a process with this adapter needs.
        from yggdrasil_engine.engine import UnleashEngine

        self.text = text
        self.names = _names(text)
        self._engine = UnleashEngine()
        try:
            self._engine.take_state(text)
        except (KeyError, TypeError) as error:
            raise BadState(f"the engine does not accept its features: {type(error).__name__} {error}") from None
        # The engine reports a state that it does not understand only by not having its flags.
        taken = {toggle.name for toggle in self._engine.list_known_toggles()}
        if not self.names <= taken:
            raise BadState(f"the engine does not accept the flag {min(self.names - taken)}")

    def enabled(self, flag: Flag, tenant_id: str | None, app: str) -> bool:
        """Return whether a flag is on for a tenant: its default when the state does not have it."""
        properties = {} if tenant_id is None else {TENANT: tenant_id}
        found = self._engine.check_enabled(flag.name, {"appName": app, "properties": properties})
        return bool(found.is_enabled) if found.is_found else flag.default


def _names(text: str) -> frozenset[str]:
    document = orjson.loads(text)
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        raise BadState("it has no list of features")
    names: set[str] = set()
    for feature in features:
        name = feature.get("name") if isinstance(feature, dict) else None
        if not isinstance(name, str):
            raise BadState("a feature has no name")
        names.add(name)
    return frozenset(names)
