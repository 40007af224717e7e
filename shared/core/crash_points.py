"""Points at which a test can kill the process, to show what survives a crash.

They do nothing unless LASTRO_CRASH_AT=<name>[:<n>] is in the environment. Then the process that reaches the point for
the n-th time (default: the first) is killed at once, as by a power failure.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "LASTRO_CRASH_AT"

NAMES: Final[dict[str, str]] = {
    "store.decided": "a commit was applied in memory and not yet submitted to the writer",
    "store.submitting": "a batch is complete and not yet submitted to the writer",
    "writer.received": "the writer has received a batch and not yet begun its transaction",
    "writer.applied": "the writer has written every row of a batch and not yet committed the transaction",
    "writer.committed": "a batch is on disk and not yet reported",
    "writer.reported": "the writer has reported that a batch is on disk",
    "store.durable": "the store has received the report of a batch and not yet woken the waiting requests",
    "ledger.recorded": "a transfer is recorded in memory and its event is not yet committed",
    "ledger.claimed": "Cassandra has the claim of a new transfer, and the lines of its legs are not written",
    "ledger.appended": "lines are in a journal on Cassandra, and their positions are not written",
    "documents.written": "MongoDB has every write of a transaction, and its commit is not sent",
    "documents.committed": "MongoDB has committed a transaction, and its process has done nothing since",
    "outbox.published": "the bus has accepted the events of a commit, and they are not marked as sent",
    "request.decided": "the handler of a request has returned and its commit has not begun",
    "request.committed": "a request's effect is committed in memory and its events are not yet published",
    "request.closed": "the final response of a waiting request is committed and not yet sent",
    "request.waited": "the result that a request waits for exists and the stored response is still the first one",
    "request.durable": "a request's effect is on disk and its response is not yet sent",
    "event.decided": "the handler of an event has returned and its commit has not begun",
    "event.committed": "the effect of an event is committed in memory and its own events are not yet published",
    "part.decided": "the handler of one tenant's part of a sweep or callback has returned and its commit has not begun",
    "part.committed": "one tenant's part of a sweep or callback is committed and the other parts are not",
    "broker.delivering": "the broker is about to deliver an event",
    "broker.delivered": "a function has answered a delivery and the broker has not yet processed the status",
    "broker.dead_lettered": "the dead letter sink has accepted an event and that is not yet acknowledged",
}
"""The names of all points, with the state at each; tests visit every one. Points named `writer.` are in the process or
thread of the writer."""

ON_SERVERS: Final = frozenset(
    {"ledger.claimed", "ledger.appended", "documents.written", "documents.committed", "outbox.published"}
)
"""The points that only a process with its stores on servers reaches."""
EMBEDDED: Final = frozenset(name for name in NAMES if name.startswith(("store.", "writer."))) | {"ledger.recorded"}
"""The points that only a process with embedded stores reaches."""


class _Armed:
    """The point at which this process is to be killed, and the number of passes before that."""

    __slots__ = ("name", "passes")

    def __init__(self, text: str) -> None:
        name, _, count = text.partition(":")
        if name not in NAMES:
            raise ValueError(f"{VARIABLE}={text!r} is not a crash point; the names are {', '.join(NAMES)}")
        self.name = name
        self.passes = int(count or 1) - 1


_armed: _Armed | None = _Armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def _reach(name: str) -> None:
    if _armed is None or _armed.name != name:
        return
    if _armed.passes:
        _armed.passes -= 1
        return
    os.kill(os.getpid(), signal.SIGKILL)


# A payment passes some fifty points. When none is armed, each is a call of a builtin without effect, which costs a
# third of the call of a function.
reach: Final[Callable[[str], object]] = id if _armed is None else _reach
"""Called with the name of a point: returns, or kills the process."""
