"""`python -m tests.cluster build|is-built|up|smoke|status|kubectl|down`: a Kubernetes with Knative on this machine."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from cli.client import Client
from cli.errors import CliError
from deployment.functions import show_readiness
from deployment.payment import show_payment
from tests.cluster import node
from tests.cluster.cluster import Cluster
from tests.cluster.deploying import KINDS
from tests.cluster.go_programs import missing
from tests.cluster.starting import start, stop
from tests.servers.installing import Unavailable


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, meaning in (
        ("build", "download and build the programs into the cache"),
        ("is-built", "end with 1 when a program of the cluster is not in the cache"),
        ("up", "start the node, Knative and the functions"),
        ("smoke", "show what is not ready, and pay once through the gateway"),
        ("down", "end it, and check that nothing is left on this machine"),
        ("status", "show the functions and the memory in use"),
    ):
        commands.add_parser(name, help=meaning, description=meaning)
    kubectl = commands.add_parser("kubectl", help="run kubectl on the cluster")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    cluster = Cluster()
    try:
        match given.command:
            case "build":
                print(*cluster.programs.paths.values(), sep="\n")
            case "is-built":
                return 1 if missing(cache=cluster.cache) else 0
            case "up":
                start(cluster)
            case "smoke":
                return _smoke(cluster)
            case "down":
                return _down(cluster)
            case "status":
                _status(cluster)
            case _:
                print(cluster.kubectl(*given.arguments), end="")
    except (Unavailable, CliError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _smoke(cluster: Cluster) -> int:
    complete = show_readiness(cluster, KINDS)
    with Client.of(cluster.state / "client") as client:
        show_payment(client)
    return 0 if complete else 1


def _down(cluster: Cluster) -> int:
    stop(cluster)
    left = node.traces()
    print(*(f"left on this machine: {each}" for each in left), sep="\n", end="\n" if left else "")
    return 1 if left else 0


def _status(cluster: Cluster) -> None:
    if not cluster.is_running():
        print("the cluster does not run")
        return
    print(cluster.kubectl("get", "ksvc,broker,trigger,pingsource", "--namespace=lastro"), end="")
    print(f"kubeconfig: {os.fspath(cluster.state / 'admin.kubeconfig')}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
