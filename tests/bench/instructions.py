"""`task count -- [CHECKOUT…]`: instructions and calls per payment, as decision 0014 requires.

Each checkout (by default this one) is started twice with its own `lastro up` and its own .venv: once under valgrind's
callgrind, which counts instructions, and once with a profiler that counts calls. Counting starts after a warm-up and
stops when every payment is settled and the platform is idle. Two counts of one version differ by less than one per cent
for the core process and by up to two per cent for the writer; name a checkout twice to see the difference on this
machine. With two checkouts, the last column is the second divided by the first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console
from rich.table import Table

from tests.bench.callgrind import Callgrind, ProgramsMissing, require_programs
from tests.bench.calls import Calls, Tally
from tests.bench.client import connected, send_all
from tests.bench.server import ROOT, Server, applied, end_platforms_on_sigterm, gauge, running
from tests.bench.workload import expect, open_accounts, payments

ACCOUNTS: Final = 100
WAVE: Final = 100
"""The most payments in progress at once. With more than 300, the admission queue refuses a request after ten seconds,
and under callgrind that time passes quickly; `--wave` makes it fewer on a machine that does other work."""
PATIENCE_SECONDS: Final = 600
_ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",
    # No step of a payment may be retried because the run is slow.
    "LASTRO_SAGA_STEP_SECONDS": "3600",
    # The number of payments in a batch depends on the speed of the machine. With batches this long there are so few
    # that their own cost is negligible.
    "LASTRO_STORE_BATCH_SECONDS": "3",
}
_IDLE_SECONDS: Final = 4.0
"""Longer than the interval of a batch, so that a waiting batch is written within this time."""
_IDLE_SHARE: Final = 0.1
"""The share of one processor below which a platform is idle. Its timers use less, also under callgrind."""
_SERIALISE: Final = (
    "orjson.dumps",
    "json.dumps",
    "pydantic_core._pydantic_core.SchemaSerializer.to_json",
    "pydantic_core._pydantic_core.SchemaSerializer.to_python",
)
_PARSE: Final = (
    "orjson.loads",
    "json.loads",
    "pydantic_core._pydantic_core.SchemaValidator.validate_json",
)
_SQL: Final = tuple(
    f"sqlite3.{kind}.{name}" for kind in ("Connection", "Cursor") for name in ("execute", "executemany")
)

T = TypeVar("T")
Figures = dict[str, float]
"""Counts per payment, by what is counted."""


@dataclass(frozen=True, slots=True)
class Work:
    """The number of payments of the warm-up, of those that are counted, and the most that are in progress at once."""

    warm_up: int
    payments: int
    wave: int = WAVE


@dataclass(slots=True)
class Counted:
    """The counts of one checkout, per payment."""

    checkout: str
    python: str
    payments: int
    figures: Figures
    functions: Figures
    """The starts of each Python function in the core process, by `module.qualified name`."""
    c_functions: Figures
    """The same for functions in C."""
    instructions: dict[str, list[float]] = field(default_factory=dict)
    """Instructions per payment in each wave, by process."""


async def count(root: Path, work: Work, *, with_instructions: bool) -> Counted:
    """Count for one checkout. Raises RuntimeError when its platform does not start or does not settle the payments."""
    counted = await _count_calls(root, work)
    if with_instructions:
        counted.instructions = await _count_instructions(root, work)
        counted.figures = {**least(counted.instructions), **counted.figures}
    return counted


def least(instructions: Mapping[str, list[float]]) -> Figures:
    """Return, for each process, the figure of the wave with the fewest instructions.

    Other work (schedules, more batches while the machine is slow) happens in some waves only, and it can only add
    instructions.
    """
    return {f"instructions, {process}": min(waves) for process, waves in instructions.items()}


async def _count_instructions(root: Path, work: Work) -> dict[str, list[float]]:
    """Return the instructions per payment in each wave, by process."""
    with tempfile.TemporaryDirectory() as folder:
        callgrind = Callgrind(Path(folder))
        started = running(
            Path(folder) / "data",
            root=root,
            under=callgrind.command(),
            environment=_ENVIRONMENT,
            patience_seconds=PATIENCE_SECONDS,
        )
        with started as server:
            counts, _ = await _measured(server, work, callgrind.begin, callgrind.end)
    sizes = waves(work.payments, work.wave)
    return {
        "core": [core / size for size, (core, *_) in zip(sizes, counts, strict=True)],
        "writer": [sum(writers) / size for size, (_, *writers) in zip(sizes, counts, strict=True)],
    }


async def _count_calls(root: Path, work: Work) -> Counted:
    with tempfile.TemporaryDirectory() as folder:
        calls = Calls(Path(folder))
        started = running(
            Path(folder) / "data",
            root=root,
            environment={**_ENVIRONMENT, **calls.environment()},
            patience_seconds=PATIENCE_SECONDS,
        )
        with started as server:
            counts, platform = await _measured(server, work, calls.begin, calls.end)
    core = sum((core for core, *_ in counts), start=Tally())
    writer = sum((each for _, *writers in counts for each in writers), start=Tally())
    figures = {**platform, **figures_of(core, writer)}
    return Counted(
        str(root),
        calls.python,
        work.payments,
        _each(figures, work),
        _each(core.starts, work),
        _each(core.c, work),
    )


def _each(totals: Mapping[str, float], work: Work) -> Figures:
    return {name: value / work.payments for name, value in totals.items()}


def figures_of(core: Tally, writer: Tally) -> Figures:
    """Return the totals of the calls of the core process and of the writer, by purpose."""
    return {
        "Python calls, core": core.entries,
        "Python calls, writer": writer.entries,
        "calls into C, core": core.c.total(),
        "calls into C, writer": writer.c.total(),
        "commits": sum(count for name, count in core.starts.items() if name.endswith(".commit")),
        "serialisations": sum(core.c[name] for name in _SERIALISE),
        "JSON texts read": sum(core.c[name] for name in _PARSE),
        "SQL calls, core": sum(core.c[name] for name in _SQL),
        "SQL calls, writer": sum(writer.c[name] for name in _SQL),
    }


async def _measured(
    server: Server, work: Work, begin: Callable[[list[int]], None], end: Callable[[list[int]], list[T]]
) -> tuple[list[list[T]], Figures]:
    """Return the results of `end` for each process after each wave, and the platform's own totals over all waves."""
    accounts = await open_accounts(server.credentials(), ACCOUNTS)
    for wave in waves(work.warm_up, work.wave):
        async with _wave(server, accounts, wave) as settle:
            await settle()
    # A fixed seed, so that each run draws the same accounts.
    random.seed(1)
    pids, before = server.pids(), server.measurements()
    counts: list[list[T]] = []
    for wave in waves(work.payments, work.wave):
        async with _wave(server, accounts, wave) as settle:
            begin(pids)
            await settle()
            counts.append(end(pids))
    after = server.measurements()
    settled = applied(after, "payments/settle") - applied(before, "payments/settle")
    if settled != work.payments:
        raise RuntimeError(f"the platform is idle, but {settled} of {work.payments} payments are settled")
    platform = {
        "events": gauge(after, "log_head") - gauge(before, "log_head"),
        "deliveries": applied(after) - applied(before),
        "batches": gauge(after, "store_batches") - gauge(before, "store_batches"),
    }
    return counts, platform


def waves(number: int, most: int = WAVE) -> list[int]:
    """Split the payments into waves of at most `most`, which the platform admits completely. Returns their sizes."""
    return [min(most, number - sent) for sent in range(0, number, most)]


@asynccontextmanager
async def _wave(server: Server, accounts: list[str], number: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Sign the requests and open a connection for each, which must not be counted. Yields a function that sends them
    and returns when the payments are settled."""
    credentials = server.credentials()
    ready = list(payments(credentials, accounts, number, hot=None))
    async with connected(credentials, number) as connections:

        async def settle() -> None:
            expect(await send_all(connections, iter(ready)), 201)
            await _idle(server)

        yield settle


async def _idle(server: Server) -> None:
    """Wait until the platform is idle, measured by the processor time that it uses and waits for: a request to the
    platform would be counted, too. Raises RuntimeError after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        wanted, since = server.demanded_seconds(), time.monotonic()
        await asyncio.sleep(_IDLE_SECONDS)
        if server.demanded_seconds() - wanted < _IDLE_SHARE * (time.monotonic() - since):
            return
    raise RuntimeError(f"the platform was not idle within {PATIENCE_SECONDS} seconds")


def table(counted: list[Counted], functions: int) -> Table:
    """Return the figures with a column for each checkout, followed by the `functions` most called functions."""
    shown = Table(title=f"A payment, counted over {counted[0].payments}", title_justify="left")
    shown.add_column("what")
    for each in counted:
        shown.add_column(f"{each.checkout}\nPython {each.python}", justify="right")
    if len(counted) == 2:
        shown.add_column("second ÷ first", justify="right")
    for name in counted[0].figures:
        _row(shown, name, [each.figures[name] for each in counted])
    if functions:
        shown.add_section()
        called = [Counter({**each.functions, **each.c_functions}) for each in counted]
        for name, _ in called[0].most_common(functions):
            _row(shown, name, [each[name] for each in called])
    return shown


def _row(shown: Table, name: str, values: list[float]) -> None:
    quotient = [f"{values[1] / values[0]:.3f}" if values[0] else ""] if len(values) == 2 else []
    shown.add_row(name, *(f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}" for value in values), *quotient)


def main() -> None:
    """Count, and print the table or the JSON."""
    parser = argparse.ArgumentParser(prog="task count --", description=__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, help="a checkout; its own .venv runs it if it has one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--payments", type=int, default=400, help="payments that are counted")
    parser.add_argument("--warm-up", type=int, default=400, help="payments before them")
    parser.add_argument("--wave", type=int, default=WAVE, help="payments in progress at once, at most")
    parser.add_argument("--calls-only", action="store_true", help="count calls and no instructions: needs no valgrind")
    parser.add_argument("--functions", type=int, default=0, help="show the most called functions, so many")
    arguments = parser.parse_args()
    if min(arguments.payments, arguments.warm_up, arguments.wave) < 1:
        parser.error("count at least one payment, after a warm-up of at least one, in waves of at least one")
    roots = [checkout.resolve() for checkout in arguments.checkouts] or [ROOT]
    for root in roots:
        if not (root / "cli").is_dir():
            parser.error(f"{root} is not a checkout")
    end_platforms_on_sigterm()
    work = Work(arguments.warm_up, arguments.payments, arguments.wave)
    if not arguments.calls_only:
        try:
            require_programs()
        except ProgramsMissing as missing:
            sys.exit(f"task count: {missing}")
    counted = [asyncio.run(count(root, work, with_instructions=not arguments.calls_only)) for root in roots]
    if arguments.json:
        print(json.dumps([asdict(each) for each in counted], indent=2))
    else:
        Console(width=110).print(table(counted, arguments.functions))


if __name__ == "__main__":
    main()
