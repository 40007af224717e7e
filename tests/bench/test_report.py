"""`task bench`: the measurements, their order, and the table of figures and goals."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.records.catalogue import COLLECTIONS
from tests.bench import __main__ as bench
from tests.bench import cold_start
from tests.bench.client import Credentials
from tests.bench.cold_start import ColdStart, functions
from tests.bench.fakes import FakePlatforms, FakeServer, rows
from tests.bench.pace import pace_ms
from tests.bench.prefill import prefill
from tests.bench.server import ROOT
from tests.opening import open_adapter

MEASURED = {
    "spread_per_second": [900.0, 1100.0, 1000.0],
    "hot_per_second": [800.0, 850.0, 990.0],
    "hot_to_spread": 0.854,
    "half_load": {"p50_ms": 12.34, "p95_ms": 45.6, "p99_ms": 78.9},
    "cpu_us_per_payment": 1444.4,
    "resident_mb_by_round": [101.4, 120.6],
    "pace_ms": [17.2, 21.9, 18.0],
}
STARTS = [
    {"function": "payments/settle", "milliseconds": 250.0, "resident_mb": 69.0},
    {"function": "users/get_user", "milliseconds": 310.0, "resident_mb": 60.0},
    {"function": "ledger/post_transfer", "milliseconds": 200.0, "resident_mb": 61.0},
]
GROWTH = {"lines": 1_000_000, "small_ledger": {"p95_ms": 31.0}, "large_ledger": {"p95_ms": 33.0}}


def results(growth: dict[str, Any] | None = GROWTH) -> dict[str, Any]:
    return {
        "python": "CPython 3.11.2, /usr",
        "direct": MEASURED,
        "faithful": MEASURED,
        "growth": growth,
        "cold_starts": STARTS,
    }


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str | None]]:
    """The measured blocks of payments: the number of payments, and the merchant."""
    found: list[tuple[int, str | None]] = []

    async def settled_per_second(server: FakeServer, accounts: list[str], number: int, hot: str | None) -> float:
        found.append((number, hot))
        server.used += number / 1000
        return 1000.0 if hot is None else 900.0

    async def open_accounts(credentials: Credentials, number: int) -> list[str]:
        return ["acc_1", "acc_2"]

    async def latency(server: FakeServer, accounts: list[str], per_second: float, seconds: int) -> dict[str, float]:
        return {"per_second": per_second, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}

    monkeypatch.setattr(bench, "settled_per_second", settled_per_second)
    monkeypatch.setattr(bench, "open_accounts", open_accounts)
    monkeypatch.setattr(bench, "latency", latency)
    monkeypatch.setattr(bench, "running", FakePlatforms().running)
    return found


async def test_rounds_alternate(order: list[tuple[int, str | None]]) -> None:
    """After a warm-up, spread payments and payments to one merchant alternate, and latency is measured at half the
    rate."""
    size = bench.Size(payments=100, latency_seconds=1, accounts=2, ledger_lines=0, rounds=2, cold_starts=0)
    found = await bench.measure(Path("/x"), size)
    assert order == [(20, None), (100, None), (100, "acc_1"), (100, None), (100, "acc_1")]
    assert found["spread_per_second"] == [1000.0, 1000.0]
    assert found["hot_to_spread"] == pytest.approx(0.9)
    assert found["half_load"]["per_second"] == 500.0
    assert found["cpu_us_per_payment"] == pytest.approx(1250.0)
    assert len(found["pace_ms"]) == len(found["resident_mb_by_round"]) == 5


def test_table_shows_goals_and_figures() -> None:
    """Each figure is shown with its goal: rates as median and best, latencies in milliseconds, and the slowest
    start."""
    shown = {row[0]: row[1:] for row in rows(bench.table(results()))}
    assert shown["settled/s, spread (median; best)"] == ["≥ 1000", "1,000; 1,100", "1,000; 1,100"]
    assert shown["settled/s, one merchant"][1] == "850; 990"
    assert shown["hot ÷ spread"] == ["≥ 0.80", "0.85", "0.85"]
    assert shown["request → settled p95 at half load"] == ["≤ 60 ms", "45.6 ms", "45.6 ms"]
    assert shown["memory round by round (MiB)"][1] == "101 121"
    assert shown["a fixed piece of Python, between rounds"][1] == "17 to 22 ms"
    assert shown["p95 with 1,000,000 lines"][:2] == ["flat", "33.0 ms"]
    assert shown["cold start, middle of 3"][1] == "250 ms"
    assert shown["cold start, slowest of 3"] == ["≤ 300 ms", "310 ms", "users/get_user"]
    assert shown["heaviest at rest"] == ["≤ 70 MB", "69 MiB", "payments/settle"]


def test_table_without_growth() -> None:
    """A short run has no rows about a grown ledger."""
    assert not [row for row in rows(bench.table(results(growth=None))) if "ledger" in row[0]]


def test_each_start_is_the_median_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median of a function's three starts counts, and a limit selects the same functions each time."""
    times = [300.0, 100.0, 200.0]
    started: list[Path] = []

    def start(source: Path) -> ColdStart:
        started.append(source)
        return ColdStart(source.stem, times[(len(started) - 1) % 3], 60.0)

    monkeypatch.setattr(bench, "cold_start", start)
    monkeypatch.setattr(bench, "compile_sources", lambda: None)
    found = bench._cold_starts(2)
    assert [each["milliseconds"] for each in found] == [200.0, 200.0]
    first = list(started)
    bench._cold_starts(2)
    assert started[len(first) :] == first


def test_every_function_is_started() -> None:
    """The started functions are those that have a Service, each once."""
    services = [path.stem for path in ROOT.glob("knative/functions/*/*.yaml")]
    assert sorted(path.stem.replace("-", "_") for path in functions()) == sorted(services)


def test_function_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function whose process ends before it answers is an error."""
    monkeypatch.setattr(cold_start, "sys", type("Broken", (), {"executable": "/bin/false"}))
    with pytest.raises(RuntimeError, match="did not start"):
        cold_start.cold_start(ROOT / "functions" / "users" / "get_user.py")


def test_pace_is_measured() -> None:
    """The pace is a time greater than zero."""
    assert pace_ms() > 0


async def test_prefilled_ledger_balances(tmp_path: Path) -> None:
    """A prefilled ledger has the requested number of lines, half of them debits, and they add up to zero."""
    assert await prefill(tmp_path, ["acc_1", "acc_2", "acc_3"], 12) == 12
    store = await open_adapter(
        SqliteStore(tmp_path, settings=Settings(data_dir=str(tmp_path)), clock=SystemClock(), collections=COLLECTIONS)
    )
    try:
        turnover = await store.ledger.turnover("demo")
        lines = [await store.ledger.entries("demo", each.account_id, 0, 100) for each in turnover]
    finally:
        await store.aclose()
    assert sum(len(each) for each in lines) == 12
    assert sum(each.debits for each in turnover) == sum(each.credits for each in turnover) == 6


def test_command_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json the figures go to a file and the table to the terminal."""
    sizes: list[bench.Size] = []

    def run(size: bench.Size) -> dict[str, Any]:
        sizes.append(size)
        return results()

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(bench, "end_platforms_on_sigterm", lambda: None)
    monkeypatch.setattr(sys, "argv", ["bench", "--short", "--json", str(tmp_path / "figures.json")])
    bench.main()
    assert sizes == [bench.SHORT]
    assert json.loads((tmp_path / "figures.json").read_text()) == results()
    printed = capsys.readouterr().out
    assert "settled/s" in printed
    assert "spread_per_second" not in printed
