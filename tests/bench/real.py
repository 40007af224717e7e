"""`task bench -- --real`: the platform on real servers beside the embedded one, in one run on one machine.

Both platforms run, and blocks of payments are sent to them in turn, because the speed of a machine varies: the ratios
of neighbouring blocks count, and no absolute figure does. The servers are started for the run and stopped at its end.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from rich.table import Table

from tests.bench.pace import pace_ms
from tests.bench.real_servers import STORES, servers, settings_on
from tests.bench.server import Server, running
from tests.bench.workload import latency, open_accounts, settled_per_second

EMBEDDED, REAL = "embedded", "real"
_START_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Work:
    """The amount of work: payments in a block, accounts of each platform, blocks, and seconds of the latency."""

    payments: int = 300
    accounts: int = 100
    rounds: int = 3
    latency_seconds: int = 10


def run(work: Work) -> dict[str, Any]:
    """Start the servers and both platforms, measure, and stop them."""
    with tempfile.TemporaryDirectory() as folder, servers(STORES) as urls:
        settings = settings_on(urls, f"bench_{uuid4().hex[:12]}")
        with (
            running(Path(folder) / EMBEDDED, patience_seconds=_START_SECONDS) as embedded,
            running(Path(folder) / REAL, environment=settings, patience_seconds=_START_SECONDS) as real,
        ):
            return asyncio.run(measure({EMBEDDED: embedded, REAL: real}, work))


async def measure(platforms: dict[str, Server], work: Work) -> dict[str, Any]:
    """Measure payments settled per second, to random accounts and to one merchant, and the time that one takes."""
    accounts = {name: await open_accounts(server.credentials(), work.accounts) for name, server in platforms.items()}
    for name, server in platforms.items():
        await settled_per_second(server, accounts[name], max(1, work.payments // 3), None)
    spread: dict[str, list[float]] = {name: [] for name in platforms}
    hot: dict[str, list[float]] = {name: [] for name in platforms}
    paces = [pace_ms()]
    for turn in range(work.rounds):
        for name in sorted(platforms, reverse=bool(turn % 2)):
            server, known = platforms[name], accounts[name]
            spread[name].append(await settled_per_second(server, known, work.payments, None))
            hot[name].append(await settled_per_second(server, known, work.payments, known[0]))
        paces.append(pace_ms())
    # At half the load that the slower platform reached, so that none of them has a queue.
    per_second = min(median(rates) for rates in spread.values()) / 2
    waited = {
        name: await latency(server, accounts[name], per_second, work.latency_seconds)
        for name, server in platforms.items()
    }
    return {
        name: {
            "spread_per_second": spread[name],
            "hot_per_second": hot[name],
            "hot_to_spread": median(here / there for here, there in zip(hot[name], spread[name], strict=True)),
            "half_load": waited[name],
        }
        for name in platforms
    } | {"pace_ms": paces}


def table(results: dict[str, Any]) -> Table:
    """Return the table of both platforms and their ratios."""
    embedded, real = results[EMBEDDED], results[REAL]
    shown = Table(title="Real servers beside the embedded platform, in one run", title_justify="left")
    shown.add_column("what")
    for name in (EMBEDDED, "real servers", "real ÷ embedded"):
        shown.add_column(name, justify="right")
    for what, key in (("settled/s, spread", "spread_per_second"), ("settled/s, one merchant", "hot_per_second")):
        ratios = [ours / theirs for ours, theirs in zip(real[key], embedded[key], strict=True)]
        shown.add_row(what, f"{median(embedded[key]):,.0f}", f"{median(real[key]):,.1f}", f"{median(ratios):.3f}")
    shares = [f"{each['hot_to_spread']:.2f}" for each in (embedded, real)]
    shown.add_row("one merchant ÷ spread (≥ 0.5)", *shares, "")
    rate = real["half_load"]["per_second"]
    for name in ("p50", "p95"):
        ours, theirs = (each["half_load"][f"{name}_ms"] for each in (real, embedded))
        what = f"request → settled, {name}, at {rate:.1f}/s"
        shown.add_row(what, f"{theirs:.0f} ms", f"{ours:.0f} ms", f"{ours / theirs:.1f}")
    paces = results["pace_ms"]
    shown.add_row("a fixed piece of Python, between rounds", f"{min(paces):.0f} to {max(paces):.0f} ms", "", "")
    return shown
