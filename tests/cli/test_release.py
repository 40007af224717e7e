"""`lastro release status`: the decision, its reasons and its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app

GOOD: dict[str, Any] = {"errors": {"value": 0.0, "observations": 5000}, "latency": {"value": 0.1, "observations": 5000}}


def status(metrics: Any, *options: str) -> Any:
    """Run the command on figures that it reads from standard input."""
    text = metrics if isinstance(metrics, str) else json.dumps(metrics)
    return CliRunner().invoke(app, ["release", "status", "--phase", "1", "--metrics", "-", *options], input=text)


def test_the_exit_code_is_the_decision(tmp_path: Path) -> None:
    """The command ends with 0 to promote, 3 to go on, 4 to pause and 5 to roll back, and gives the reasons."""
    release = {"minutes": 12, "is_ready": True, "measured": GOOD}
    promoted = status(release)
    assert (promoted.exit_code, promoted.output.splitlines()[0]) == (0, "promote in phase 1 (5 % of the traffic)")
    assert status({**release, "measured": {}}).exit_code == 3
    lost = {**GOOD, "dead_letters": {"value": 0.01, "observations": 50_000}}
    assert status({**release, "measured": lost}).exit_code == 4
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps({**release, "is_ready": False}))
    run = CliRunner().invoke(app, ["release", "status", "--phase", "4", "--metrics", str(file), "--json"])
    assert run.exit_code == 5
    assert json.loads(run.output) == {
        "phase": 4,
        "percent": 100,
        "action": "roll_back",
        "reasons": ["an instance of the new version is not ready"],
        "with_consumers": False,
    }


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ("{", "standard input: Invalid JSON"),
        ({"measured": {}}, "standard input: minutes: Field required"),
        ({"minutes": -1, "measured": {}}, "minutes: Input should be greater than or equal to 0"),
        ({"minutes": 1, "measured": {"lag": {"value": "1"}}}, "measured.lag.value: Input should be a valid number"),
        ({"minutes": 1, "measured": {"fast": {"value": 1}}}, "measured.fast: known are unavailable, latency,"),
        ({"minutes": 1, "measured": {"errors": {"value": 1.5}}}, "measured.errors: a share is from 0 to 1"),
    ],
)
def test_wrong_figures_are_refused(metrics: Any, reason: str) -> None:
    """Figures that are incomplete or of another form are refused with the place, and nothing is decided."""
    refused = status(metrics)
    assert reason in str(refused.exception)


def test_a_missing_file_is_named() -> None:
    """A file that cannot be read is named."""
    run = CliRunner().invoke(app, ["release", "status", "--phase", "1", "--metrics", "missing.json"])
    assert str(run.exception) == "missing.json cannot be read: No such file or directory"
