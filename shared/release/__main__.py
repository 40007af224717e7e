"""Runs the controller of releases in a pod until SIGTERM: `python -m shared.release`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Final

from shared.release.cluster import Cluster, ClusterError
from shared.release.controller import Controller
from shared.release.prometheus import Prometheus

log = logging.getLogger("lastro.release")
PERIOD_SECONDS: Final = 5.0
"""The time between two steps. A release is taken back within a minute: metrics arrive every ten seconds."""


def run(controller: Controller, stop: threading.Event, alive: Path, period: float = PERIOD_SECONDS) -> None:
    """Take steps until `stop` is set. `alive` is touched after each one that worked, for the liveness probe."""
    while True:
        try:
            controller.step()
            alive.touch()
        except ClusterError as error:
            log.warning("a step failed and is repeated: %s", error)
        if stop.wait(period):
            return


def main() -> None:
    """Read LASTRO_RELEASE_NAMESPACE, POD_NAMESPACE, PROMETHEUS and ALIVE_FILE, and run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    environment = os.environ
    functions = environment.get("LASTRO_RELEASE_NAMESPACE", "lastro")
    own = environment.get("POD_NAMESPACE", "lastro-release")
    try:
        cluster = Cluster.of_pod(environment, functions, own)
    except ClusterError as error:
        sys.exit(str(error))
    metrics = Prometheus(environment.get("PROMETHEUS", "http://prometheus.observability.svc.cluster.local:9090"))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    controller = Controller(cluster, metrics, lambda: datetime.now(UTC), SystemRandom())
    run(controller, stop, Path(environment.get("ALIVE_FILE", "/tmp/alive")))  # noqa: S108 - an emptyDir of the pod


if __name__ == "__main__":
    main()
