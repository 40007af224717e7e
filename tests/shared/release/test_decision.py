"""The decision about a release: each row of the two tables of the architecture document, and its invariants."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.release.decision import Action, Observation, Phase, decide
from shared.release.indicators import LAG, OBJECTIVES, Kind, Measured, Objective, is_met, is_violated

MANY = 100_000
GOOD = {
    **{key: Measured(0.0, MANY) for key in OBJECTIVES},
    "latency": Measured(0.12, MANY),
    "ledger_latency": Measured(0.2, MANY),
    LAG.key: Measured(0.4),
}
"""Figures of a version without a fault."""


Figures = Mapping[str, Measured | None]


def seen(figures: Figures | None = None, minutes: float = 10.0, *, is_ready: bool | None = True) -> Observation:
    """Return the figures of a good version, except for these; None stands for a missing figure."""
    all_figures: Figures = {**GOOD, **(figures or {})}
    measured = {key: value for key, value in all_figures.items() if value is not None}
    return Observation(measured, minutes, is_ready)


ONE_BAD: dict[str, Figures] = {
    "one 5xx": {"errors": Measured(1 / MANY, MANY)},
    "latency reached": {"latency": Measured(0.3, MANY)},
    "dead letters": {"dead_letters": Measured(0.0003, MANY)},
    "lag": {"lag": Measured(3.0)},
    "no figure of lag": {"lag": None},
    "a slow payment": {"payment_time": Measured(4.9, 10)},
    "none": {},
}
PROMOTIONS = [
    # The row Fase 1.
    (Phase.FIRST, "none", Action.PROMOTE),
    (Phase.FIRST, "one 5xx", Action.HOLD),
    (Phase.FIRST, "latency reached", Action.HOLD),
    (Phase.FIRST, "dead letters", Action.PROMOTE),
    (Phase.FIRST, "lag", Action.PROMOTE),
    # The row Fase 2.
    (Phase.SECOND, "none", Action.PROMOTE),
    (Phase.SECOND, "one 5xx", Action.PROMOTE),
    (Phase.SECOND, "dead letters", Action.HOLD),
    (Phase.SECOND, "lag", Action.HOLD),
    (Phase.SECOND, "no figure of lag", Action.HOLD),
    (Phase.SECOND, "a slow payment", Action.PROMOTE),
    # The row Fase 3.
    (Phase.THIRD, "none", Action.PROMOTE),
    (Phase.THIRD, "a slow payment", Action.HOLD),
    (Phase.THIRD, "dead letters", Action.HOLD),
]


@pytest.mark.parametrize(("phase", "fault", "action"), PROMOTIONS)
def test_a_phase_has_the_criteria_of_its_row(phase: Phase, fault: str, action: Action) -> None:
    """A release is promoted when the criteria of its phase are met, and waits otherwise."""
    assert decide(phase, seen(ONE_BAD[fault])).action is action


@pytest.mark.parametrize(
    ("minutes", "fault", "action"),
    [
        (29.9, "none", Action.HOLD),
        (30.0, "none", Action.PROMOTE),
        (59.0, "a slow payment", Action.HOLD),
        (60.0, "a slow payment", Action.PAUSE),
        (90.0, "none", Action.PROMOTE),
    ],
)
def test_the_last_phase_is_observed(minutes: float, fault: str, action: Action) -> None:
    """With all traffic a release is complete after 30 minutes without a regression; one that is not shown to be good
    after 60 waits for a person."""
    assert decide(Phase.FOURTH, seen(ONE_BAD[fault], minutes)).action is action


ROLL_BACKS = [
    # The row Aumento de erros 5xx.
    ({"errors": Measured(0.01, 10_000)}, Action.ROLL_BACK, False),
    # The row Latência P95 > 300 ms.
    ({"latency": Measured(0.301, 200)}, Action.ROLL_BACK, False),
    # The row Consumer lag > 5 s.
    ({"lag": Measured(5.1)}, Action.ROLL_BACK, True),
    # The row DLQ > 0.05%.
    ({"dead_letters": Measured(0.002, 50_000)}, Action.PAUSE, False),
    # The row Rollback.
    ({"payments_failed": Measured(0.01, 5_000)}, Action.ROLL_BACK, False),
    ({"ledger_missing": Measured(1 / MANY, MANY)}, Action.ROLL_BACK, False),
    ({"event_latency": Measured(1.5, 500)}, Action.ROLL_BACK, False),
    ({"dead_letter_age": Measured(901.0)}, Action.ROLL_BACK, False),
]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(("figures", "action", "with_consumers"), ROLL_BACKS)
def test_a_failing_release_is_stopped(phase: Phase, figures: Figures, action: Action, with_consumers: bool) -> None:
    """Each condition of the table of automatic rollbacks has its action, in every phase."""
    decision = decide(phase, seen(figures, 45.0))
    assert (decision.action, decision.with_consumers) == (action, with_consumers)
    assert OBJECTIVES.get(next(iter(figures)), LAG).title in decision.reasons[0]


@pytest.mark.parametrize("phase", Phase)
def test_an_instance_that_is_not_ready_ends_the_release(phase: Phase) -> None:
    """A failure of readiness or liveness takes a release back at once, and unknown readiness does not promote it."""
    assert decide(phase, seen(is_ready=False)).action is Action.ROLL_BACK
    assert decide(phase, seen(minutes=45, is_ready=None)).action is Action.HOLD


def test_few_observations_decide_nothing() -> None:
    """One error of few requests neither takes a release back nor promotes it, and many without error promote it."""
    few = seen({"errors": Measured(1 / 100, 100)})
    assert decide(Phase.FIRST, few).action is Action.HOLD
    assert decide(Phase.FIRST, seen({"errors": Measured(2 / 100, 100)})).action is Action.ROLL_BACK
    assert decide(Phase.FIRST, seen({"errors": Measured(0.0, 2_999)})).reasons == (
        "requests answered with 5xx: 2999 of 3000 observations",
    )
    assert decide(Phase.FIRST, seen({"errors": Measured(0.0, 3_000)})).action is Action.PROMOTE
    assert decide(Phase.SECOND, seen({"dead_letters": Measured(0.0, 29_999)})).action is Action.HOLD
    assert decide(Phase.FIRST, seen({"latency": Measured(9.0, 99)})).action is Action.HOLD


figures = st.dictionaries(
    st.sampled_from([*OBJECTIVES, LAG.key]),
    st.builds(Measured, st.floats(0, 1) | st.floats(0, 1e4), st.integers(0, 10**9)),
)
observations = st.builds(Observation, figures, st.floats(0, 600), st.sampled_from([True, False, None]))


@given(observations, st.sampled_from(Phase))
def test_every_decision_has_a_reason(observation: Observation, phase: Phase) -> None:
    """Whatever was measured, there is one decision with at least one reason, and without figures it is no promotion."""
    decision = decide(phase, observation)
    assert decision.reasons
    assert decide(phase, Observation({}, observation.minutes, observation.is_ready)).action is not Action.PROMOTE


def test_a_share_above_one_is_that_of_all_observations() -> None:
    """A share that was extrapolated to more than 1 counts as bad observations only."""
    errors = OBJECTIVES["errors"]
    assert is_violated(errors, Measured(1.5, 2)) == is_violated(errors, Measured(1.0, 2)) is True


@given(st.sampled_from([*OBJECTIVES.values()]), st.floats(0, 1), st.integers(0, 10**7))
def test_an_objective_is_not_both_met_and_violated(objective: Objective, value: float, number: int) -> None:
    """No figure is inside and outside an objective, and a worse one with the same observations stays outside."""
    share = round(value * number) / number if number and objective.kind is Kind.SHARE else value
    measured = Measured(share, number)
    assert not (is_met(objective, measured) and is_violated(objective, measured))
    if is_violated(objective, measured):
        assert is_violated(objective, Measured(1.0, number)) or objective.kind is not Kind.SHARE
