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
    "store.decided": "a commit was applied in memory and is not yet with the writer",
    "store.submitting": "a batch is closed and about to be handed to the writer",
    "writer.received": "the writer has a whole batch and has not begun its transaction",
    "writer.applied": "every row of a batch is written and the transaction is not committed",
    "writer.committed": "a batch is on disk and nobody was told",
    "writer.reported": "the writer has said that a batch is on disk",
    "store.durable": "the core knows that a batch is on disk and has not yet told those who wait",
    "ledger.recorded": "a transfer is recorded in memory and its event's commit is still to come",
    "request.decided": "an operation has decided and nothing of it is committed",
    "request.committed": "a request's effect is committed in memory and its events are not handed to the bus",
    "request.closed": "the answer that was waited for is committed and nobody was answered",
    "request.waited": "what a request waited for has come about and its kept answer still tells of the beginning",
    "request.durable": "a request's effect is on disk and nobody was answered",
    "event.decided": "a function has decided on an event and nothing of it is committed",
    "event.committed": "a function's effect is committed in memory and its events are not handed to the bus",
    "part.decided": "one tenant's part of a sweep or a callback is decided and not committed",
    "part.committed": "one tenant's part of a sweep or a callback is committed, and the rest is still to come",
    "broker.delivering": "a delivery is about to be made",
    "broker.delivered": "a function has answered and the broker has drawn no conclusion",
    "broker.dead_lettered": "a dead letter sink has taken an event and that is not acknowledged",
}
"""All points; tests visit each. Points named `writer.` are in the process or thread of the writer."""


class _Armed:
    """The point at which this process is to be killed, and how often it may be passed before."""

    __slots__ = ("name", "passes")

    def __init__(self, text: str) -> None:
        name, _, count = text.partition(":")
        if name not in NAMES:
            raise ValueError(f"{VARIABLE}={text!r} names no crash point; there are {', '.join(NAMES)}")
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
"""Called with the name of a point: return, or kill the process."""
