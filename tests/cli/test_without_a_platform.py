"""The command line when nothing runs: help, versions, and errors that say what to do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli.main import app
from cli.output import money
from tests.cli.started import ROOT, environment, run


def test_no_credentials_says_how_to_get_some(tmp_path: Path) -> None:
    """Without credentials, one line says how to start a platform with this data directory."""
    result = run("functions", "--data-dir", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.strip().endswith(f"Or start one: lastro up --data-dir {tmp_path}")
    assert "name that with --data-dir or LASTRO_DATA_DIR" in result.stderr


def test_no_server_says_how_to_start_it(tmp_path: Path) -> None:
    """With credentials but no server, one line says how to start the platform."""
    content = {
        "base_url": "http://127.0.0.1:9",
        "token_url": "http://127.0.0.1:9/token",
        "audience": "lastro-api",
        "platform": {"client_id": "a", "client_secret": "b"},
    }
    (tmp_path / "credentials.json").write_text(json.dumps(content))
    result = run("request", "--platform", "GET", "/v1/tenants/x", "--data-dir", str(tmp_path))
    assert result.returncode == 1
    assert "does not answer at http://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_client_of_the_platform_is_named(tmp_path: Path) -> None:
    """When the file has no client of the platform, the error names the setting that lets `up` write it."""
    content = {"base_url": "http://127.0.0.1:9", "token_url": "http://127.0.0.1:9/token", "audience": "lastro-api"}
    (tmp_path / "credentials.json").write_text(json.dumps(content))
    result = run("token", "--platform", "--data-dir", str(tmp_path))
    assert result.returncode == 1
    assert "has no client of the platform" in result.stderr
    assert "LASTRO_IDENTITY_CLIENT_SECRET" in result.stderr


def test_a_broken_credentials_file_is_named(tmp_path: Path) -> None:
    """A credentials file that is not valid is an error of one line that names it, without a traceback."""
    (tmp_path / "credentials.json").write_text("{")
    result = run("token", "--data-dir", str(tmp_path))
    assert (result.returncode, "credentials.json is damaged" in result.stderr) == (1, True)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A path to which no file can be written is an error of one line."""
    result = CliRunner().invoke(app, ["openapi", "-o", str(tmp_path / "nowhere" / "openapi.json")])
    assert result.exit_code == 1
    assert str(result.exception).endswith("openapi.json cannot be written: No such file or directory")


def test_the_wiring_is_checked_in_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`wiring` ends with 0 without findings; otherwise it prints each with file and line, and ends with 1."""
    complete = CliRunner().invoke(app, ["wiring"])
    assert (complete.exit_code, complete.stdout, complete.stderr) == (0, "", "the wiring is complete\n")
    for folder in ("knative", "kafka-sources", "functions"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    trigger = tmp_path / "knative/eventing/triggers/payments.yaml"
    trigger.write_text(trigger.read_text().replace("retry: 8", "retry: 800", 1))
    monkeypatch.setattr("embedded.platform.platform.ROOT", tmp_path)
    broken = CliRunner().invoke(app, ["wiring"])
    assert (broken.exit_code, broken.stderr) == (1, "1 to correct\n")
    assert broken.stdout == (
        "knative/eventing/triggers/payments.yaml:23: Trigger payments-authorize, spec.delivery.retry: "
        "800 retries are more than the bound of 100.\n"
    )
    as_json = CliRunner().invoke(app, ["wiring", "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["findings"][0]["line"] == 23


def test_hints_name_the_command_as_it_was_called(tmp_path: Path) -> None:
    """Hints use the name by which the command was called."""
    result = run("functions", "--data-dir", str(tmp_path), LASTRO_COMMAND="./lastro")
    assert f"Or start one: ./lastro up --data-dir {tmp_path}" in result.stderr


def test_an_address_that_does_not_exist_is_named() -> None:
    """A host on which the platform cannot listen is an error with the system's reason."""
    result = CliRunner().invoke(app, ["up", "--port", "0", "--host", "999.1.1.1"])
    assert result.exit_code == 1
    assert "cannot listen on 999.1.1.1 port 0: " in str(result.exception)
    assert "Unknown error" not in str(result.exception)


def test_version() -> None:
    """--version prints the version."""
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("lastro 0.")


def test_every_command_has_json_and_help() -> None:
    """Each command has the option --json and a help text."""

    def commands(group: object, names: tuple[str, ...]) -> list[tuple[str, ...]]:
        found = getattr(group, "commands", None)
        if found is None:
            parameters = {option for parameter in group.params for option in parameter.opts}  # type: ignore[attr-defined]
            assert "--json" in parameters, names
            assert group.help, names  # type: ignore[attr-defined]
            return [names]
        return [name for key, value in found.items() for name in commands(value, (*names, key))]

    assert len(commands(get_command(app), ())) >= 16


def test_help_is_quick() -> None:
    """Help and completion import neither the platform nor an HTTP client."""
    code = (
        "import sys; from cli.main import app; from typer.main import get_command; get_command(app); "
        "print([name for name in ('httpx', 'uvicorn', 'pydantic', 'embedded.platform.platform', 'sqlite3', 'yaml') "
        "if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"


@pytest.mark.skipif(
    not Path("/proc/self").exists() and shutil.which("ps") is None,
    reason="this system does not tell which shell a command is started from",
)
def test_completion_is_offered() -> None:
    """The completion script of the present shell can be printed."""
    ended = subprocess.run(
        ["bash", "-c", '"$0" -m cli --show-completion; exit', sys.executable],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "_LASTRO_COMPLETE=complete_bash" in ended.stdout


def test_test_runs_pytest_from_anywhere(tmp_path: Path) -> None:
    """`lastro test` passes its arguments to pytest, runs it in the repository from any directory, and returns its
    exit code."""
    ended = subprocess.run(
        [sys.executable, "-m", "cli", "test", "--json", "tests/shared/core/test_version.py", "-q", "-n0"],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(ended.stdout) == {"exit_code": 0, "passed": True}


@pytest.mark.parametrize(
    ("value", "currency", "shown"),
    [
        (1050, "BRL", "10.50 BRL"),
        (5, "BRL", "0.05 BRL"),
        (-123456, "BRL", "-1,234.56 BRL"),
        (7, "JPY", "7 JPY (minor units)"),
    ],
)
def test_amounts_are_formatted_by_currency(value: int, currency: str, shown: str) -> None:
    """Amounts have two decimals when the currency has hundredths, and are otherwise marked as minor units."""
    assert money({"value": value, "currency": currency}) == shown
