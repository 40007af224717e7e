"""Moves the traffic of all functions to a new release, step by step, and takes it back: one step at a time.

A Service that has a new revision gives it no traffic, because its traffic names the revision that it had: the
controller sees to that. When all new revisions are ready, they get 5, 25, 50 and 100 % by the decision of `decide`.
HTTP requests and events reach a function through the same Service, so a step, and a step back, is the same for
consumers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from random import Random
from typing import Final, Protocol

from shared.release.cluster import BLUE, GREEN, Cluster, FunctionService, Traffic
from shared.release.decision import Action, Criteria, Decision, Observation, Phase, decide
from shared.release.indicators import Measured
from shared.release.prometheus import Unmeasured
from shared.release.state import COMPLETE, OBSERVED, PAUSED, ROLLED_BACK, RUNNING, SUPERSEDED, Release, release_id

log = logging.getLogger("lastro.release")
STATE: Final = "lastro-release"
ORDER: Final = "lastro-release-order"
"""A ConfigMap by which an operator orders: its `order` is `roll back` or `resume`."""
CONFIRMATION: Final = "lastro-release-confirmed"
"""A ConfigMap that a pull request changes: its `image` is the image that may stay."""
READY_SECONDS: Final = 600.0
"""How long new revisions may take to become ready."""
EMPTY_SECONDS: Final = 20.0
"""How long a new revision with traffic may be without a ready instance: the time of a slow cold start."""
_AT_ONCE: Final = 8
_REMEMBERED: Final = 50
_COMMIT: Final = "lastro.dev/commit"
_TRACEPARENT: Final = "lastro.dev/traceparent"
_REFUSED: Final = "refused"
_LAST_PHASE: Final = Phase.FOURTH.number


class Metrics(Protocol):
    """Measures revisions (shared/release/prometheus.py)."""

    def measure(self, revisions: Iterable[str], seconds: float) -> dict[str, Measured]:
        """Return what is known of these revisions in the last seconds. Raises Unmeasured."""
        ...


class Controller:
    """The controller of the releases of one namespace. Only one may run."""

    def __init__(
        self,
        cluster: Cluster,
        metrics: Metrics,
        clock: Callable[[], datetime],
        random: Random,
        criteria: Criteria | None = None,
    ) -> None:
        self._cluster, self._metrics, self._clock, self._random = cluster, metrics, clock, random
        self._criteria = criteria or Criteria()
        self._seen: dict[str, str] = {}
        self._empty_since: dict[str, datetime] = {}

    def step(self) -> Release | None:
        """Look once and do what follows. Return the release in progress or the last one, or None before the first.

        Raises ClusterError when the cluster's API fails; the next step then finds what was done.
        """
        services = self._cluster.services()
        release, refused = self._load()
        self._pin(services)
        if release is None or not release.is_active:
            return self._begin(services, refused) or release
        if _is_superseded(release, services):
            self._supersede(release, refused)
        else:
            self._go_on(release, {service.name: service for service in services}, refused)
        return release

    def _load(self) -> tuple[Release | None, list[str]]:
        stored = self._cluster.record(STATE) or {}
        release = Release.read(stored["release"]) if "release" in stored else None
        return release, json.loads(stored.get(_REFUSED, "[]"))

    def _store(self, release: Release, refused: list[str]) -> None:
        self._cluster.write_record(STATE, {"release": release.text(), _REFUSED: json.dumps(refused)})

    def _pin(self, services: list[FunctionService]) -> None:
        """Name the present revision in the traffic of every Service that follows the newest one."""
        for service in services:
            if not service.traffic and service.ready:
                self._cluster.route(service.name, [Traffic(service.ready, 100, BLUE)])

    def _begin(self, services: list[FunctionService], refused: list[str]) -> Release | None:
        """Begin a release when the manifests have been applied, which takes a while: the set has to be seen twice."""
        new = _new_revisions(services)
        seen, self._seen = self._seen, new
        if not new or new != seen or not all(service.is_settled for service in services):
            return None
        if release_id(new) in refused:
            return None
        now = self._clock()
        first = next(service for service in services if service.name in new)
        release = Release(
            id=release_id(new),
            image=first.image,
            commit=first.annotations.get(_COMMIT, "unknown"),
            traceparent=first.annotations.get(_TRACEPARENT) or self._new_trace(),
            stable={service.name: service.stable for service in services if service.name in new},
            new=new,
            started=now.isoformat(),
            phase_since=now.isoformat(),
        )
        release.note(now, "begin", [f"{len(new)} new revisions", *self._criteria.changes()])
        # An order was given for the release before.
        self._cluster.remove_record(ORDER)
        self._route(release, 0)
        self._store(release, refused)
        self._keep_record(release)
        return release

    def _new_trace(self) -> str:
        return f"00-{self._random.getrandbits(128) or 1:032x}-{self._random.getrandbits(64) or 1:016x}-01"

    def _supersede(self, release: Release, refused: list[str]) -> None:
        """End a release in whose place a newer one begins. One that was not observed to its end is taken back."""
        reasons = ["a newer revision of a function was created"]
        if release.outcome == OBSERVED:
            release.outcome = SUPERSEDED
            release.note(self._clock(), "superseded", reasons)
        else:
            self._back(release, SUPERSEDED, reasons)
        self._end(release, refused)

    def _go_on(self, release: Release, services: dict[str, FunctionService], refused: list[str]) -> None:
        order = (self._cluster.record(ORDER) or {}).get("order", "").replace("-", " ")
        if order:
            self._cluster.remove_record(ORDER)
        if order == "roll back":
            self._back(release, ROLLED_BACK, ["an operator has ordered it"])
            self._end(release, refused)
            return
        if order == "resume" and release.outcome == PAUSED:
            release.outcome = RUNNING
            release.enter(release.phase_number, self._clock())
            release.note(self._clock(), "resume", ["an operator has ordered it"])
        decision = self._decide(release, services)
        if decision.action is Action.ROLL_BACK:
            self._back(release, ROLLED_BACK, list(decision.reasons))
            self._end(release, refused)
            return
        self._move(release, decision)
        if release.outcome == OBSERVED and self._is_confirmed(release):
            release.outcome = COMPLETE
            release.note(self._clock(), "complete", ["it was confirmed by a pull request"])
            self._end(release, refused)
        else:
            self._store(release, refused)

    def _decide(self, release: Release, services: dict[str, FunctionService]) -> Decision:
        ready, failed = _readiness(release, services)
        seconds = release.seconds_in_phase(self._clock())
        if failed:
            return Decision(Action.ROLL_BACK, (f"{', '.join(failed)}: the new revision is not ready",))
        if release.phase is None:
            if ready:
                return Decision(Action.PROMOTE, ("all new revisions are ready",))
            if seconds > READY_SECONDS:
                return Decision(Action.ROLL_BACK, (f"not all revisions were ready after {READY_SECONDS:g} s",))
            return Decision(Action.HOLD, ("not all new revisions are ready",))
        empty = self._empty(release)
        if empty:
            return Decision(Action.ROLL_BACK, (f"{', '.join(empty)}: no instance of the new revision is ready",))
        try:
            measured = self._metrics.measure(release.new.values(), seconds)
        except Unmeasured as error:
            return Decision(Action.HOLD, (str(error),))
        return decide(release.phase, Observation(measured, seconds / 60, ready), self._criteria)

    def _empty(self, release: Release) -> list[str]:
        """Return the Services whose new revision has been without a ready instance for too long.

        Knative calls a revision ready once and for all when its first instance was. What the gateway answers in its
        place is not in the figures of the functions.
        """
        now, found = self._clock(), self._cluster.empty_revisions()
        self._empty_since = {
            revision: self._empty_since.get(revision, now) for revision in release.new.values() if revision in found
        }
        late = {name for name, since in self._empty_since.items() if (now - since).total_seconds() >= EMPTY_SECONDS}
        return sorted(name for name, revision in release.new.items() if revision in late)

    def _move(self, release: Release, decision: Decision) -> None:
        now = self._clock()
        release.note(now, decision.action.value, list(decision.reasons))
        if decision.action is Action.PAUSE and release.outcome == RUNNING:
            release.outcome = PAUSED
            log.error("the release %s is paused: %s", release.id, "; ".join(decision.reasons))
        elif decision.action is Action.PROMOTE and release.outcome == RUNNING:
            self._promote(release, now)
        else:
            return
        self._keep_record(release)

    def _promote(self, release: Release, now: datetime) -> None:
        """Begin the next phase, or end the observation of the last one."""
        if release.phase_number == _LAST_PHASE:
            release.outcome = OBSERVED
            return
        release.enter(release.phase_number + 1, now)
        phase = release.phase
        assert phase is not None
        self._route(release, phase.percent)
        log.info("the release %s has %d %% of the traffic", release.id, phase.percent)

    def _is_confirmed(self, release: Release) -> bool:
        return (self._cluster.record(CONFIRMATION) or {}).get("image") == release.image

    def _back(self, release: Release, outcome: str, reasons: list[str]) -> None:
        """Give all traffic, of requests and of events, to the former revisions, then write down why."""
        self._route(release, 0)
        release.outcome = outcome
        release.note(self._clock(), "roll back", reasons)
        log.error("the release %s was taken back: %s", release.id, "; ".join(reasons))

    def _end(self, release: Release, refused: list[str]) -> None:
        if release.outcome == ROLLED_BACK:
            refused = [*refused, release.id][-_REMEMBERED:]
        self._store(release, refused)
        self._keep_record(release)

    def _keep_record(self, release: Release) -> None:
        self._cluster.write_record(f"release-{release.id}", release.record())
        log.info("%s", json.dumps({"release": release.id, **release.record()}))

    def _route(self, release: Release, percent: int) -> None:
        """Give the new revisions this share of the traffic. Both keep their tags, so each has an address of its own."""

        def change(name: str) -> None:
            parts = [Traffic(release.stable[name], 100 - percent, BLUE), Traffic(release.new[name], percent, GREEN)]
            self._cluster.route(name, parts)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(change, release.new))


def _new_revisions(services: Iterable[FunctionService]) -> dict[str, str]:
    """Return the revisions that do not have all traffic yet, by Service."""
    return {
        service.name: service.created for service in services if service.stable and service.created != service.stable
    }


def _is_superseded(release: Release, services: Iterable[FunctionService]) -> bool:
    """Return whether a Service has a newer revision than those of the release."""
    return any(
        service.created != release.new.get(service.name, service.stable) for service in services if service.stable
    )


def _readiness(release: Release, services: dict[str, FunctionService]) -> tuple[bool, list[str]]:
    """Return whether all new revisions are ready, and the Services whose new revision has failed."""
    present = {name: services[name] for name in release.new if name in services}
    failed = [name for name, service in present.items() if service.has_failed]
    return all(service.ready == release.new[name] for name, service in present.items()), sorted(failed)
