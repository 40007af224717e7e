"""Failures on demand, as with the `failCommand` fail point of mongod for tests of drivers.

{configureFailPoint: "failCommand", mode: {times: 1}, data: {failCommands: ["commitTransaction"],
     closeConnection: true, afterwards: true, appName: "one client"}}

`errorCode` with `errorLabels` answers with an error; `closeConnection` closes the client's connection. `afterwards` is
specific to this gateway: the command runs first, so that its outcome is unknown to the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.servers.mongo_gateway.errors import CommandError


class Failure(NamedTuple):
    """The failure of one command."""

    error: CommandError | None
    closes: bool
    after: bool


class FailPoints:
    """The fail point `failCommand`: one for each appName, so that tests that share the gateway are independent."""

    def __init__(self) -> None:
        self._points: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def configure(self, command: Mapping[str, Any]) -> None:
        """Set or remove it. Raises BadValue (2)."""
        if command["configureFailPoint"] != "failCommand":
            raise CommandError(2, "the one fail point is failCommand")
        mode, data = command.get("mode"), command.get("data", {})
        application = str(data.get("appName", ""))
        if mode == "off":
            self._points.pop(application, None)
        elif mode == "alwaysOn":
            self._points[application] = (float("inf"), data)
        elif isinstance(mode, Mapping) and "times" in mode:
            self._points[application] = (int(mode["times"]), data)
        else:
            raise CommandError(2, f"the mode of a fail point is off, alwaysOn or {{times: N}}, and not {mode!r}")

    def of(self, name: str, application: str) -> Failure | None:
        """Return the failure of this command, or None. It uses up one of the times."""
        for key in {application, ""}:
            times, data = self._points.get(key, (0, {}))
            if times <= 0 or name not in data.get("failCommands", ()):
                continue
            self._points[key] = (times - 1, data)
            code = data.get("errorCode")
            labels = tuple(data.get("errorLabels", ()))
            error = None if code is None else CommandError(int(code), "Failing command via fail point", labels=labels)
            return Failure(error, bool(data.get("closeConnection")), bool(data.get("afterwards")))
        return None
