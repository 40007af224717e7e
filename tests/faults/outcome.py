"""The outcome of each case, in a file of results, and the table of docs/servers.md that is written from it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tests.servers.installing import CACHE

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "servers.md"
BEGIN: Final = "<!-- faults: written by `task test:faults` -->"
END: Final = "<!-- faults: end -->"
HEAD: Final = (
    "| fault | accepted | settled, declined | refused | answers lost | longest wait | after its end | outcome |"
)
POINTS_BEGIN: Final = "<!-- crash points: written by `task test:faults` -->"
POINTS_END: Final = "<!-- crash points: end -->"
POINTS_HEAD: Final = "| function | crash points at which a process was killed |"
_POINTS: Final = "functions that stand alone"
_VARIABLE: Final = "LASTRO_TEST_FAULTS_RESULTS"


@dataclass(frozen=True)
class Outcome:
    """The figures of a case that held. Times are in seconds."""

    case: str
    accepted: int
    """Payments that were accepted."""
    settled: int
    declined: int
    refunds: int
    refused: int
    lost: int
    had_happened: int
    had_not: int
    longest: float
    recovery: float
    """The time from the end of the fault until every payment that was sent before it was final."""
    dead_letters: int
    """Dead letters that were replayed."""
    looks: int
    note: str = ""
    """What only this case counts."""

    def text(self) -> str:
        """Return the figures as the test run prints them."""
        return (
            f"{self.case}: {self.accepted} payments accepted, {self.settled} settled, {self.declined} declined, "
            f"{self.refunds} refunds; {self.refused} requests refused; {self.lost} answers lost "
            f"({self.had_happened} commands had been accepted, {self.had_not} had not); longest wait "
            f"{self.longest:.1f} s; all final {self.recovery:.1f} s after the fault; {self.dead_letters} dead letters "
            f"replayed; accounts read {self.looks} times{'; ' if self.note else ''}{self.note}"
        )


class Described(Protocol):
    """A case of the table."""

    @property
    def name(self) -> str: ...

    @property
    def fault(self) -> str: ...


def results_file() -> Path:
    """Return the path of the file of results, outside the checkout unless a variable names it."""
    return Path(os.environ.get(_VARIABLE) or CACHE / "faults.json")


def record(outcome: Outcome) -> None:
    """Replace the result of a case in the file of results."""
    with _results() as results:
        results[outcome.case] = asdict(outcome)


def forget(case: str) -> None:
    """Remove the result of a case, which begins."""
    with _results() as results:
        results.pop(case, None)


@contextmanager
def _results() -> Iterator[dict[str, Any]]:
    path = results_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results = read_results()
        yield results
        new = path.with_suffix(".new")
        new.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        new.replace(path)


def read_results() -> dict[str, Any]:
    """Return the result of each case that has been run, by its name."""
    try:
        found: dict[str, Any] = json.loads(results_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def record_points(visited: Mapping[str, Sequence[str]], *, payments: int) -> None:
    """Replace the result of the functions that stand alone: the crash points at which each was killed."""
    with _results() as results:
        results[_POINTS] = {"payments": payments, "visited": {id: list(points) for id, points in visited.items()}}


def points_table(results: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table of crash points. Raises LookupError without a result."""
    found = results.get(_POINTS)
    if found is None:
        raise LookupError(f"no result of {_POINTS}: run `task test:faults`")
    lines = [POINTS_HEAD, "|---|---|"]
    for id, points in found["visited"].items():
        lines.append(f"| `{id}` | {', '.join(f'`{point}`' for point in points)} |")
    kills = sum(len(points) for points in found["visited"].values())
    return [*lines, "", f"{kills} kills in {found['payments']} payments. All of the above held."]


def table(cases: Sequence[Described], results: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table. Raises LookupError for a case without a result."""
    missing = [case.name for case in cases if case.name not in results]
    if missing:
        raise LookupError(f"no results of {', '.join(missing)}: run `task test:faults`")
    lines = [HEAD, "|---|---|---|---|---|---|---|---|"]
    return lines + [_row(case, Outcome(**results[case.name])) for case in cases]


def _row(case: Described, found: Outcome) -> str:
    lost = str(found.lost)
    if found.had_happened or found.had_not:
        lost += f"; {found.had_happened} had happened, {found.had_not} had not"
    held = "held" if not found.dead_letters else f"held; {found.dead_letters} dead letters replayed"
    cells = (
        case.fault,
        str(found.accepted),
        f"{found.settled}, {found.declined}",
        str(found.refused),
        lost,
        f"{found.longest:.1f} s",
        f"{found.recovery:.1f} s",
        f"{held}; {found.note}" if found.note else held,
    )
    return f"| {' | '.join(cells)} |"


def write_tables(cases: Sequence[Described]) -> None:
    """Write both tables into the page, between their markers. Raises LookupError."""
    results, page = read_results(), PAGE.read_text(encoding="utf-8")
    page = _replaced(page, BEGIN, table(cases, results), END)
    PAGE.write_text(_replaced(page, POINTS_BEGIN, points_table(results), POINTS_END), encoding="utf-8")


def _replaced(page: str, begin: str, lines: Sequence[str], end: str) -> str:
    before, _, rest = page.partition(begin)
    text = "\n".join(lines)
    return f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}"


def rows_of_page(begin: str = BEGIN, end: str = END, head: str = HEAD) -> list[str]:
    """Return the first cell of each row of one of the page's tables."""
    between = PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    rows = [line for line in between.splitlines() if line.startswith("| ")]
    assert rows, f"{PAGE.name} has no table between its markers"
    assert rows[0] == head, f"{PAGE.name} has another table"
    return [row.split(" | ")[0].removeprefix("| ") for row in rows[1:]]
