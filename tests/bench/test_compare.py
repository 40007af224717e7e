"""Comparing two checkouts: the order of the runs, and the ratios."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench import compare
from tests.bench.client import Credentials
from tests.bench.compare import Block, table
from tests.bench.fakes import FakePlatforms, FakeServer, rows

Measured = list[tuple[str, int]]


@pytest.fixture
def platforms(monkeypatch: pytest.MonkeyPatch) -> FakePlatforms:
    found = FakePlatforms()
    monkeypatch.setattr(compare, "running", found.running)
    return found


@pytest.fixture
def measured(platforms: FakePlatforms, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """The checkout and the number of payments of each run, in order."""
    found: Measured = []

    async def settled_per_second(server: FakeServer, accounts: list[str], number: int, hot: str | None) -> float:
        assert accounts == ["acc_1", "acc_2"]
        found.append((server.root.name, number))
        server.used += number / 1000 if server.root.name == "a" else number / 500
        return 100.0

    async def open_accounts(credentials: Credentials, number: int) -> list[str]:
        return ["acc_1", "acc_2"]

    monkeypatch.setattr(compare, "settled_per_second", settled_per_second)
    monkeypatch.setattr(compare, "open_accounts", open_accounts)
    return found


async def test_checkouts_alternate(measured: Measured, platforms: FakePlatforms) -> None:
    """Both checkouts warm up and then alternate; the order is reversed in every second round."""
    await compare.compare([Path("a"), Path("b")], rounds=4, payments=10)
    assert measured[:2] == [("a", compare.WARM_UP), ("b", compare.WARM_UP)]
    assert [name for name, _ in measured[2:]] == list("abbaabba")
    assert {number for _, number in measured[2:]} == {10}
    assert len(platforms.stopped) == 2


async def test_blocks(measured: Measured) -> None:
    """A block has the processor time of its own payments, in microseconds per payment, separately for each process."""
    first, second = await compare.compare([Path("a"), Path("b")], rounds=3, payments=10)
    assert [(block.per_second, round(block.core), round(block.writer)) for block in first] == [(100.0, 1000, 250)] * 3
    assert [(block.per_second, round(block.core), round(block.writer)) for block in second] == [(100.0, 2000, 500)] * 3


async def test_failure_stops_both(
    measured: Measured, platforms: FakePlatforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When one checkout fails, both platforms are stopped."""

    async def fail(*_: object) -> float:
        raise RuntimeError("payments were not settled")

    monkeypatch.setattr(compare, "settled_per_second", fail)
    with pytest.raises(RuntimeError):
        await compare.compare([Path("a"), Path("b")], rounds=2, payments=1)
    assert len(platforms.stopped) == len(platforms.started) == 2


def test_ratios_are_of_neighbouring_blocks() -> None:
    """The ratio is the median over neighbouring blocks, so that a machine that becomes slower does not change it."""
    slower_and_slower = [1000.0, 500.0, 250.0, 125.0]
    first = [Block(rate, 1e6 / rate, 1e5 / rate) for rate in slower_and_slower]
    second = [Block(rate * 1.1, 1e6 / rate / 2, 3e5 / rate) for rate in slower_and_slower]
    shown = rows(table([Path("/x/first"), Path("/x/second")], [first, second]))
    assert [row[0] for row in shown] == ["/x/first", "/x/second", "second ÷ first (quartiles)"]
    assert shown[0][1:] == ["375 (1,000)", "3,000", "300"]
    assert shown[2][1:] == ["1.10 (1.10 to 1.10)", "0.50 (0.50 to 0.50)", "3.00 (3.00 to 3.00)"]


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--rounds", "1", "{here}"], "two rounds"),
        (["--payments", "0", "{here}"], "one payment"),
        (["{here}"], "is not a checkout"),
        ([], "other"),
    ],
)
def test_wrong_arguments(
    arguments: list[str],
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Invalid arguments end the command with exit code 2 and the reason."""
    monkeypatch.setattr(sys, "argv", ["compare", *(each.format(here=tmp_path) for each in arguments)])
    with pytest.raises(SystemExit) as ended:
        compare.main()
    assert ended.value.code == 2
    assert output in capsys.readouterr().err
