"""`task bench`: payments per second, latency, growth, memory and cold starts on this machine. No test depends on it.

It sends whole payments through signed HTTP, with durability, tracing, metrics and rate limits on. The load generator
runs on the same cores as the platform.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import real
from tests.bench.cold_start import cold_start, compile_sources, functions
from tests.bench.pace import pace_ms
from tests.bench.prefill import prefill
from tests.bench.server import end_platforms_on_sigterm, running
from tests.bench.workload import latency, open_accounts, settled_per_second


@dataclass(frozen=True, slots=True)
class Size:
    """The amount of work of each measurement."""

    payments: int
    latency_seconds: int
    accounts: int
    ledger_lines: int
    rounds: int
    cold_starts: int | None


SHORT = Size(payments=3000, latency_seconds=3, accounts=100, ledger_lines=0, rounds=1, cold_starts=3)
FULL = Size(payments=15000, latency_seconds=10, accounts=1000, ledger_lines=1_000_000, rounds=3, cold_starts=None)


async def measure(workdir: Path, size: Size, *options: str) -> dict[str, Any]:
    """Measure throughput (spread and hot), latency at half of it, memory, and the speed of the machine between the
    rounds."""
    with running(workdir, *options) as server:
        accounts = await open_accounts(server.credentials(), size.accounts)
        await settled_per_second(server, accounts, size.payments // 5, None)
        paces, memory = [pace_ms()], [server.resident_mb()]
        spread: list[float] = []
        hot: list[float] = []
        cpu = 0.0
        # Alternating, because the load of the machine changes meanwhile.
        for _ in range(size.rounds):
            for merchant, rates in ((None, spread), (accounts[0], hot)):
                used = server.cpu_seconds()
                rates.append(await settled_per_second(server, accounts, size.payments, merchant))
                paces.append(pace_ms())
                memory.append(server.resident_mb())
                cpu += server.cpu_seconds() - used
        half = await latency(server, accounts, median(spread) / 2, size.latency_seconds)
        return {
            "spread_per_second": spread,
            "hot_per_second": hot,
            "hot_to_spread": median(here / there for here, there in zip(hot, spread, strict=True)),
            "half_load": half,
            "cpu_us_per_payment": cpu / (size.payments * size.rounds * 2) * 1e6,
            "resident_mb_by_round": memory,
            "pace_ms": paces,
        }


async def growth(workdir: Path, size: Size, per_second: float) -> dict[str, Any]:
    """Measure latency at the same rate with a small ledger and with a large one."""
    with running(workdir) as server:
        accounts = await open_accounts(server.credentials(), size.accounts)
        await latency(server, accounts, per_second, 2)
        small = await latency(server, accounts, per_second, size.latency_seconds)
    lines = await prefill(workdir, accounts, size.ledger_lines)
    with running(workdir) as server:
        await latency(server, accounts, per_second, 2)
        large = await latency(server, accounts, per_second, size.latency_seconds)
    return {"lines": lines, "small_ledger": small, "large_ledger": large}


def _cold_starts(limit: int | None) -> list[dict[str, Any]]:
    """Return the median of three starts of each function, because other load on the machine delays single starts."""
    compile_sources()
    chosen = functions()
    if limit is not None:
        chosen = random.Random(1).sample(chosen, limit)
    return [
        asdict(sorted((cold_start(source) for _ in range(3)), key=lambda start: start.milliseconds)[1])
        for source in chosen
    ]


def run(size: Size) -> dict[str, Any]:
    """Run all measurements."""
    with tempfile.TemporaryDirectory() as folder:
        direct = asyncio.run(measure(Path(folder) / "direct", size))
        faithful = asyncio.run(measure(Path(folder) / "faithful", size, "--faithful"))
        rate = median(direct["spread_per_second"]) / 2
        grown = asyncio.run(growth(Path(folder) / "growth", size, rate)) if size.ledger_lines else None
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}, {sys.base_prefix}",
        "machine": platform.machine(),
        "direct": direct,
        "faithful": faithful,
        "growth": grown,
        "cold_starts": _cold_starts(size.cold_starts),
    }


def table(results: dict[str, Any]) -> Table:
    """Return the table of figures and goals."""
    shown = Table(title=f"Lastro on this machine ({results['python']})", title_justify="left")
    shown.add_column("what")
    shown.add_column("goal")
    shown.add_column("direct", justify="right")
    shown.add_column("--faithful", justify="right")
    columns = (results["direct"], results["faithful"])

    def row(what: str, goal: str, *values: str) -> None:
        shown.add_row(what, goal, *values)

    row("settled/s, spread (median; best)", "≥ 1000", *(_rates(c["spread_per_second"]) for c in columns))
    row("settled/s, one merchant", "≥ 0.8 × spread", *(_rates(c["hot_per_second"]) for c in columns))
    row("hot ÷ spread", "≥ 0.80", *(f"{c['hot_to_spread']:.2f}" for c in columns))
    for name in ("p50", "p95", "p99"):
        goal = "≤ 60 ms" if name == "p95" else ""
        values = (f"{c['half_load'][name + '_ms']:.1f} ms" for c in columns)
        row(f"request → settled {name} at half load", goal, *values)
    row("processor time a payment", "", *(f"{c['cpu_us_per_payment']:.0f} µs" for c in columns))
    row(
        "memory round by round (MiB)",
        "bounded",
        *(" ".join(f"{each:.0f}" for each in c["resident_mb_by_round"]) for c in columns),
    )
    row(
        "a fixed piece of Python, between rounds",
        "",
        *(f"{min(c['pace_ms']):.0f} to {max(c['pace_ms']):.0f} ms" for c in columns),
    )
    if results["growth"]:
        grown = results["growth"]
        row("p95 with a small ledger", "", f"{grown['small_ledger']['p95_ms']:.1f} ms", "")
        row(f"p95 with {grown['lines']:,} lines", "flat", f"{grown['large_ledger']['p95_ms']:.1f} ms", "")
    starts = results["cold_starts"]
    slowest = max(starts, key=lambda start: start["milliseconds"])
    heaviest = max(starts, key=lambda start: start["resident_mb"])
    row(f"cold start, middle of {len(starts)}", "", f"{median(s['milliseconds'] for s in starts):.0f} ms", "")
    row(f"cold start, slowest of {len(starts)}", "≤ 300 ms", f"{slowest['milliseconds']:.0f} ms", slowest["function"])
    row("heaviest at rest", "≤ 70 MB", f"{heaviest['resident_mb']:.0f} MiB", heaviest["function"])
    return shown


def _rates(rates: list[float]) -> str:
    return f"{median(rates):,.0f}; {max(rates):,.0f}"


def main() -> None:
    """Measure, print the table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(prog="task bench --", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a minute instead of a quarter of an hour")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--real", action="store_true", help="real servers, which are started, beside the embedded ones")
    for name, default in asdict(real.Work()).items():
        text = f"with --real: {name.replace('_', ' ')} ({default})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=text)
    arguments = parser.parse_args()
    work = real.Work(**{name: getattr(arguments, name) for name in asdict(real.Work())})
    if min(asdict(work).values()) < 1 or work.accounts < 2:
        parser.error("each number is at least 1, and at least two accounts pay each other")
    end_platforms_on_sigterm()
    if arguments.real:
        results = real.run(work)
        shown = real.table(results)
    else:
        results = run(SHORT if arguments.short else FULL)
        shown = table(results)
    Console(width=110).print(shown)
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
