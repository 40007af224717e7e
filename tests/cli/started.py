"""A platform in its own process, as `lastro up` runs it.

The process starts as a copy of one that has imported the platform's modules. With `fresh` it is a new interpreter.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.forking import Forked, ForkServer
from tests.processes import bound
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 10.0
"""The longest time that the platform may take to end after a signal."""


def environment() -> dict[str, str]:
    """Return the environment of this process without Lastro's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LASTRO_")}


def command(*arguments: str) -> list[str]:
    """Return the command line in this interpreter."""
    return [sys.executable, "-P", "-m", "cli", *arguments]


@cache
def fork_server() -> ForkServer:
    """The process that has imported what a platform needs; the modules of `cli` read the environment."""
    modules = ("typer.main", "rich.console", "httpx", "jwt", "embedded.platform.platform", "embedded.server.running")
    return ForkServer(*modules, env=environment())


@dataclass(slots=True)
class Started:
    """A running platform."""

    process: subprocess.Popen[str] | Forked
    announced: dict[str, Any]
    data_dir: Path

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = str(self.announced["base_url"]).removeprefix("http://").partition(":")
        return host, int(port)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code. Fails when the process takes too long."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def started(
    data_dir: Path,
    *options: str,
    cwd: Path = ROOT,
    files: int | None = None,
    errors: Path | None = None,
    settings: Mapping[str, str] | None = None,
    stderr: IO[bytes] | None = None,
    fresh: bool = False,
    **variables: str,
) -> Iterator[Started]:
    """Start `lastro up` on a free port, wait until it is ready, and kill it at the end.

    `settings` and `variables` are set in its environment; `files` is its limit of open files, for which it is `fresh`.
    Its log goes to `errors` or to `stderr`.
    """
    arguments = ("up", "--port", "0", "--data-dir", str(data_dir), "--json", *options)
    env = {**environment(), **(settings or {}), **variables}
    with ExitStack() as stack:
        log = stack.enter_context(errors.open("wb")) if errors is not None else stderr
        process: subprocess.Popen[str] | Forked
        if fresh or files is not None:
            limited = [] if files is None else ["/bin/sh", "-c", f'ulimit -n {files} && exec "$@"', "sh"]
            own = bound([*limited, *command(*arguments)])
            process = subprocess.Popen(own, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        else:
            process = fork_server().start("cli", *arguments, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line: str = process.stdout.readline()
        assert line, f"lastro up ended with {process.wait()}"
        yield Started(process, json.loads(line), data_dir)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process with these settings in its environment."""
    return fork_server().run("cli", *arguments, cwd=ROOT, env={**environment(), **settings})
