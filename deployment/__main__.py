"""`python -m deployment kind up|smoke|status|down`: Lastro on a Kubernetes in containers.

`python -m deployment operator COMMAND…`: one command of `lastro` in the cluster of kubectl's current context.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cli.errors import CliError
from deployment import operator
from deployment.cluster import Kubernetes
from deployment.kind import steps


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployment", description=__doc__)
    targets = parser.add_subparsers(dest="target", required=True)
    once = targets.add_parser("operator", help="run a command of `lastro` in the cluster of kubectl's current context")
    once.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND")
    kind = targets.add_parser("kind", help="a cluster in containers")
    commands = kind.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make the cluster, and put Lastro on it with a tenant")
    up.add_argument("--with", dest="extras", action="append", default=[], choices=sorted(steps.EXTRAS))
    for name, meaning in (
        ("smoke", "show what is ready, and pay once through the gateway"),
        ("status", "show what is ready, and the pods that are not"),
        ("down", "delete the cluster and its passwords"),
    ):
        commands.add_parser(name, help=meaning)
    given = parser.parse_args(arguments)
    try:
        if given.target == "operator":
            operator.run(Kubernetes(["kubectl"]), given.arguments)
            return 0
        match given.command:
            case "up":
                steps.up(frozenset(given.extras))
            case "smoke":
                return steps.smoke()
            case "status":
                steps.status()
            case _:
                steps.down()
    except CliError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
