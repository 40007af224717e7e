"""`python -m tests.faults table`: write the tables of docs/servers.md from the results of the last runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.faults.cases import CASES
from tests.faults.outcome import write_tables


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("command", choices=["table"])
    parser.parse_args(arguments)
    try:
        write_tables(CASES)
    except LookupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
