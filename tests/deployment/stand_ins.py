"""Programs that stand in for kubectl, kind, docker and helm: they record their command lines, and answer by a table."""

from __future__ import annotations

import fcntl
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_PROGRAM = """\
#!{python} -SE
import fcntl, json, re, sys
from pathlib import Path

{functions}

arguments = sys.argv[1:]
given = sys.stdin.read() if reads_its_input(arguments) else ""
code, output, errors = answer_of({place!r}, {name!r}, arguments, given)
print(output, end="")
print(errors, end="", file=sys.stderr)
sys.exit(code)
"""


# The text of both functions is part of each program.
def reads_its_input(arguments: list[str]) -> bool:
    return any(each in ("-", "--filename=-", "-f-") for each in arguments)


def answer_of(place: str, name: str, arguments: list[str], given: str) -> tuple[int, str, str]:
    """Record a start, and return the exit code, the output and the errors that the table has for it."""
    folder = Path(place)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (folder / "calls").open("a") as file:
            file.write(json.dumps([name, arguments, given]) + "\n")
        table = json.loads((folder / "answers").read_text())
        for pattern, answers in reversed(table):
            if re.search(pattern, " ".join([name, *arguments])):
                code, output, errors = answers.pop(0) if len(answers) > 1 else answers[0]
                (folder / "answers").write_text(json.dumps(table))
                return code, output, errors
    return 0, "", ""


class Call(NamedTuple):
    """One start of a program: its name, its arguments, and what it read, when it reads its input."""

    program: str
    arguments: list[str]
    given: str

    @property
    def line(self) -> str:
        return " ".join([self.program, *self.arguments])


class StandIns:
    """The programs of a folder that is the PATH."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        functions = "\n\n".join([inspect.getsource(reads_its_input), inspect.getsource(answer_of)])
        self._texts = {
            name: _PROGRAM.format(python=sys.executable, functions=functions, place=str(folder), name=name)
            for name in names
        }
        for name, text in self._texts.items():
            program = folder / name
            program.write_text(text)
            program.chmod(0o755)
        (folder / "answers").write_text("[]")

    def run_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let subprocess.run answer for these programs without a process: starts of Python would be most of a test."""
        run = subprocess.run

        def answered(command: list[str], *, input: str | None = None, **options: Any) -> Any:
            name, found = Path(command[0]).name, shutil.which(command[0])
            if found is None or Path(found) != self.folder / name or Path(found).read_text() != self._texts.get(name):
                return run(command, input=input, **options)
            arguments = command[1:]
            given = input or "" if reads_its_input(arguments) else ""
            return subprocess.CompletedProcess(command, *answer_of(str(self.folder), name, arguments, given))

        monkeypatch.setattr(subprocess, "run", answered)

    def answers(self, pattern: str, *outputs: str | int) -> None:
        """Let command lines with this expression print these outputs, one each, and the last one ever after. A number
        is an exit code, with a message on standard error. Later patterns come first."""
        one = [(each, "", "it failed\n") if isinstance(each, int) else (0, each, "") for each in outputs]
        table = json.loads((self.folder / "answers").read_text())
        (self.folder / "answers").write_text(json.dumps([*table, [pattern, one]]))

    @property
    def calls(self) -> list[Call]:
        """Every start so far, in order."""
        path = self.folder / "calls"
        return [Call(*json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def lines(self) -> list[str]:
        """The command line of each start so far."""
        return [call.line for call in self.calls]
