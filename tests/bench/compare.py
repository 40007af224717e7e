"""`task compare -- THE_OTHER`: compares two checkouts with alternating runs, because the speed of a machine varies more
than most changes do.

Both platforms run, and blocks of payments are sent to them in turn. The result is the ratio of neighbouring blocks,
with its quartiles. A comparison of a checkout with a clone of itself shows the noise: about 4 % from one start to the
next, because the layout of memory differs at each start.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from tests.bench.server import ROOT, Server, end_platforms_on_sigterm, running
from tests.bench.workload import open_accounts, settled_per_second

ACCOUNTS = 200
WARM_UP = 1500


@dataclass(frozen=True, slots=True)
class Block:
    """The result of one block of payments. Processor times are in microseconds per payment."""

    per_second: float
    core: float
    writer: float


async def _block(server: Server, accounts: list[str], payments: int) -> Block:
    before = server.cpu_seconds_by_process()
    rate = await settled_per_second(server, accounts, payments, None)
    core, *writers = (
        (after - earlier) / payments * 1e6
        for earlier, after in zip(before, server.cpu_seconds_by_process(), strict=True)
    )
    return Block(rate, core, sum(writers))


async def compare(roots: list[Path], rounds: int, payments: int) -> list[list[Block]]:
    """Return the blocks of each checkout. Blocks at the same index were measured one after the other."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = [
            stack.enter_context(running(Path(folder) / str(number), root=root)) for number, root in enumerate(roots)
        ]
        accounts = [await open_accounts(server.credentials(), ACCOUNTS) for server in servers]
        for server, known in zip(servers, accounts, strict=True):
            await settled_per_second(server, known, WARM_UP, None)
        blocks: list[list[Block]] = [[] for _ in servers]
        for turn in range(rounds):
            order = range(len(servers))
            for number in order if turn % 2 == 0 else reversed(order):
                blocks[number].append(await _block(servers[number], accounts[number], payments))
        return blocks


def table(roots: list[Path], blocks: list[list[Block]]) -> Table:
    """Return the medians, and the ratios of neighbouring blocks with their quartiles."""
    shown = Table(title="Alternating runs on this machine", title_justify="left")
    shown.add_column("checkout")
    for name in ("settled/s (best)", "core µs per payment", "writer µs per payment"):
        shown.add_column(name, justify="right")
    for root, own in zip(roots, blocks, strict=True):
        rates = [block.per_second for block in own]
        shown.add_row(
            str(root),
            f"{median(rates):,.0f} ({max(rates):,.0f})",
            f"{median(block.core for block in own):,.0f}",
            f"{median(block.writer for block in own):,.0f}",
        )
    shown.add_section()
    pairs = list(zip(*blocks, strict=True))
    shown.add_row(
        "second ÷ first (quartiles)",
        _ratios([second.per_second / first.per_second for first, second in pairs]),
        _ratios([second.core / first.core for first, second in pairs]),
        _ratios([second.writer / first.writer for first, second in pairs]),
    )
    return shown


def _ratios(values: list[float]) -> str:
    low, _, high = quantiles(values, n=4)
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(prog="task compare --", description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout; its own .venv runs it where it has one")
    parser.add_argument("--rounds", type=int, default=20, help="blocks of each (at least 2)")
    parser.add_argument("--payments", type=int, default=500, help="payments in a block")
    arguments = parser.parse_args()
    if arguments.rounds < 2 or arguments.payments < 1:
        parser.error("use at least two rounds and one payment")
    if not (arguments.other / "cli").is_dir():
        parser.error(f"{arguments.other} is not a checkout")
    end_platforms_on_sigterm()
    roots = [arguments.other.resolve(), ROOT]
    Console(width=110).print(table(roots, asyncio.run(compare(roots, arguments.rounds, arguments.payments))))


if __name__ == "__main__":
    main()
