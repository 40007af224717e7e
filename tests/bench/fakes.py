"""A platform that settles payments immediately, for tests of the benchmark itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.client import Credentials, Outcome


@dataclass(slots=True)
class FakeServer:
    """Replaces tests.bench.server.Server. Each payment takes one second of the core process and a quarter of a second
    of the writer."""

    root: Path = Path("own")
    sent: list[bytes] = field(default_factory=list)
    settled: int = 0
    used: float = 0.0

    def credentials(self) -> Credentials:
        return Credentials("127.0.0.1", 1, "ten_1", "key_1", "secret", "token")

    def deliveries(self, consumer: str) -> int:
        assert consumer in ("payments/settle", "statements/project_transfer")
        return self.settled

    def cpu_seconds(self) -> float:
        return sum(self.cpu_seconds_by_process())

    def cpu_seconds_by_process(self) -> list[float]:
        return [self.used, self.used / 4]

    def resident_mb(self) -> float:
        return 100.0

    def pids(self) -> list[int]:
        return [7, 8]

    def demanded_seconds(self) -> float:
        return 0.0

    def measurements(self) -> str:
        return (
            f'lastro_event_delivery_seconds_count{{consumer="payments/settle",status="204"}} {self.settled}\n'
            f'lastro_event_delivery_seconds_count{{consumer="accounts/hold_funds",status="204"}} {5 * self.settled}\n'
            f"lastro_log_head {10 * self.settled}\nlastro_store_batches {self.settled / 4}\n"
        )

    def take(self, requests: Sequence[bytes]) -> Outcome:
        """Answer each request with 201."""
        self.sent += requests
        self.settled += len(requests)
        self.used += len(requests)
        return Outcome(1.0, [0.01] * len(requests), {201: len(requests)} if requests else {})


@dataclass(slots=True)
class FakePlatforms:
    """Replaces tests.bench.server.running. It records the started servers in order."""

    started: list[FakeServer] = field(default_factory=list)
    stopped: list[FakeServer] = field(default_factory=list)

    @contextmanager
    def running(self, _data_dir: Path, *_options: str, root: Path = Path("own"), **_how: Any) -> Iterator[FakeServer]:
        server = FakeServer(root)
        self.started.append(server)
        try:
            yield server
        finally:
            self.stopped.append(server)


def rows(table: Table) -> list[list[str]]:
    """Return the cells of a table's rows as a wide terminal shows them."""
    console = Console(width=250, file=StringIO(), force_terminal=False)
    console.print(table)
    assert isinstance(console.file, StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
