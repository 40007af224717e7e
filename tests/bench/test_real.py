"""`task bench -- --real`: the order of the measurements, the table, and a small run on the real servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import real
from tests.bench.fakes import FakeServer, rows
from tests.bench.server import ROOT
from tests.servers.catalogue import variable_for_tests

FIGURES: dict[str, Any] = {
    "embedded": {
        "spread_per_second": [1000.0, 800.0],
        "hot_per_second": [900.0, 700.0],
        "hot_to_spread": 0.9,
        "half_load": {"per_second": 10.0, "p50_ms": 5.0, "p95_ms": 8.0},
    },
    "real": {
        "spread_per_second": [20.0, 24.0],
        "hot_per_second": [18.0, 21.0],
        "hot_to_spread": 0.88,
        "half_load": {"per_second": 10.0, "p50_ms": 50.0, "p95_ms": 100.0},
    },
    "pace_ms": [17.0, 21.0],
}


async def test_platforms_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a warm-up, the platforms are measured in turn, and the other one first in the next round; latency at half
    the rate of the slower one."""
    platforms: dict[str, Any] = {"embedded": FakeServer(), "real": FakeServer(Path("other"))}
    order: list[tuple[str, int, str | None]] = []
    rates: list[float] = []

    async def settled_per_second(server: FakeServer, accounts: list[str], number: int, hot: str | None) -> float:
        order.append((server.root.name, number, hot))
        return 1000.0 if server.root.name == "own" else 20.0

    async def open_accounts(credentials: object, number: int) -> list[str]:
        return ["acc_1", "acc_2"]

    async def latency(server: FakeServer, accounts: list[str], per_second: float, seconds: int) -> dict[str, float]:
        rates.append(per_second)
        return {"per_second": per_second, "p50_ms": 1.0, "p95_ms": 2.0}

    monkeypatch.setattr(real, "settled_per_second", settled_per_second)
    monkeypatch.setattr(real, "open_accounts", open_accounts)
    monkeypatch.setattr(real, "latency", latency)
    found = await real.measure(platforms, real.Work(payments=30, rounds=2))
    assert order[:2] == [("own", 10, None), ("other", 10, None)]
    first = [("own", 30, None), ("own", 30, "acc_1"), ("other", 30, None), ("other", 30, "acc_1")]
    assert order[2:] == [*first, *first[2:], *first[:2]]
    assert rates == [10.0, 10.0]
    assert found["real"]["spread_per_second"] == [20.0, 20.0]


def test_table_has_ratios() -> None:
    """The table has both platforms' figures and the medians of their ratios."""
    shown = {row[0]: row[1:] for row in rows(real.table(FIGURES))}
    assert shown["settled/s, spread"] == ["900", "22.0", "0.025"]
    assert shown["settled/s, one merchant"] == ["800", "19.5", "0.025"]
    assert shown["one merchant ÷ spread (≥ 0.5)"] == ["0.90", "0.88", ""]
    assert shown["request → settled, p95, at 10.0/s"] == ["8 ms", "100 ms", "12.5"]


@pytest.mark.parametrize("wrong", [("--payments", "0"), ("--accounts", "1"), ("--rounds", "-1")])
def test_work_that_cannot_be_measured(wrong: tuple[str, str]) -> None:
    """A number of payments, accounts or rounds that is too small is refused before anything is started."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--real", *wrong], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "at least" in done.stderr


@pytest.mark.timeout(1800)
def test_small_run(mongodb_url: str, cassandra_url: str, redis_url: str, kafka_url: str, tmp_path: Path) -> None:
    """A small run on running servers prints the table, writes the figures, and ends every process that it started."""
    given = {"mongodb": mongodb_url, "cassandra": cassandra_url, "redis": redis_url, "kafka": kafka_url}
    small = ("--payments", "6", "--accounts", "3", "--rounds", "1", "--latency-seconds", "2")
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--real", *small, "--json", str(tmp_path / "figures.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **{variable_for_tests(name): url for name, url in given.items()}, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "one merchant ÷ spread" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures["real"]["spread_per_second"]) == len(figures["embedded"]["hot_per_second"]) == 1
    assert figures["real"]["half_load"]["p95_ms"] > 0
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_readable(path)]
    assert not [command for command in running if re.search(re.escape(str(tmp_path).encode()), command)]
    assert not list(tmp_path.glob("lastro-servers-*"))


def _is_readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
