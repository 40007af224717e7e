"""Facts about reports of fraud, on the topic of providers."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event
from shared.core.money import Money


class FraudReportEvent(Event):
    """The fields of every fact about a report of fraud. `account_id` is the account that received the payment."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "report_id"

    report_id: str
    return_id: str
    deposit_id: str
    account_id: str
    amount: Money


class FraudReported(FraudReportEvent):
    """The payer's bank reports a received payment as a fraud; the tenant is to decide until `analysis_due_at`.

    As much of the amount as the account has available is going to be held.
    """

    type: ClassVar[str] = "lastro.pix.fraud_reported.v1"
    terminal: ClassVar[bool] = True

    analysis_due_at: str


class FraudReportAccepted(FraudReportEvent):
    """The tenant agrees that the payment was a fraud; what is held is to be returned."""

    type: ClassVar[str] = "lastro.pix.fraud_report_accepted.v1"


class FraudReportRejected(FraudReportEvent):
    """The tenant does not agree that the payment was a fraud; what is held is released."""

    type: ClassVar[str] = "lastro.pix.fraud_report_rejected.v1"


class FraudReportCanceled(FraudReportEvent):
    """The payer's bank has withdrawn the report; what is held is released."""

    type: ClassVar[str] = "lastro.pix.fraud_report_canceled.v1"
    terminal: ClassVar[bool] = True
