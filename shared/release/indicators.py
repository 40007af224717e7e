"""The service level indicators on which the decision about a release rests, and their objectives.

The objectives are those of the SLO table of the architecture document; the ones about a release are those of its
tables "Estratégia de Canary" and "Rollback Automático".
"""

from __future__ import annotations

from enum import Enum
from math import erfc, exp, lgamma, log, log1p, sqrt
from typing import Final, NamedTuple

CONFIDENCE: Final = 0.95
"""How sure a share must be before it counts as inside or outside its objective."""
_TIMES_FOR_P95: Final = 100
_TIMES_FOR_P99: Final = 500
_MANY: Final = 1_000
"""From so many bad observations on, the normal distribution is exact enough."""


class Kind(Enum):
    """What the value of an indicator is, which says how many observations it needs."""

    SHARE = "share"
    """A share of bad observations, from 0 to 1."""
    P95 = "P95"
    """The 95th percentile of a time."""
    P99 = "P99"
    """The 99th percentile of a time."""
    LEVEL = "level"
    """A value of now, which needs no number of observations."""


class Objective(NamedTuple):
    """An indicator and its greatest allowed value."""

    key: str
    title: str
    kind: Kind
    limit: float
    """The greatest allowed value: a share of bad observations, or seconds."""
    most: int | None = None
    """How many observations are enough in any case, or None."""

    @property
    def enough(self) -> int:
        """The number of observations from which the indicator can be inside the objective, but not more than `most`.

        With n observations of which none is bad, a share is below 3/n with 95 % confidence (the rule of three).
        """
        if self.kind is Kind.SHARE:
            certain = 1 if self.limit == 0 else round(3 / self.limit)
        else:
            certain = {Kind.P95: _TIMES_FOR_P95, Kind.P99: _TIMES_FOR_P99, Kind.LEVEL: 0}[self.kind]
        return certain if self.most is None else min(certain, self.most)

    def shown(self, value: float) -> str:
        """Return a value of the indicator for people."""
        return f"{value:.3%}" if self.kind is Kind.SHARE else f"{value:.3g} s"


class Measured(NamedTuple):
    """An indicator of the new version, over the time of a phase."""

    value: float
    """A share of bad observations from 0 to 1, or seconds."""
    observations: int = 0
    """How many requests, events or payments the value is about."""


OBJECTIVES: Final = {
    each.key: each
    for each in (
        Objective("unavailable", "requests not answered with 2xx or 3xx, without 4xx", Kind.SHARE, 0.0005),
        Objective("latency", "time of a request", Kind.P95, 0.3),
        Objective("errors", "requests answered with 5xx", Kind.SHARE, 0.001),
        Objective("reprocessed", "requests processed a second time", Kind.SHARE, 0.0001),
        Objective("ledger_missing", "events that the ledger did not apply", Kind.SHARE, 0.0),
        Objective("ledger_latency", "time from the event to the ledger", Kind.P99, 0.5),
        Objective("undelivered", "events not processed", Kind.SHARE, 0.001),
        Objective("event_latency", "time from publication to consumption", Kind.P95, 1.0),
        Objective("redelivered", "events processed again", Kind.SHARE, 0.001),
        Objective("dead_letters", "events that became dead letters", Kind.SHARE, 0.0001),
        Objective("dead_letter_age", "age of the oldest dead letter", Kind.LEVEL, 900.0),
        Objective("payments_failed", "payments that ended with an error", Kind.SHARE, 0.001),
        Objective("payment_time", "time from the request to the commit of a payment", Kind.P95, 5.0),
        Objective("unreconciled", "transactions not reconciled automatically", Kind.SHARE, 0.005),
    )
}
"""The objectives by key, in the order of the SLO table."""
LAG: Final = Objective("lag", "age of the oldest event that consumers have not processed", Kind.LEVEL, 1.0)
"""The lag of the consumers, and the greatest with which a release is promoted."""


def is_violated(objective: Objective, measured: Measured, limit: float | None = None) -> bool:
    """Return whether an indicator is outside its objective with enough certainty.

    A share is outside when so many bad observations, or more, would be seen in less than 5 % of the cases if the true
    share were the limit. A percentile needs `enough` observations.
    """
    limit = objective.limit if limit is None else limit
    if measured.value <= limit:
        return False
    if objective.kind is not Kind.SHARE:
        return measured.observations >= objective.enough
    # Both counts are extrapolated, so the share of a few observations can be above 1.
    bad = min(round(measured.value * measured.observations), measured.observations)
    return _chance_of(bad, measured.observations, limit) < 1 - CONFIDENCE


def is_met(objective: Objective, measured: Measured) -> bool:
    """Return whether an indicator is inside its objective, with enough observations to say so."""
    return measured.value <= objective.limit and measured.observations >= objective.enough


def _chance_of(bad: int, observations: int, share: float) -> float:
    """Return the probability of at least `bad` of the observations, each of which is bad with probability `share`."""
    if bad <= 0:
        return 1.0
    if share <= 0:
        return 0.0
    expected = observations * share
    deviation = sqrt(expected * (1 - share))
    if expected > _MANY or bad > expected + _MANY:
        return erfc((bad - 0.5 - expected) / (deviation * sqrt(2))) / 2
    log_n = lgamma(observations + 1)
    fewer = sum(
        exp(
            log_n
            - lgamma(count + 1)
            - lgamma(observations - count + 1)
            + count * log(share)
            + (observations - count) * log1p(-share)
        )
        for count in range(bad)
    )
    return max(0.0, 1.0 - fewer)
