"""The rules of Prometheus and the dashboard for every objective (the SLO table of the architecture document).

Burn rates over two windows each: an alert needs both, so it begins early and ends soon after its cause (Google, The
Site Reliability Workbook, chapter 5).
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from shared.release.decision import DEAD_LETTERS_PAUSE, LAG_ROLL_BACK_SECONDS
from shared.release.indicators import LAG, OBJECTIVES, Kind, Objective
from shared.release.queries import Query, budget_of, query_of

Rule = dict[str, Any]


class Burn(NamedTuple):
    """An alert: how many times too fast the budget of a month is used up, over a long and a short window."""

    rate: float
    long: str
    short: str
    severity: str


BURNS: Final = (
    Burn(14.4, "1h", "5m", "page"),
    Burn(6.0, "6h", "30m", "page"),
    Burn(3.0, "1d", "2h", "message"),
    Burn(1.0, "3d", "6h", "message"),
)
_WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


def rules() -> dict[str, Any]:
    """Return the rules for Prometheus."""
    return {
        "groups": [
            {"name": f"objective-{key}", "interval": "30s", "rules": _rules_of(objective)}
            for key, objective in (*OBJECTIVES.items(), (LAG.key, LAG))
        ]
        + [{"name": "release", "interval": "30s", "rules": [_dead_letters_of_a_release()]}]
    }


def _dead_letters_of_a_release() -> Rule:
    """Return the alert for the share of dead letters that pauses a release, which is below that of a burn rate."""
    dead = OBJECTIVES["dead_letters"]
    both = " and ".join(f"{_record(dead, window)} > {DEAD_LETTERS_PAUSE:g}" for window in ("5m", "30m"))
    summary = f"{dead.title}: above {dead.shown(DEAD_LETTERS_PAUSE)}; a release in progress pauses"
    return {
        "alert": "ReleaseDeadLetters",
        "expr": both,
        "for": "0m",
        "labels": {"severity": "page", "slo": dead.key},
        "annotations": {"summary": summary, "runbook": "docs/deploy.md#alerts"},
    }


def _rules_of(objective: Objective) -> list[Rule]:
    query = query_of(objective)
    if objective.kind is Kind.LEVEL:
        return _level(objective, query)
    if objective.limit == 0:
        return [_alert(objective, f"({query.text(query.bad, '', '1d')}) > 0", "0m", "page")]
    if query.window:
        share = query.text(query.value, "", "1d")
        return [
            {"record": f"lastro:{objective.key}:bad_share1d", "expr": share},
            _alert(objective, f"lastro:{objective.key}:bad_share1d > {objective.limit:g}", "0m", "message"),
        ]
    recorded = [{"record": _record(objective, window), "expr": _bad_share(query, window)} for window in _WINDOWS]
    return [*recorded, *(_burn(objective, burn) for burn in BURNS)]


def _bad_share(query: Query, window: str) -> str:
    bad, total = query.text(query.bad, "", window), query.text(query.total, "", window)
    return f"(({bad}) or vector(0)) / (({total}) > 0)"


def _record(objective: Objective, window: str) -> str:
    return f"lastro:{objective.key}:bad_share{window}"


def _burn(objective: Objective, burn: Burn) -> Rule:
    limit = burn.rate * budget_of(objective)
    both = " and ".join(f"{_record(objective, window)} > {limit:.6g}" for window in (burn.long, burn.short))
    rule = _alert(objective, both, "0m", burn.severity)
    rule["labels"]["window"] = burn.long
    return rule


def _level(objective: Objective, query: Query) -> list[Rule]:
    record = f"lastro:{objective.key}:seconds"
    recorded: Rule = {"record": record, "expr": query.text(query.value, "", "5m")}
    if objective is not LAG:
        return [recorded, _alert(objective, f"{record} > {objective.limit:g}", "5m", "page")]
    late = _alert(objective, f"{record} > {LAG_ROLL_BACK_SECONDS:g}", "1m", "page")
    return [recorded, _alert(objective, f"{record} > {objective.limit:g}", "5m", "message"), late]


def _alert(objective: Objective, expression: str, duration: str, severity: str) -> Rule:
    name = "".join(part.title() for part in objective.key.split("_"))
    return {
        "alert": f"Objective{name}",
        "expr": expression,
        "for": duration,
        "labels": {"severity": severity, "slo": objective.key},
        "annotations": {
            "summary": f"{objective.title}: beyond {_limit(objective)}",
            "runbook": "docs/deploy.md#alerts",
        },
    }


def _limit(objective: Objective) -> str:
    shown = objective.shown(objective.limit)
    return f"{objective.kind.value} {shown}" if objective.kind in (Kind.P95, Kind.P99) else shown


def dashboard() -> str:
    """Return the dashboard of all objectives for Grafana: what is measured, and the objective as a line."""
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": objective.title,
            "description": f"Objective: {_limit(objective)}",
            "datasource": {"type": "prometheus", "uid": "prometheus"},
            "gridPos": {"h": 8, "w": 8, "x": number % 3 * 8, "y": number // 3 * 8},
            "fieldConfig": {
                "defaults": {
                    "unit": "percentunit" if objective.kind is Kind.SHARE else "s",
                    "thresholds": {
                        "mode": "absolute",
                        "steps": [{"color": "green", "value": None}, {"color": "red", "value": objective.limit}],
                    },
                    "custom": {"thresholdsStyle": {"mode": "line"}},
                },
                "overrides": [],
            },
            "targets": [
                {
                    "refId": "A",
                    "expr": query_of(objective).text(query_of(objective).value, "", "$__rate_interval"),
                    "legendFormat": "measured",
                }
            ],
        }
        for number, objective in enumerate((*OBJECTIVES.values(), LAG))
    ]
    document = {
        "uid": "lastro-objectives",
        "title": "Objectives",
        "tags": ["lastro"],
        "timezone": "utc",
        "schemaVersion": 41,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": panels,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
