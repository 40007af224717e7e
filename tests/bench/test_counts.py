"""Counting instructions and calls per payment: the profiler in the platform, valgrind's dumps, and the figures."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import instructions
from tests.bench.callgrind import Callgrind, ProgramsMissing, require_programs, total
from tests.bench.calls import Calls, Tally
from tests.bench.client import Credentials, Outcome
from tests.bench.fakes import FakePlatforms, FakeServer, rows
from tests.bench.instructions import WAVE, Counted, Work, count, figures_of, least, table, waves

DUMP = """\
version: 1
events: Ir
summary: 0

fn=(1) main
16 400

totals: 363741
"""
# The program waits for a line between its two parts, so that signals arrive at known places.
COUNTED = """\
import asyncio, json

async def leaf():
    await asyncio.sleep(0)

async def commit():
    for _ in range(10):
        await leaf()

def before():
    json.dumps([1])

loop = asyncio.new_event_loop()
before()
print("ready", flush=True)
input()
loop.run_until_complete(commit())
[].append(1)
print("done", flush=True)
input()
before()
loop.close()
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Popen[str]]:
    environment = {**Calls(tmp_path).environment()}
    with Popen([sys.executable, "-c", COUNTED], env=environment, stdin=PIPE, stdout=PIPE, text=True) as running:
        yield running
        running.kill()


def test_calls_of_a_process(process: Popen[str], tmp_path: Path) -> None:
    """Calls are counted from one signal to the other: each start of a function once, however often it is resumed."""
    assert process.stdin is not None
    assert process.stdout is not None
    calls = Calls(tmp_path)
    assert process.stdout.readline() == "ready\n"
    calls.begin([process.pid])
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"
    (tally,) = calls.end([process.pid])
    assert (tally.starts["<string>.commit"], tally.starts["<string>.leaf"]) == (1, 10)
    assert tally.starts["<string>.before"] == 0
    assert tally.entries >= sum(tally.starts.values()) + 10  # each of the ten waits is resumed once
    assert tally.c["builtins.list.append"] >= 1
    assert calls.python == sys.version.split()[0]


def test_each_count_begins_at_zero(process: Popen[str], tmp_path: Path) -> None:
    """A second count of the same process does not include the first one."""
    assert process.stdin is not None
    assert process.stdout is not None
    calls = Calls(tmp_path)
    assert process.stdout.readline() == "ready\n"
    calls.begin([process.pid])
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"
    calls.end([process.pid])
    calls.begin([process.pid])
    (tally,) = calls.end([process.pid])
    assert tally.starts["<string>.leaf"] == 0


def test_profiler_keeps_other_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder of the profiler precedes the existing paths of PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", "/one:/two")
    first, *others = Calls(tmp_path).environment()["PYTHONPATH"].split(":")
    assert (Path(first) / "sitecustomize.py").is_file()
    assert others == ["/one", "/two"]


def test_process_that_does_not_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that writes no counts causes an error that names it."""
    monkeypatch.setattr("tests.bench.calls._PATIENCE_SECONDS", 0)
    monkeypatch.setattr("os.kill", lambda pid, number: None)
    with pytest.raises(RuntimeError, match="process 17 "):
        Calls(tmp_path).end([17])


def test_total_of_a_dump() -> None:
    """The total of a dump is the number in its last line that begins with totals."""
    assert total(DUMP) == 363741


def test_dump_without_a_total() -> None:
    """A dump without a total is an error and does not count as zero instructions."""
    with pytest.raises(ValueError, match="totals"):
        total(DUMP.replace("totals", "subtotals"))


def test_valgrind_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without valgrind the error names the missing programs, how to install them, and how to count without them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramsMissing, match=r"valgrind and vgdb\. Install valgrind .* --calls-only"):
        require_programs()


def test_dumps_are_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Instrumentation is on only between begin and end, and each end reads the dump that it requested."""
    commands: list[tuple[str, ...]] = []

    def run(command: list[str], **_how: Any) -> CompletedProcess[str]:
        commands.append(tuple(command[1:]))
        if command[-1] == "dump":
            pid = command[1].removeprefix("--pid=")
            number = commands.count((f"--pid={pid}", "dump"))
            (tmp_path / f"callgrind.{pid}.{number}").write_text(f"totals: {int(pid) * 100 + number}\n")
        return CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("subprocess.run", run)
    measuring = Callgrind(tmp_path)
    measuring.begin([7, 8])
    assert commands == [("--pid=7", "instrumentation", "on"), ("--pid=8", "instrumentation", "on")]
    assert measuring.end([7, 8]) == [701, 801]
    measuring.begin([7, 8])
    assert measuring.end([7, 8]) == [702, 802]
    assert commands.count(("--pid=8", "instrumentation", "off")) == 2


def test_vgdb_does_not_reach_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When vgdb fails, the error quotes what it printed."""
    failed = CompletedProcess([], 1, "", "vgdb error: no FIFO found")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match=r"process 7.*no FIFO found"):
        Callgrind(tmp_path).begin([7])


@given(st.integers(1, 5000))
def test_waves(number: int) -> None:
    """The waves add up to the requested payments, and none is larger than the platform admits at once."""
    found = waves(number)
    assert sum(found) == number
    assert min(found) > 0
    assert max(found) <= WAVE


def test_figures() -> None:
    """Figures are sums over groups of functions, separately for each process."""
    core = Tally(
        900,
        Counter({"documents.SqliteDocuments.commit": 7, "journal.commit_all": 9, "documents.SqliteDocuments.get": 11}),
        Counter({"orjson.dumps": 28, "orjson.loads": 3, "sqlite3.Connection.execute": 2, "builtins.len": 100})
        + Counter({"pydantic_core._pydantic_core.SchemaSerializer.to_json": 11}),
    )
    writer = Tally(4, Counter(), Counter({"sqlite3.Connection.executemany": 3, "marshal.loads": 1}))
    assert figures_of(core, writer) == {
        "Python calls, core": 900,
        "Python calls, writer": 4,
        "calls into C, core": 144,
        "calls into C, writer": 4,
        "commits": 7,
        "serialisations": 39,
        "JSON texts read": 3,
        "SQL calls, core": 2,
        "SQL calls, writer": 3,
    }


def test_tallies_add_up() -> None:
    """The tallies of waves and processes add up by function."""
    first, second = Tally(1, Counter(a=1, b=2), Counter(c=3)), Tally(10, Counter(b=5), Counter(d=7))
    assert first + second == Tally(11, Counter(a=1, b=7), Counter(c=3, d=7))


def test_least_wave_counts() -> None:
    """For each process, the wave with the fewest instructions counts."""
    found = least({"core": [3.2, 3.0, 3.1], "writer": [0.9, 1.1, 1.0]})
    assert found == {"instructions, core": 3.0, "instructions, writer": 0.9}


@pytest.fixture
def platforms(monkeypatch: pytest.MonkeyPatch) -> FakePlatforms:
    found = FakePlatforms()

    async def open_accounts(credentials: Credentials, number: int) -> list[str]:
        return [f"acc_{position}" for position in range(number)]

    @asynccontextmanager
    async def connected(credentials: Credentials, number: int) -> AsyncIterator[list[int]]:
        yield list(range(number))

    async def send_all(connections: list[int], requests: Iterator[bytes]) -> Outcome:
        sent = list(requests)
        assert len(connections) == len(sent)
        return found.started[-1].take(sent)

    monkeypatch.setattr(instructions, "running", found.running)
    monkeypatch.setattr(instructions, "open_accounts", open_accounts)
    monkeypatch.setattr(instructions, "connected", connected)
    monkeypatch.setattr(instructions, "send_all", send_all)
    monkeypatch.setattr(instructions, "_IDLE_SECONDS", 0)
    monkeypatch.setattr(Callgrind, "begin", lambda self, pids: None)
    monkeypatch.setattr(Callgrind, "end", lambda self, pids: [3000, 1000])
    monkeypatch.setattr(Callgrind, "command", lambda self: ["valgrind"])
    monkeypatch.setattr(Calls, "begin", lambda self, pids: None)
    tallies = [Tally(50, Counter({"a.commit": 30})), Tally(10)]
    monkeypatch.setattr(Calls, "end", lambda self, pids: tallies)
    return found


async def test_count_is_for_one_payment(platforms: FakePlatforms) -> None:
    """Every figure is divided by the payments of its waves, without those of the warm-up."""
    counted = await count(Path("/x/old"), Work(warm_up=150, payments=200), with_instructions=True)
    assert [len(server.sent) for server in platforms.started] == [350, 350]
    assert counted.figures == {
        "instructions, core": 30,
        "instructions, writer": 10,
        "events": 10,
        "deliveries": 6,
        "batches": 0.25,
        "Python calls, core": 0.5,
        "Python calls, writer": 0.1,
        "calls into C, core": 0,
        "calls into C, writer": 0,
        "commits": 0.3,
        "serialisations": 0,
        "JSON texts read": 0,
        "SQL calls, core": 0,
        "SQL calls, writer": 0,
    }
    assert counted.instructions == {"core": [30, 30], "writer": [10, 10]}
    assert platforms.stopped == platforms.started


async def test_calls_need_no_valgrind(platforms: FakePlatforms) -> None:
    """Without instructions the platform is started once, and the figures have none."""
    counted = await count(Path("/x/old"), Work(1, 1), with_instructions=False)
    assert len(platforms.started) == 1
    assert "instructions, core" not in counted.figures


async def test_payment_that_is_not_settled(platforms: FakePlatforms, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that is idle before every payment is settled is an error, not a small count."""

    def lose_one(self: FakeServer, requests: list[bytes]) -> Outcome:
        self.settled += len(requests) - 1
        return Outcome(1.0, [], {201: len(requests)})

    monkeypatch.setattr(FakeServer, "take", lose_one)
    with pytest.raises(RuntimeError, match="49 of 50 payments are settled"):
        await count(Path("/x/old"), Work(1, 50), with_instructions=False)
    assert platforms.stopped == platforms.started


async def test_an_idle_platform_does_not_demand_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform is idle when it neither uses the processor nor waits for it."""
    monkeypatch.setattr(instructions, "_IDLE_SECONDS", 0)
    wanted = iter([0.0, 50.0, 50.0, 99.0, 99.0, 99.0])
    monkeypatch.setattr(FakeServer, "demanded_seconds", lambda self: next(wanted))
    await instructions._idle(FakeServer())  # type: ignore[arg-type]  # it has the methods that are used
    assert next(wanted, None) is None


async def test_platform_that_is_never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that does not become idle in time is an error."""
    monkeypatch.setattr(instructions, "PATIENCE_SECONDS", 0)
    with pytest.raises(RuntimeError, match="was not idle"):
        await instructions._idle(FakeServer())  # type: ignore[arg-type]  # as above


def counted(name: str, **figures: float) -> Counted:
    return Counted(name, "3.11.2", 400, figures, {"ids.derived_id": 12.0, "clock.now": 20.0}, {"builtins.len": 15.0})


def test_table_of_two() -> None:
    """With two checkouts the last column is the second divided by the first, where the first is not zero."""
    shown = rows(table([counted("/x/a", calls=2000.0, reads=0.0), counted("/x/b", calls=1500.0, reads=1.0)], 0))
    assert shown[-2:] == [["calls", "2,000", "1,500", "0.750"], ["reads", "0.00", "1.00", ""]]


def test_table_with_functions() -> None:
    """The most called functions follow the figures, Python's and C's together."""
    shown = rows(table([counted("/x/a", calls=2.0)], 2))
    assert shown[-3:] == [["calls", "2.00"], ["clock.now", "20.00"], ["builtins.len", "15.00"]]


def test_command_prints_json(
    platforms: FakePlatforms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json the command prints one object for each checkout, in the order of the arguments."""
    for name in ("b", "a"):
        (tmp_path / name / "cli").mkdir(parents=True)
    arguments = ["count", "--json", "--payments", "2", "--warm-up", "1", str(tmp_path / "b"), str(tmp_path / "a")]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(instructions, "end_platforms_on_sigterm", lambda: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    instructions.main()
    printed = json.loads(capsys.readouterr().out)
    assert [Path(each["checkout"]).name for each in printed] == ["b", "a"]
    assert printed[0]["figures"]["instructions, core"] == 1500


def test_command_without_valgrind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without valgrind the command ends with an error before it has measured anything."""
    monkeypatch.setattr(sys, "argv", ["count"])
    monkeypatch.setattr(instructions, "end_platforms_on_sigterm", lambda: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(instructions, "running", lambda *_, **__: pytest.fail("nothing must be started"))
    with pytest.raises(SystemExit, match="Install valgrind"):
        instructions.main()


@pytest.mark.parametrize(
    ("arguments", "output"), [(["--payments", "0"], "at least one payment"), (["{here}"], "is not a checkout")]
)
def test_wrong_arguments(
    arguments: list[str],
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Invalid arguments end the command with exit code 2 and the reason."""
    monkeypatch.setattr(sys, "argv", ["count", *(each.format(here=tmp_path) for each in arguments)])
    with pytest.raises(SystemExit) as ended:
        instructions.main()
    assert ended.value.code == 2
    assert output in capsys.readouterr().err
