"""The indicators as queries to Prometheus: one definition for alerts, the dashboard and decisions about releases.

The names are those that a collector writes for the metrics of a function (shared/adapters/otlp): `service_version` is
the revision, `lastro_operation` and `lastro_consumer` the function. `{of}` in a text is a list of labels, `{window}` a
duration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.release.indicators import LAG, OBJECTIVES, Kind, Objective

_HTTP: Final = "http_server_request_duration_seconds"
_EVENTS: Final = "messaging_process_duration_seconds"
_AGE: Final = "lastro_event_age_seconds"
_PARKED: Final = 'lastro_consumer="operations/park_dead_letter",lastro_status=~"2.."'
_STEPS: Final = ("accounts/hold_funds", "payments/authorize", "ledger/post_transfer", "payments/settle")
"""The deliveries between the request of a payment and its settlement. Each has a fifth of the time."""
_LONG: Final = "1d"
"""The window of what happens once a day: audits and reconciliations."""


class Query(NamedTuple):
    """The bad and all observations of an objective, as numbers in a window."""

    bad: str
    total: str
    value: str
    """The share, the percentile or the level."""
    of_revisions: bool = True
    """Whether the figures can be those of some revisions only."""
    window: str = ""
    """The window of the figures, where it is not the one that is asked for."""

    def text(self, part: str, of: str, window: str) -> str:
        """Return a query for the revisions that the labels select, over a window."""
        labels = of if self.of_revisions else ""
        return part.replace("{of}", f"{labels}," if labels else "").replace("{window}", self.window or window)


def _count(metric: str, labels: str = "", suffix: str = "count") -> str:
    return f"sum(increase({metric}_{suffix}{{{{of}}{labels}}}[{{window}}]))"


def _share(bad: str, total: str, *, of_revisions: bool = True, window: str = "") -> Query:
    # Without a bad observation there is no series; then the share is 0, unless there is no observation at all.
    return Query(bad, total, f"(({bad}) or vector(0)) / (({total}) > 0)", of_revisions, window)


def _percentile(metric: str, labels: str, limit: float, quantile: float) -> Query:
    total = _count(metric, labels)
    within = _count(metric, f'{labels}{"," if labels else ""}le="{limit:g}"', "bucket")
    value = f"histogram_quantile({quantile}, sum by (le) (rate({metric}_bucket{{{{of}}{labels}}}[{{window}}])))"
    return Query(f"({total}) - (({within}) or vector(0))", total, value)


def _edge(key: str) -> float:
    return OBJECTIVES[key].limit


def _payment_time() -> Query:
    steps = "|".join(_STEPS)
    slow = _percentile(_AGE, f'lastro_consumer=~"{steps}"', 1.0, 0.95)
    quantiles = [
        f'histogram_quantile(0.95, sum by (le) (rate({_AGE}_bucket{{{{of}}lastro_consumer="{step}"}}[{{window}}])))'
        for step in _STEPS
    ]
    request = (
        f"histogram_quantile(0.95, sum by (le) "
        f'(rate({_HTTP}_bucket{{{{of}}lastro_operation="payments/create_payment"}}[{{window}}])))'
    )
    return Query(slow.bad, slow.total, " + ".join((request, *quantiles)))


QUERIES: Final[Mapping[str, Query]] = {
    "unavailable": _share(
        _count(_HTTP, 'http_response_status_code=~"5.."'), _count(_HTTP, 'http_response_status_code!~"4.."')
    ),
    "latency": _percentile(_HTTP, "", _edge("latency"), 0.95),
    "errors": _share(_count(_HTTP, 'http_response_status_code=~"5.."'), _count(_HTTP)),
    "reprocessed": _share("sum(increase(lastro_reprocessed_total{{of}}[{window}]))", _count(_HTTP)),
    "ledger_missing": _share(
        'sum(increase(lastro_ledger_audits_total{label="failed"}[{window}]))',
        "sum(increase(lastro_ledger_audits_total[{window}]))",
        of_revisions=False,
        window=_LONG,
    ),
    "ledger_latency": _percentile(_AGE, 'lastro_consumer="ledger/post_transfer"', _edge("ledger_latency"), 0.99),
    "undelivered": _share(_count(_EVENTS, 'lastro_status!~"2..|409|429"'), _count(_EVENTS)),
    "event_latency": _percentile(_AGE, "", _edge("event_latency"), 0.95),
    "redelivered": _share(_count(_EVENTS, 'lastro_status=~"409|429|5.."'), _count(_EVENTS)),
    "dead_letters": _share(
        _count(_EVENTS, _PARKED),
        _count(_EVENTS, 'lastro_consumer!="operations/park_dead_letter"'),
        of_revisions=False,
    ),
    "dead_letter_age": Query(
        "max(lastro_dead_letter_oldest_seconds)",
        "vector(1)",
        "max(lastro_dead_letter_oldest_seconds)",
        of_revisions=False,
    ),
    "payments_failed": _share(
        _count(_EVENTS, 'lastro_consumer=~"payments/(fail|expire)",lastro_status=~"2.."'),
        _count(_EVENTS, 'lastro_consumer=~"payments/(fail|expire|settle)",lastro_status=~"2.."'),
    ),
    "payment_time": _payment_time(),
    "unreconciled": _share(
        'sum(increase(lastro_reconciliation_items_total{label="unmatched"}[{window}]))',
        "sum(increase(lastro_reconciliation_items_total[{window}]))",
        of_revisions=False,
        window=_LONG,
    ),
}
"""By the key of the objective."""

_BEHIND: Final = 'sum by (consumergroup) (kafka_consumergroup_lag{consumergroup=~"(lastro|knative-trigger-lastro).*"})'
_SPEED: Final = _BEHIND.replace("(kafka_consumergroup_lag", "(rate(kafka_consumergroup_current_offset").replace(
    "})", "}[1m]))"
)
LAG_QUERY: Final = Query(
    f"max({_BEHIND})",
    "vector(1)",
    # How long the slowest group needs for what it has not read, at its speed of the last minute; without any speed a
    # group that is behind is as late as can be.
    f"max(({_BEHIND} / ({_SPEED} > 0)) or ({_BEHIND} > bool 0) * 3600)",
    of_revisions=False,
)
"""The lag of the consumers in seconds. Kafka's exporter counts records, not time."""


def query_of(objective: Objective) -> Query:
    """Return the query of an objective, or of the lag."""
    return LAG_QUERY if objective is LAG else QUERIES[objective.key]


def budget_of(objective: Objective) -> float:
    """Return the share of bad observations that an objective allows: of a percentile, what is above it."""
    return {Kind.P95: 0.05, Kind.P99: 0.01}.get(objective.kind, objective.limit)
