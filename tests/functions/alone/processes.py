"""Two processes of each of some functions, started as they are deployed, of which a test may kill one."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from shared.adapters.sqlite.schema import LOCK
from tests.forking import Forked
from tests.functions.alone.starting import (
    ROOT,
    Alone,
    Reply,
    arguments,
    environment_of,
    fork_server,
    free_port,
    stopped,
)

PROCESSES: Final = 2
PATH: Final = (
    "payments/create_payment",
    "accounts/hold_funds",
    "payments/authorize",
    "ledger/post_transfer",
    "accounts/apply_transfer",
    "payments/settle",
    "statements/project_transfer",
)
"""The functions through which a payment goes."""
_numbers = count()


@dataclass
class Function:
    """The processes of one function."""

    source: str
    data_dir: Path
    settings: dict[str, str]
    closing: ExitStack
    processes: list[tuple[Forked, Alone]]

    def start(self) -> None:
        """Start another process."""
        self.processes.append(self.launched())

    def launched(self, **settings: str) -> tuple[Forked, Alone]:
        """Start a process with some more settings, which is not one of `processes`."""
        errors = self.data_dir.parent / f"{Path(self.source).stem}-{next(_numbers)}.errors"
        alone = Alone(free_port(), errors, "")
        with errors.open("wb") as stream:
            environment = environment_of(self.source, self.data_dir, self.settings | settings)
            process = fork_server().start("uvicorn", *arguments(alone), cwd=ROOT, env=environment, stderr=stream)
        self.closing.enter_context(stopped(process, alone))
        return process, alone

    def kill(self) -> None:
        """Kill the first process with SIGKILL, and start a replacement."""
        process, _ = self.processes[0]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self.start()
        del self.processes[0]

    async def both(self, method: str, path: str, headers: list[dict[str, str]], body: bytes) -> list[Reply | OSError]:
        """Send a request to both processes concurrently; the answer of a killed process is its error."""

        async def sent(alone: Alone, own: dict[str, str]) -> Reply | OSError:
            try:
                return await asyncio.to_thread(alone.send, method, path, own, body)
            except OSError as error:
                return error

        return await asyncio.gather(
            *(sent(alone, own) for (_, alone), own in zip(self.processes, headers, strict=True))
        )


@contextmanager
def functions(
    ids: Iterable[str], data_dir: Path, settings: dict[str, str], *, processes: int = PROCESSES
) -> Iterator[dict[str, Function]]:
    """Start so many processes of each of these functions, while the test holds the embedded store."""
    with ExitStack() as closing:
        lock = closing.enter_context((data_dir / LOCK).open())
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = {id: Function(f"functions/{id}.py", data_dir, settings, closing, []) for id in ids}
        for function in started.values():
            for _ in range(processes):
                function.start()
        yield started
