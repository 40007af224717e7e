"""The table of faults in docs/servers.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import outcome
from tests.faults.cases import CASES
from tests.faults.outcome import (
    BEGIN,
    END,
    HEAD,
    POINTS_BEGIN,
    POINTS_END,
    POINTS_HEAD,
    Outcome,
    forget,
    read_results,
    record,
    record_points,
    rows_of_page,
    write_tables,
)
from tests.functions.alone.test_crash_points import POINTS


def test_the_page_has_a_row_for_each_case() -> None:
    """The table has one row for each case, in their order, and no other."""
    assert rows_of_page() == [case.fault for case in CASES]


def test_the_page_has_a_row_for_each_function_that_is_killed() -> None:
    """The table of crash points has one row for each function that stands alone and has points, and no other."""
    assert rows_of_page(POINTS_BEGIN, POINTS_END, POINTS_HEAD) == [f"`{id}`" for id, points in POINTS.items() if points]


def a_result(case: str, *, dead_letters: int = 0) -> Outcome:
    """Return the outcome of a case with some figures."""
    return Outcome(case, 50, 42, 8, 8, 17, 2, 1, 1, 3.21, 0.5, dead_letters, 90)


def test_the_table_is_written_from_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of the last run of each case replace the table between the markers, and nothing else of the page."""
    page = tmp_path / "servers.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\n{POINTS_BEGIN}\n{POINTS_END}\nafter\n")
    monkeypatch.setattr(outcome, "PAGE", page)
    monkeypatch.setenv("LASTRO_TEST_FAULTS_RESULTS", str(tmp_path / "results.json"))
    for case in CASES:
        record(a_result(case.name, dead_letters=9))
        record(a_result(case.name, dead_letters=3))
    record_points({"accounts/hold_funds": ("event.decided", "event.committed")}, payments=3)
    write_tables(CASES)
    lines = page.read_text().splitlines()
    assert "| `accounts/hold_funds` | `event.decided`, `event.committed` |" in lines
    assert "2 kills in 3 payments. All of the above held." in lines
    assert (lines[0], lines[-1]) == ("before", "after")
    assert lines[4] == HEAD
    assert lines[6] == (
        f"| {CASES[0].fault} | 50 | 42, 8 | 17 | 2; 1 had happened, 1 had not | 3.2 s | 0.5 s "
        "| held; 3 dead letters replayed |"
    )
    assert rows_of_page() == [case.fault for case in CASES]


def test_a_case_without_a_result_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that has begun and has no result keeps the table from being written, and is named."""
    monkeypatch.setenv("LASTRO_TEST_FAULTS_RESULTS", str(tmp_path / "results.json"))
    for case in CASES:
        record(a_result(case.name))
    with pytest.raises(LookupError, match="stand alone"):
        write_tables(CASES)
    forget(CASES[1].name)
    assert len(read_results()) == len(CASES) - 1
    with pytest.raises(LookupError, match=CASES[1].name):
        write_tables(CASES)
