"""Programs that stand in for kubectl, kind, docker and helm: they record their command lines, and answer by a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

_PROGRAM = """\
#!{python} -SE
import fcntl, json, os, re, sys
place, name = {place!r}, {name!r}
arguments = sys.argv[1:]
given = sys.stdin.read() if any(each in ("-", "--filename=-", "-f-") for each in arguments) else ""
with open(f"{{place}}/lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    with open(f"{{place}}/calls", "a") as file:
        file.write(json.dumps([name, arguments, given]) + "\\n")
    with open(f"{{place}}/answers") as file:
        table = json.load(file)
    answer = [0, "", ""]
    for pattern, answers in reversed(table):
        if re.search(pattern, " ".join([name, *arguments])):
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            break
    with open(f"{{place}}/answers", "w") as file:
        json.dump(table, file)
print(answer[1], end="")
print(answer[2], end="", file=sys.stderr)
sys.exit(answer[0])
"""


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
        self._table: list[tuple[str, list[tuple[int, str, str]]]] = []
        for name in names:
            program = folder / name
            program.write_text(_PROGRAM.format(python=sys.executable, place=str(folder), name=name))
            program.chmod(0o755)
        (folder / "answers").write_text("[]")

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
