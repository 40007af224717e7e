"""Decides what happens to a release, from its phase and what was measured of it. Pure: the same input, the same answer.

The rules are the rows of the tables "Estratégia de Canary" and "Rollback Automático" of the architecture document.
Where two rows contradict each other, the more particular one decides: a share of dead letters above its objective of
0.01 % stops the promotion, and only above 0.05 % the release is paused; neither takes it back. A missing figure never
promotes a release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final, NamedTuple

from shared.release.indicators import LAG, OBJECTIVES, Kind, Measured, Objective, is_met, is_violated

LAG_ROLL_BACK_SECONDS: Final = 5.0
DEAD_LETTERS_PAUSE: Final = 0.0005
OBSERVATION_MINUTES: Final = 30.0
"""How long a release with all traffic must be without a regression."""
OBSERVATION_ENDS_MINUTES: Final = 60.0
"""When the observation ends. A release that is then not yet shown to be good waits for a person."""


class Phase(Enum):
    """A phase of a release: its number, and the new version's share of the traffic in percent."""

    FIRST = (1, 5)
    SECOND = (2, 25)
    THIRD = (3, 50)
    FOURTH = (4, 100)

    @property
    def number(self) -> int:
        """The place of the phase in the release, from 1 to 4."""
        return self.value[0]

    @property
    def percent(self) -> int:
        """The new version's share of the traffic."""
        return self.value[1]


class Action(Enum):
    """What happens to a release."""

    PROMOTE = "promote"
    """The next phase begins; after the last one the release is complete."""
    HOLD = "hold"
    """The phase goes on."""
    PAUSE = "pause"
    """The phase goes on until a person decides. For dead letters the alert `ReleaseDeadLetters` calls one."""
    ROLL_BACK = "roll back"
    """All traffic, of requests and of events, goes to the former version."""


class Observation(NamedTuple):
    """What is known of the new version in a phase."""

    measured: Mapping[str, Measured]
    """By the key of the indicator; one without a figure is absent."""
    minutes: float
    """For how long the phase has gone on."""
    is_ready: bool | None = None
    """Whether all instances of the new version are ready and alive, or None when it is not known."""


class Criteria(NamedTuple):
    """How strictly releases are judged. The defaults are those of the architecture document; others are for a cluster
    with little traffic or slow machines, where those could never be met."""

    observation_minutes: float = OBSERVATION_MINUTES
    """How long a release with all traffic must be without a regression. After twice the time it waits for a person."""
    most_observations: int | None = None
    """How many observations are enough for any objective, or None for as many as each needs to be certain."""
    slowness: float = 1.0
    """By how much the limits of times are multiplied, those of latencies and of the lag."""

    @property
    def observation_ends_minutes(self) -> float:
        """When the observation ends."""
        return self.observation_minutes * OBSERVATION_ENDS_MINUTES / OBSERVATION_MINUTES

    @property
    def lag_roll_back_seconds(self) -> float:
        """The lag of the consumers with which a release is taken back."""
        return LAG_ROLL_BACK_SECONDS * self.slowness

    def objective(self, objective: Objective) -> Objective:
        """Return the objective with these limits."""
        limit = objective.limit if objective.kind is Kind.SHARE else objective.limit * self.slowness
        return objective._replace(limit=limit, most=self.most_observations)

    def objectives(self) -> Iterator[Objective]:
        """Yield the objectives with these limits, in the order of the SLO table."""
        return map(self.objective, OBJECTIVES.values())

    def changes(self) -> list[str]:
        """Return what differs from the architecture document, in a sentence each."""
        found = []
        if self.observation_minutes != OBSERVATION_MINUTES:
            found.append(f"it is observed for {self.observation_minutes:g} minutes, not {OBSERVATION_MINUTES:g}")
        if self.most_observations is not None:
            found.append(f"{self.most_observations} observations are enough for any objective")
        if self.slowness != 1:
            found.append(f"the limits of times are multiplied by {self.slowness:g}")
        return found


_DOCUMENT: Final = Criteria()


class Decision(NamedTuple):
    """What happens to a release, and each reason for it in a sentence."""

    action: Action
    reasons: tuple[str, ...]
    with_consumers: bool = False
    """Whether the lag of the consumers of events is among the reasons to roll back."""


def decide(phase: Phase, seen: Observation, criteria: Criteria = _DOCUMENT) -> Decision:
    """Return what happens to a release in a phase."""
    for action, reasons in (
        (Action.ROLL_BACK, tuple(_reasons_to_roll_back(seen, criteria))),
        (Action.PAUSE, tuple(_reasons_to_pause(phase, seen, criteria))),
        (Action.HOLD, tuple(_reasons_to_hold(phase, seen, criteria))),
    ):
        if reasons:
            lag = seen.measured.get(LAG.key)
            late = action is Action.ROLL_BACK and lag is not None and lag.value > criteria.lag_roll_back_seconds
            return Decision(action, reasons, with_consumers=late)
    return Decision(Action.PROMOTE, (f"every criterion of phase {phase.number} is met",))


def _reasons_to_roll_back(seen: Observation, criteria: Criteria) -> Iterator[str]:
    if seen.is_ready is False:
        yield "an instance of the new version is not ready"
    lag, most = seen.measured.get(LAG.key), criteria.lag_roll_back_seconds
    if lag is not None and lag.value > most:
        yield f"{LAG.title}: {LAG.shown(lag.value)}, above {LAG.shown(most)}"
    for objective in criteria.objectives():
        measured = seen.measured.get(objective.key)
        if measured is not None and objective.key != "dead_letters" and is_violated(objective, measured):
            yield _above(objective, measured)


def _reasons_to_pause(phase: Phase, seen: Observation, criteria: Criteria) -> Iterator[str]:
    dead = criteria.objective(OBJECTIVES["dead_letters"])
    measured = seen.measured.get(dead.key)
    if measured is not None and is_violated(dead, measured, DEAD_LETTERS_PAUSE):
        yield f"{dead.title}: {dead.shown(measured.value)}, above {dead.shown(DEAD_LETTERS_PAUSE)}"
    if phase is Phase.FOURTH and seen.minutes >= criteria.observation_ends_minutes:
        for reason in _unmet(phase, seen, criteria):
            yield f"after {criteria.observation_ends_minutes:g} minutes of observation: {reason}"


def _reasons_to_hold(phase: Phase, seen: Observation, criteria: Criteria) -> Iterator[str]:
    yield from _unmet(phase, seen, criteria)
    if phase is Phase.FOURTH and seen.minutes < criteria.observation_minutes:
        yield f"observed for {seen.minutes:g} of {criteria.observation_minutes:g} minutes"


def _unmet(phase: Phase, seen: Observation, criteria: Criteria) -> Iterator[str]:
    """Yield the criteria of a phase that are not met yet. Each phase has those of the phases before it too."""
    if seen.is_ready is None:
        yield "it is not known whether the instances of the new version are ready"
    if phase is Phase.FIRST:
        yield from _too_much_for_the_first(seen, criteria)
    for objective in map(criteria.objective, _criteria(phase)):
        measured = seen.measured.get(objective.key)
        if measured is None:
            yield f"{objective.title}: there is no figure"
        elif measured.value > objective.limit:
            yield _above(objective, measured)
        elif not is_met(objective, measured):
            yield f"{objective.title}: {measured.observations} of {objective.enough} observations"


def _too_much_for_the_first(seen: Observation, criteria: Criteria) -> Iterator[str]:
    """Yield what the first phase refuses beyond the objectives: a single error, and a latency that is just reached."""
    errors, latency = map(criteria.objective, (OBJECTIVES["errors"], OBJECTIVES["latency"]))
    if (measured := seen.measured.get(errors.key)) is not None and 0 < measured.value <= errors.limit:
        yield f"{errors.title}: {errors.shown(measured.value)}, and phase 1 allows none"
    if (measured := seen.measured.get(latency.key)) is not None and measured.value == latency.limit:
        yield f"{latency.title}: {latency.shown(measured.value)}, and phase 1 needs less"


def _criteria(phase: Phase) -> Iterator[Objective]:
    if phase in (Phase.THIRD, Phase.FOURTH):
        yield from OBJECTIVES.values()
    else:
        yield OBJECTIVES["errors"]
        yield OBJECTIVES["latency"]
        if phase is Phase.SECOND:
            yield OBJECTIVES["dead_letters"]
    if phase is not Phase.FIRST:
        yield LAG


def _above(objective: Objective, measured: Measured) -> str:
    return f"{objective.title}: {objective.shown(measured.value)}, above {objective.shown(objective.limit)}"
