"""Runs the controller of releases in a pod until SIGTERM: `python -m shared.release`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from random import SystemRandom
from typing import Final

from shared.release.cluster import Cluster, ClusterError
from shared.release.controller import Controller
from shared.release.decision import Criteria
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


def criteria_of(environment: Mapping[str, str]) -> Criteria:
    """Return how strictly releases are judged: LASTRO_RELEASE_OBSERVATION_MINUTES, LASTRO_RELEASE_OBSERVATIONS (how
    many are enough for any objective) and LASTRO_RELEASE_SLOWNESS (the factor of all limits of times).

    Without them it is as the architecture document says. Raises ValueError.
    """
    document = Criteria()
    return Criteria(
        observation_minutes=_positive(environment, "LASTRO_RELEASE_OBSERVATION_MINUTES", document.observation_minutes),
        most_observations=_count(environment, "LASTRO_RELEASE_OBSERVATIONS"),
        slowness=_positive(environment, "LASTRO_RELEASE_SLOWNESS", document.slowness),
    )


def _positive(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (isfinite(number) and number > 0):
        raise ValueError(f"{name}={text!r} is not a number above 0")
    return number


def _count(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    if text and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{name}={text!r} is not a whole number above 0")
    return int(text) if text else None


def main() -> None:
    """Read LASTRO_RELEASE_NAMESPACE, POD_NAMESPACE, PROMETHEUS, ALIVE_FILE and what `criteria_of` reads, and run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    environment = os.environ
    functions = environment.get("LASTRO_RELEASE_NAMESPACE", "lastro")
    own = environment.get("POD_NAMESPACE", "lastro-release")
    try:
        cluster = Cluster.of_pod(environment, functions, own)
        criteria = criteria_of(environment)
    except (ClusterError, ValueError) as error:
        sys.exit(str(error))
    metrics = Prometheus(environment.get("PROMETHEUS", "http://prometheus.observability.svc.cluster.local:9090"))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for change in criteria.changes():
        log.warning("releases are not judged as the architecture document says: %s", change)
    controller = Controller(cluster, metrics, lambda: datetime.now(UTC), SystemRandom(), criteria)
    run(controller, stop, Path(environment.get("ALIVE_FILE", "/tmp/alive")))  # noqa: S108 - an emptyDir of the pod


if __name__ == "__main__":
    main()
