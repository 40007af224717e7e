"""The statuses of reports of fraud, and the legal changes between them."""

from __future__ import annotations

from typing import Final

from shared.core.problems import Problem
from shared.records.fraud_reports import FraudReportDocument, FraudReportStatus

FRAUD_REPORT_CHANGES: Final[dict[FraudReportStatus, frozenset[FraudReportStatus]]] = {
    "open": frozenset({"accepted", "rejected", "canceled"}),
    "accepted": frozenset(),
    "rejected": frozenset(),
    "canceled": frozenset(),
}


def require_open(report: FraudReportDocument, status: FraudReportStatus) -> None:
    """Raise Problem `illegal_state` unless the report may change to the status."""
    if status not in FRAUD_REPORT_CHANGES[report["status"]]:
        raise Problem("illegal_state", f"The report is {report['status']}; it cannot change to {status}.")
