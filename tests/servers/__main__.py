"""`python -m tests.servers up|down|status [NAME…]`: real servers; without names, one for each of our ports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.servers.catalogue import SERVERS, USUAL, server_of, variable_of
from tests.servers.installing import Unavailable
from tests.servers.supervision import RUNNING, down, running, supervise, up


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, meaning in (
        ("up", "install and start servers, wait until they answer, and print their settings"),
        ("down", "end servers; their logs stay, their data do not"),
        ("status", "print the settings of the servers that run"),
    ):
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.add_argument("names", nargs="*", choices=[[], *SERVERS], metavar="NAME", help=", ".join(SERVERS))
        command.add_argument("--folder", type=Path, default=RUNNING, help="where they run (default: %(default)s)")
    command = commands.add_parser("supervise")
    command.add_argument("names", nargs=1, choices=list(SERVERS))
    command.add_argument("--folder", type=Path, required=True)
    command.add_argument("--while-used", action="store_true")
    given = parser.parse_args(arguments)
    names = given.names or list(USUAL if given.command == "up" else SERVERS)
    match given.command:
        case "supervise":
            return supervise(server_of(names[0]), given.folder, while_used=given.while_used)
        case "up":
            return _up(names, given.folder)
        case "down":
            return _down(names, given.folder)
        case _:
            return _status(names, given.folder)


def _up(names: Sequence[str], folder: Path) -> int:
    """Start servers side by side; one that fails does not keep the others from starting."""
    code = 0
    with ThreadPoolExecutor(len(names)) as pool:
        started = [(name, pool.submit(up, server_of(name), folder)) for name in names]
        for name, url in started:
            try:
                print(f"{variable_of(name)}={url.result()}", flush=True)
            except Unavailable as error:
                print(f"{name}: {error}", file=sys.stderr)
                code = 1
    return code


def _down(names: Sequence[str], folder: Path) -> int:
    for name in names:
        print(f"{name}: {'ended' if down(name, folder) else 'did not run'}")
    return 0


def _status(names: Sequence[str], folder: Path) -> int:
    for name in names:
        url = running(name, folder)
        print(f"{name}: {'does not run' if url is None else f'{variable_of(name)}={url}'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
