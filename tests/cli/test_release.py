"""`lastro release status`: the decision, its reasons and its exit code, and where a release stands by its record."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.release.state import COMPLETE, OBSERVED, PAUSED, ROLLED_BACK, RUNNING, SUPERSEDED, Release

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


KUBECTL = """\
#!/bin/sh
folder=$(dirname "$0")
echo "$@" >> "$folder/calls"
if [ "$4" = --namespace=away ]; then echo "Unable to connect to the server" >&2; exit 1; fi
if [ -f "$folder/$3.json" ]; then cat "$folder/$3.json"; exit 0; fi
echo "Error from server (NotFound): configmaps \\"$3\\" not found" >&2
exit 1
"""


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ConfigMaps, and a kubectl that reads them."""
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def store(maps: Path, name: str, outcome: str, phase: int = 2) -> Release:
    """Store a release of two functions that has come to a phase."""
    now = datetime(2026, 11, 27, 3, tzinfo=UTC)
    release = Release(
        id="5d41402abc4b",
        image="registry.example/lastro@sha256:aa",
        commit="c0ffee",
        traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01",
        stable={"payments-settle": "payments-settle-00001", "ledger-post-transfer": "ledger-post-transfer-00001"},
        new={"payments-settle": "payments-settle-00002", "ledger-post-transfer": "ledger-post-transfer-00002"},
        started=now.isoformat(),
        phase_since=now.isoformat(),
    )
    release.note(now, "begin", ["2 new revisions"])
    release.enter(phase, now + timedelta(minutes=5))
    release.outcome = outcome
    release.note(now + timedelta(minutes=9), "hold", ["requests answered with 5xx: 20 of 3000 observations"])
    (maps / f"{name}.json").write_text(json.dumps({"data": release.record()}))
    return release


def shown(*arguments: str) -> Any:
    """Run the command without figures."""
    return CliRunner().invoke(app, ["release", "status", *arguments])


def test_it_shows_where_the_present_release_stands(maps: Path) -> None:
    """Without figures, the command reads the record from the cluster: phase, traffic, reasons, commit, image, trace id,
    and what was done when."""
    store(maps, "lastro-release", RUNNING)
    found = shown()
    assert (found.exit_code, found.output.splitlines()) == (
        3,
        [
            "running in phase 2 (25 % of the traffic)",
            "- requests answered with 5xx: 20 of 3000 observations",
            "release  5d41402abc4b, 2 new revisions, since 2026-11-27T03:00:00+00:00",
            "image    registry.example/lastro@sha256:aa",
            "commit   c0ffee",
            f"trace    {'ab' * 16}",
            "2026-11-27T03:00:00+00:00  begin in phase 0: 2 new revisions",
            "2026-11-27T03:09:00+00:00  hold in phase 2: requests answered with 5xx: 20 of 3000 observations",
        ],
    )
    assert (maps / "calls").read_text() == "get configmap lastro-release --namespace=lastro-release --output=json\n"


def test_it_shows_a_former_release(maps: Path) -> None:
    """With an id it is the record of that release, in JSON for programs."""
    release = store(maps, "release-5d41402abc4b", ROLLED_BACK, phase=0)
    found = shown("5d41402abc4b", "--json")
    assert found.exit_code == 5
    read = json.loads(found.output)
    assert (read["outcome"], read["phase"], read["percent"]) == ("rolled_back", 0, 0)
    assert (read["image"], read["commit"], read["trace_id"]) == (release.image, "c0ffee", "ab" * 16)
    assert (read["revisions"], read["log"]) == (release.new, release.log)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(COMPLETE, 0), (SUPERSEDED, 0), (RUNNING, 3), (OBSERVED, 3), (PAUSED, 4), (ROLLED_BACK, 5)],
)
def test_the_exit_code_is_the_outcome(maps: Path, outcome: str, code: int) -> None:
    """A release that has ended well gives 0, one that goes on 3, a paused one 4, and one that was taken back 5."""
    store(maps, "lastro-release", outcome)
    assert shown().exit_code == code


def test_a_record_that_cannot_be_read_is_named(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing kubectl, a cluster that does not answer, an unknown release, and a ConfigMap without a release are
    errors that say so."""
    assert 'configmaps "release-none" not found' in str(shown("none").exception)
    assert "Unable to connect to the server" in str(shown("--namespace", "away").exception)
    for text in ("{}", "{", '{"id": "x"}'):
        (maps / "lastro-release.json").write_text(json.dumps({"data": {"release": text}}))
        assert "the ConfigMap lastro-release in lastro-release has no release" in str(shown().exception)
    assert "belong together" in str(shown("--phase", "1").exception)
    assert "belong together" in str(shown("x", "--phase", "1", "--metrics", "-").exception)
    monkeypatch.setenv("PATH", "")
    assert "kubectl is not installed" in str(shown().exception)
