"""How the benchmark starts a platform, reads its metrics and stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.fake_checkout import make_broken_checkout, make_checkout
from tests.bench.server import ROOT, applied, gauge, read, running

MEASUREMENTS = """\
# TYPE lastro_event_delivery_seconds histogram
lastro_event_delivery_seconds_bucket{consumer="payments/settle",type="a",status="204",le="+Inf"} 99
lastro_event_delivery_seconds_count{consumer="payments/settle",type="a",status="204"} 5
lastro_event_delivery_seconds_count{consumer="payments/settle",type="b",status="204"} 2
lastro_event_delivery_seconds_count{consumer="payments/settle",type="a",status="503"} 11
lastro_event_delivery_seconds_count{consumer="payments/settle_refund",type="a",status="204"} 17
lastro_store_batches 41.0
lastro_store_batches_late 7
"""
STARTS_AND_WAITS = """\
import sys, time
from pathlib import Path
from tests.bench.server import end_platforms_on_sigterm, running

end_platforms_on_sigterm()
with running(Path(sys.argv[1]) / "data", root=Path(sys.argv[1])) as server:
    print(*server.pids(), flush=True)
    time.sleep(600)
"""


def _ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def test_deliveries_of_one_consumer() -> None:
    """Deliveries of a consumer are the successful deliveries to it over all event types, and no other's."""
    assert applied(MEASUREMENTS, "payments/settle") == 7


def test_deliveries_of_all_consumers() -> None:
    """Without the name of a consumer, the successful deliveries to all consumers are counted."""
    assert applied(MEASUREMENTS) == 24


def test_consumer_without_deliveries() -> None:
    """A consumer that has received no event has zero deliveries."""
    assert applied(MEASUREMENTS, "payments/fail") == 0


def test_gauge() -> None:
    """A gauge is read by its whole name."""
    assert gauge(MEASUREMENTS, "store_batches") == 41


def test_unknown_gauge() -> None:
    """A gauge that the platform does not export raises LookupError with its name."""
    with pytest.raises(LookupError, match="store_pages"):
        gauge(MEASUREMENTS, "store_pages")


def test_platform_runs_until_the_block_ends(tmp_path: Path) -> None:
    """A platform is ready inside the block, with the core process first and its writer second, and has ended after
    it."""
    with running(tmp_path / "data", "--faithful", root=make_checkout(tmp_path / "checkout")) as server:
        core, writer = server.pids()
        assert core == server.process.pid
        assert read(f"{server.base_url}/anything") == b""
        assert server.resident_mb() > 0
        assert len(server.cpu_seconds_by_process()) == 2
        assert server.demanded_seconds() > 0
    assert server.process.returncode == 0
    assert _ended(core)
    assert f"up --data-dir {tmp_path}/data --port" in (tmp_path / "data.log").read_text()
    assert "--faithful" in (tmp_path / "data.log").read_text()
    assert writer != core


def test_platform_ends_when_the_block_fails(tmp_path: Path) -> None:
    """An error inside the block ends the platform, too."""
    with (
        pytest.raises(ZeroDivisionError),
        running(tmp_path / "data", root=make_checkout(tmp_path / "checkout")) as server,
    ):
        raise ZeroDivisionError
    assert server.process.returncode == 0


def test_platform_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """A platform that does not end within the grace period is killed."""
    checkout = make_checkout(tmp_path / "checkout", obeys=False)
    with running(tmp_path / "data", root=checkout, grace_seconds=0) as server:
        pass
    assert server.process.returncode == -signal.SIGKILL


def test_platform_that_ends_by_itself(tmp_path: Path) -> None:
    """A platform that ends before it is ready causes an error that quotes its log."""
    checkout = make_broken_checkout(tmp_path / "checkout", "raise SystemExit('the port is taken')")
    with pytest.raises(RuntimeError, match="the port is taken"), running(tmp_path / "data", root=checkout):
        pytest.fail("the block must not run")


def test_platform_that_is_not_ready_in_time(tmp_path: Path) -> None:
    """A platform that is not ready in time causes an error and is stopped."""
    program = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    checkout = make_broken_checkout(tmp_path / "checkout", program)
    with (
        pytest.raises(RuntimeError, match="not ready in 0 seconds"),
        running(tmp_path / "data", root=checkout, patience_seconds=0),
    ):
        pytest.fail("the block must not run")
    pid = tmp_path / "pid"
    assert not pid.exists() or _ended(int(pid.read_text()))


def test_checkout_runs_on_its_own_python(tmp_path: Path) -> None:
    """The platform of another checkout runs on the interpreter of its own .venv, with the given environment
    variables."""
    checkout = make_checkout(tmp_path / "checkout")
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nCHOSEN="own python, $GIVEN" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with running(tmp_path / "data", root=checkout, environment={"GIVEN": "given"}):
        pass
    assert "own python, given" in (tmp_path / "data.log").read_text()


def test_platform_runs_under_a_profiler(tmp_path: Path) -> None:
    """The command given with `under` runs the platform's command."""
    checkout = make_checkout(tmp_path / "checkout")
    with running(tmp_path / "data", root=checkout, under=["env", "CHOSEN=profiled"]):
        pass
    assert "profiled" in (tmp_path / "data.log").read_text()


def test_sigterm_ends_the_platform(tmp_path: Path) -> None:
    """A benchmark that receives SIGTERM ends its platform and exits with 128 + 15."""
    make_checkout(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert len(pids) == 2
    assert _ended(pids[0])
