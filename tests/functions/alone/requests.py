"""A request or an event for each function, which fits the data directory that story.py makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from events.failure import Failure
from events.fraud_reports import FraudReportAccepted
from events.holds import FundsHeld, FundsRefused, FundsReleased
from events.ledger import CauseType, PostedLeg, TransferPosted, TransferRefused
from events.notifications import NotificationDue
from events.payments.canceled import PaymentCanceled
from events.payments.settled import PaymentSettled
from events.rail_payments import BankTransferReturned, PixPaymentConfirmed, PixPaymentSent
from events.sweeps import HoldExpired, SagaOverdue, Tick
from events.users import UserClosed, UserErasureRequested
from events.webhooks import WebhookDeliveryDue
from shared.adapters.providers.callback_signature import sign
from shared.core.clock import SystemClock, format_time
from shared.core.envelope import Envelope, Event
from shared.core.ids import derived_id
from shared.core.money import Money
from shared.records.system_accounts import clearing_account
from tests.cnab import content
from tests.functions.alone.story import CALLBACK_SECRET, CLEARING, TENANT, Story
from tests.functions.providers.rail import OPEN_MOVEMENTS

_FAILURE = Failure(code="insufficient_funds", detail="There is not enough.")
_NOW = format_time(SystemClock().now())


@dataclass(frozen=True)
class Request:
    """A request and the status of its response."""

    status: int
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return b"" if self.body is None else self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)


def _reais(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


def _user() -> dict[str, Any]:
    document = {"type": "cnpj", "number": "11222333000181"}
    return {"kind": "merchant", "name": "Loja", "document": document, "email": "loja@example.test"}


def _payment(story: Story) -> dict[str, Any]:
    parties = {"payer_account_id": story.payer, "payee_account_id": story.payee}
    return {"amount": _reais(500), "method": "internal", **parties}


def _callback(path: str = "/v1/providers/pix/callbacks") -> Request:
    report = {"endToEndId": "E" + "1" * 31, "txid": None, "valor": "10.50", "horario": _NOW}
    body = orjson.dumps({"pix": [report]})
    headers = {"content-type": "application/json", **sign(CALLBACK_SECRET, body, SystemClock().now())}
    return Request(200, path, body, headers)


def _fraud_report() -> Request:
    report = {"id": "f1", "endToEndId": "E" + "1" * 31, "valor": "10.50", "status": "OPEN"}
    body = orjson.dumps({"infractionReports": [report]})
    headers = {"content-type": "application/json", **sign(CALLBACK_SECRET, body, SystemClock().now())}
    return Request(200, "/v1/providers/pix/callbacks/med", body, headers)


def _keys(story: Story) -> str:
    return f"/v1/tenants/{TENANT}/signing-keys/{story.key.key_id}"


REQUESTS: dict[str, Callable[[Story], Request]] = {
    "accounts/block_account": lambda s: Request(200, f"/v1/accounts/{s.payer}/block", {"mode": "all"}),
    "accounts/close_account": lambda s: Request(409, f"/v1/accounts/{s.payer}/close", {}),
    "accounts/get_account": lambda s: Request(200, f"/v1/accounts/{s.payer}"),
    "accounts/list_accounts": lambda s: Request(200, "/v1/accounts"),
    "accounts/open_account": lambda s: Request(201, "/v1/accounts", {"owner_id": s.user, "currency": "USD"}),
    "accounts/unblock_account": lambda s: Request(409, f"/v1/accounts/{s.payer}/unblock"),
    "accounts/update_account": lambda s: Request(200, f"/v1/accounts/{s.payer}", {"limits": {"per_day": 500_000}}),
    "ledger/get_transfer": lambda s: Request(200, f"/v1/ledger/transfers/{s.transfer}"),
    "ledger/list_entries": lambda s: Request(200, f"/v1/ledger/accounts/{s.payer}/entries"),
    "ledger/trial_balance": lambda s: Request(200, "/v1/ledger/trial-balance"),
    "notifications/get_notification_preferences": lambda s: Request(200, _preferences(s)),
    "notifications/update_notification_preferences": lambda s: Request(200, _preferences(s), {"channels": ["email"]}),
    "operations/discard_dead_letter": lambda s: Request(200, f"{_letter(s)}/discard", {"reason": "a test's"}),
    "operations/discard_platform_dead_letter": lambda s: Request(
        200, f"{_platform_letter(s)}/discard", {"reason": "a test's"}
    ),
    "operations/get_dead_letter": lambda s: Request(200, _letter(s)),
    "operations/get_platform_dead_letter": lambda s: Request(200, _platform_letter(s)),
    "operations/get_report": lambda s: Request(200, "/v1/operations/report"),
    "operations/list_dead_letters": lambda s: Request(200, "/v1/dead-letters"),
    "operations/list_platform_dead_letters": lambda s: Request(200, "/v1/platform/dead-letters"),
    "operations/replay_dead_letter": lambda s: Request(200, f"{_letter(s)}/replay"),
    "operations/replay_dead_letters": lambda s: Request(200, "/v1/dead-letters/replay", {"type": "lastro.x.y.v1"}),
    "operations/replay_platform_dead_letters": lambda s: Request(200, "/v1/platform/dead-letters/replay"),
    "operations/replay_platform_dead_letter": lambda s: Request(200, f"{_platform_letter(s)}/replay"),
    "payments/cancel": lambda s: Request(200, f"/v1/payments/{s.authorized}/cancel", {"reason": "too late"}),
    "payments/capture": lambda s: Request(200, f"/v1/payments/{s.authorized}/capture", {"amount": _reais(700)}),
    "payments/create_payment": lambda s: Request(201, "/v1/payments", _payment(s)),
    "payments/create_refund": lambda s: Request(201, f"/v1/payments/{s.settled}/refunds", {"reason": "broken"}),
    "payments/get_payment": lambda s: Request(200, f"/v1/payments/{s.settled}"),
    "payments/get_refund": lambda s: Request(200, f"/v1/refunds/{s.refund}"),
    "payments/list_payments": lambda s: Request(200, "/v1/payments"),
    "payments/list_refunds": lambda s: Request(200, f"/v1/payments/{s.settled}/refunds"),
    "payments/resolve_review": lambda s: Request(
        409, f"/v1/payments/{s.over_rail}/resolve", {"outcome": "failed", "reason": "a test's"}
    ),
    "payments/timeline": lambda s: Request(200, f"/v1/payments/{s.settled}/events"),
    "providers/create_deposit": lambda s: Request(
        201, "/v1/deposits", {"account_id": s.payer, "amount": _reais(900), "method": "pix"}
    ),
    "providers/create_reconciliation": lambda s: Request(201, "/v1/reconciliations", _day()),
    "providers/get_deposit": lambda s: Request(200, f"/v1/deposits/{s.deposit}"),
    "providers/create_pix_charge": lambda s: Request(
        201, "/v1/pix/charges", {"account_id": s.payer, "amount": _reais(900)}
    ),
    "providers/get_pix_charge": lambda s: Request(200, f"/v1/pix/charges/{s.txid}"),
    "providers/get_pix_charge_qr": lambda s: Request(200, f"/v1/pix/charges/{s.txid}/qr.png"),
    "providers/create_pix_static_code": lambda s: Request(201, "/v1/pix/static-codes", {"account_id": s.payer}),
    "providers/get_pix_static_code": lambda s: Request(200, f"/v1/pix/static-codes/{s.code_txid}"),
    "providers/get_pix_static_code_qr": lambda s: Request(200, f"/v1/pix/static-codes/{s.code_txid}/qr.png"),
    "providers/list_pix_static_codes": lambda s: Request(200, "/v1/pix/static-codes"),
    "providers/accept_fraud_report": lambda s: Request(200, f"/v1/pix/fraud-reports/{s.reported}/accept", {}),
    "providers/get_fraud_report": lambda s: Request(200, f"/v1/pix/fraud-reports/{s.reported}"),
    "providers/list_fraud_reports": lambda s: Request(200, "/v1/pix/fraud-reports"),
    "providers/receive_fraud_reports": lambda s: _fraud_report(),
    "providers/reject_fraud_report": lambda s: Request(
        200, f"/v1/pix/fraud-reports/{s.reported}/reject", {"reason": "The goods were delivered"}
    ),
    "providers/create_return": lambda s: Request(201, f"/v1/deposits/{s.received}/returns", {"amount": _reais(20)}),
    "providers/get_return": lambda s: Request(200, f"/v1/returns/{s.returning}"),
    "providers/list_returns": lambda s: Request(200, f"/v1/deposits/{s.received}/returns"),
    "providers/list_pix_charges": lambda s: Request(200, "/v1/pix/charges"),
    "providers/remove_pix_charge": lambda s: Request(200, f"/v1/pix/charges/{s.txid}/remove", {}),
    "providers/revise_pix_charge": lambda s: Request(200, f"/v1/pix/charges/{s.txid}", {"amount": _reais(700)}),
    "providers/get_reconciliation": lambda s: Request(200, f"/v1/reconciliations/{s.reconciliation}"),
    "providers/match_movements": lambda s: Request(
        200,
        f"/v1/reconciliations/{s.reconciliation}/match",
        {"ledger": OPEN_MOVEMENTS, "provider": [], "reason": "corrected"},
    ),
    "providers/get_settlement_file": lambda s: Request(200, f"/v1/settlement-files/{s.settlement_file}"),
    "providers/import_settlement_file": lambda s: Request(201, "/v1/settlement-files", _settlement()),
    "providers/receive_callback": lambda s: _callback(),
    "providers/receive_pix_callback": lambda s: _callback("/v1/providers/pix/callbacks/pix"),
    "statements/get_balance": lambda s: Request(200, f"/v1/accounts/{s.payer}/balance"),
    "statements/get_statement": lambda s: Request(200, f"/v1/accounts/{s.payer}/statement"),
    "tenants/activate_tenant": lambda s: Request(409, f"/v1/tenants/{TENANT}/activate"),
    "tenants/create_tenant": lambda s: Request(201, "/v1/tenants", {"id": "other", "name": "Other"}),
    "tenants/get_signing_key": lambda s: Request(200, _keys(s)),
    "tenants/get_tenant": lambda s: Request(200, f"/v1/tenants/{TENANT}"),
    # It is the tenant's only key, so it cannot be revoked.
    "tenants/revoke_signing_key": lambda s: Request(409, f"{_keys(s)}/revoke"),
    "tenants/rotate_signing_key": lambda s: Request(201, f"/v1/tenants/{TENANT}/signing-keys", {"grace_seconds": 60}),
    "tenants/suspend_tenant": lambda s: Request(200, f"/v1/tenants/{TENANT}/suspend"),
    "users/activate_user": lambda s: Request(409, f"/v1/users/{s.user}/activate"),
    "users/close_user": lambda s: Request(409, f"/v1/users/{s.user}/close"),
    "users/erase_user": lambda s: Request(409, f"/v1/users/{s.user}/erase"),
    "users/export_user": lambda s: Request(200, f"/v1/users/{s.user}/export"),
    "users/get_user": lambda s: Request(200, f"/v1/users/{s.user}"),
    "users/list_user_changes": lambda s: Request(200, f"/v1/users/{s.user}/changes"),
    "users/list_users": lambda s: Request(200, "/v1/users"),
    "users/register_user": lambda s: Request(201, "/v1/users", _user()),
    "users/suspend_user": lambda s: Request(200, f"/v1/users/{s.user}/suspend", {"reason": "a review"}),
    "users/update_user": lambda s: Request(200, f"/v1/users/{s.user}", {"name": "Ana Lima"}),
    "webhooks/create_webhook_endpoint": lambda s: Request(
        201, "/v1/webhook-endpoints", {"url": "https://hooks.invalid/lastro", "events": ["*"]}
    ),
    "webhooks/delete_webhook_endpoint": lambda s: Request(204, _endpoint(s)),
    "webhooks/enable_webhook_endpoint": lambda s: Request(200, f"{_endpoint(s)}/enable"),
    "webhooks/rotate_webhook_secret": lambda s: Request(200, f"{_endpoint(s)}/rotate-secret", {"grace_seconds": 60}),
    "webhooks/get_webhook_endpoint": lambda s: Request(200, _endpoint(s)),
    "webhooks/list_webhook_deliveries": lambda s: Request(200, f"{_endpoint(s)}/deliveries"),
    "webhooks/list_webhook_endpoints": lambda s: Request(200, "/v1/webhook-endpoints"),
    "webhooks/resend_webhook_delivery": lambda s: Request(
        200, f"{_endpoint(s)}/deliveries/{s.webhook_delivery}/resend", {}
    ),
}


def _settlement() -> dict[str, str]:
    return {"content": content(sequence=8)}


def _day() -> dict[str, str]:
    return {"provider": "pix", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


def _letter(story: Story) -> str:
    return f"/v1/dead-letters/{story.dead_letter}"


def _preferences(story: Story) -> str:
    return f"/v1/users/{story.user}/notification-preferences"


def _endpoint(story: Story) -> str:
    return f"/v1/webhook-endpoints/{story.webhook_endpoint}"


def _platform_letter(story: Story) -> str:
    return f"/v1/platform/dead-letters/{story.platform_dead_letter}"


def _event(event: Event, *, tenant: str | None = TENANT, **extensions: str) -> Envelope:
    owner = {} if tenant is None else {"tenantid": tenant, "partitionkey": f"{tenant}/{event.subject}"}
    return Envelope(
        id="evt_alone",
        source="/lastro/tests/alone",
        type=event.type,
        subject=event.subject or None,
        time=_NOW,
        extensions={**owner, "correlationid": "alone", **extensions},
        event=event,
    )


def _cause(cause: CauseType, story: Story) -> tuple[str, str | None, str]:
    """The ids of a payment, refund or deposit that waits for the ledger, of its payment, and of its transfer."""
    cause_id, payment_id, purpose = {
        "payment": (story.capturing, story.capturing, "capture"),
        "refund": (story.refund, story.settled, "refund"),
        "deposit": (story.deposit, None, "deposit"),
        "return": (story.returning, None, "return"),
    }[cause]
    return cause_id, payment_id, derived_id("ltr", TENANT, cause_id, purpose)


def _posted(story: Story, cause: CauseType) -> Envelope:
    """Return the fact that the ledger has recorded the transfer of a payment, refund or deposit."""
    cause_id, payment_id, transfer_id = _cause(cause, story)
    legs = ((CLEARING, "debit", 1, -500), (story.payee, "credit", 9, 90_000))
    event = TransferPosted(
        transfer_id=transfer_id,
        cause_type=cause,
        cause_id=cause_id,
        legs=tuple(
            PostedLeg(
                leg=leg,
                account_id=account_id,
                direction="debit" if direction == "debit" else "credit",
                amount=500,
                currency="BRL",
                sequence=sequence,
                balance_after=after,
            )
            for leg, (account_id, direction, sequence, after) in enumerate(legs)
        ),
        recorded_at=_NOW,
        payment_id=payment_id,
        description=None,
    )
    return _event(event, causetype=cause)


def _transfer_refused(story: Story, cause: CauseType) -> Envelope:
    cause_id, _, transfer_id = _cause(cause, story)
    event = TransferRefused(transfer_id=transfer_id, cause_type=cause, cause_id=cause_id, failure=_FAILURE)
    return _event(event, causetype=cause)


def _funds_held(story: Story, *, refund: bool) -> Envelope:
    cause: Literal["payment", "refund"] = "refund" if refund else "payment"
    event = FundsHeld(
        account_id=story.payee if refund else story.payer,
        hold_id="hld_alone",
        amount=Money(value=100 if refund else 4_000, currency="BRL"),
        cause_type=cause,
        cause_id=story.refund if refund else story.created,
        payment_id=story.settled if refund else story.created,
        counterparty_account_id=story.payer if refund else story.payee,
    )
    return _event(event, causetype=cause)


def _funds_refused(story: Story, *, refund: bool) -> Envelope:
    event = FundsRefused(
        account_id=story.payer,
        amount=Money(value=100, currency="BRL"),
        cause_type="refund" if refund else "payment",
        cause_id=story.refund if refund else story.created,
        payment_id=story.settled if refund else story.created,
        failure=_FAILURE,
    )
    return _event(event, causetype=event.cause_type)


def _return_held(story: Story) -> Envelope:
    event = FundsHeld(
        account_id=story.payer,
        hold_id="hld_alone",
        amount=Money(value=30, currency="BRL"),
        cause_type="return",
        cause_id=story.returned,
        payment_id=story.received,
        counterparty_account_id=CLEARING,
    )
    return _event(event, causetype="return")


def _report_accepted(story: Story) -> Envelope:
    return _event(
        FraudReportAccepted(
            report_id=story.reported,
            return_id=story.returning,
            deposit_id=story.received,
            account_id=story.payer,
            amount=Money(value=40, currency="BRL"),
        )
    )


def _return_refused(story: Story) -> Envelope:
    event = FundsRefused(
        account_id=story.payer,
        amount=Money(value=30, currency="BRL"),
        cause_type="return",
        cause_id=story.returned,
        payment_id=story.received,
        failure=_FAILURE,
    )
    return _event(event, causetype="return")


def _canceled(story: Story) -> Envelope:
    return _event(
        PaymentCanceled(
            payment_id=story.authorized,
            amount=Money(value=2_000, currency="BRL"),
            payer_account_id=story.payer,
            payee_account_id=story.payee,
            reason=None,
        )
    )


def _expired(story: Story) -> Envelope:
    return _event(HoldExpired(account_id=story.payer, hold_id="hld_1", payment_id=story.authorized, expires_at=_NOW))


def _overdue(story: Story) -> Envelope:
    event = SagaOverdue(saga_id=story.created, saga_type="payment", step="created", attempt=1)
    return _event(event, causetype="payment")


def _sent(story: Story) -> Envelope:
    amount = Money(value=5_000, currency="BRL")
    return _event(PixPaymentSent(payment_id=story.over_rail, end_to_end_id=story.end_to_end_id, amount=amount))


def _returned(story: Story) -> Envelope:
    amount = Money(value=5_000, currency="BRL")
    fact = BankTransferReturned(
        payment_id=story.over_rail,
        end_to_end_id=story.end_to_end_id,
        amount=amount,
        amount_returned=amount,
        reason="AC04",
    )
    return _event(fact)


def _confirmed(story: Story) -> Envelope:
    amount = Money(value=5_000, currency="BRL")
    fact = PixPaymentConfirmed(
        payment_id=story.over_rail, end_to_end_id=story.end_to_end_id, amount=amount, amount_moved=amount
    )
    return _event(fact)


def _refund_overdue(story: Story) -> Envelope:
    event = SagaOverdue(saga_id=story.refund, saga_type="refund", step="processing", attempt=1)
    return _event(event, causetype="refund")


def _released(story: Story) -> Envelope:
    amount = Money(value=2_000, currency="BRL")
    fact = FundsReleased(
        account_id=clearing_account("card", "BRL"),
        hold_id="hld_1",
        amount=amount,
        cause_type="payment",
        cause_id=story.authorized,
        reason="canceled",
    )
    return _event(fact, causetype="payment", via="rail")


def _processing_overdue(story: Story) -> Envelope:
    event = SagaOverdue(saga_id=story.over_rail, saga_type="payment", step="processing", attempt=1)
    return _event(event, causetype="payment")


def _tick(story: Story) -> Envelope:
    del story
    return _event(Tick(schedule="alone"), tenant=None)


def _settled(story: Story) -> Envelope:
    return _event(
        PaymentSettled(
            payment_id=story.settled,
            amount=Money(value=1_000, currency="BRL"),
            payer_account_id=story.payer,
            payee_account_id=story.payee,
            amount_captured=Money(value=1_000, currency="BRL"),
            transfer_id=story.transfer,
        )
    )


def _notification_due(story: Story) -> Envelope:
    return _event(
        NotificationDue(
            notification_id="ntf_1",
            user_id=story.user,
            channel="email",
            event_id="evt_1",
            event_type="lastro.payment.settled.v1",
        )
    )


def _delivery_due(story: Story) -> Envelope:
    return _event(
        WebhookDeliveryDue(
            delivery_id=story.webhook_delivery,
            endpoint_id=story.webhook_endpoint,
            event_id="evt_1",
            event_type="lastro.payment.created.v1",
        )
    )


def _given_up(story: Story) -> Envelope:
    url = "http://payments-settle.lastro.svc.cluster.local"
    return _posted(story, "payment").with_extensions({"knativeerrordest": url, "knativeerrorcode": "422"})


EVENTS: dict[str, Callable[[Story], Envelope]] = {
    "accounts/apply_transfer": lambda s: _posted(s, "deposit"),
    "accounts/finish_closing": _tick,
    "accounts/hold_funds": lambda s: s.events["lastro.payment.created.v1"],
    "accounts/hold_returned_funds": lambda s: s.events["lastro.pix.return_created.v1"],
    "accounts/release_funds": _canceled,
    "ledger/post_transfer": lambda s: s.events["lastro.payment.capture_requested.v1"],
    "notifications/end_quiet_hours": _tick,
    "notifications/forget_preferences": lambda s: _event(UserClosed(user_id=s.user)),
    "notifications/remove_notifications": _tick,
    "notifications/rewrap_preferences": _tick,
    "notifications/notify": _settled,
    "notifications/send_notification": _notification_due,
    "operations/audit_day": _tick,
    "operations/expire_holds": _tick,
    "operations/measure_dead_letters": _tick,
    "operations/remove_dead_letters": _tick,
    "operations/park_dead_letter": _given_up,
    "operations/seal_days": _tick,
    "operations/sweep_outbox": _tick,
    "operations/sweep_sagas": _tick,
    "payments/authorize": lambda s: _funds_held(s, refund=False),
    "payments/confirm": _confirmed,
    "payments/decline": lambda s: _funds_refused(s, refund=False),
    "payments/expire": _expired,
    "payments/fail": lambda s: _transfer_refused(s, "payment"),
    "payments/fail_refund": lambda s: _funds_refused(s, refund=True),
    "payments/request_capture": _overdue,
    "payments/request_refund_posting": lambda s: _funds_held(s, refund=True),
    "payments/return_payment": _returned,
    "payments/settle": lambda s: _posted(s, "payment"),
    "payments/settle_refund": lambda s: _posted(s, "refund"),
    "payments/submit": _sent,
    "providers/apply_settlement_file": lambda s: s.events["lastro.bank.settlement_file_imported.v1"],
    "providers/expire_pix_charges": _tick,
    "providers/authorize_card": lambda s: s.events["lastro.payment.created.v1"],
    "providers/fail_deposit": lambda s: _transfer_refused(s, "deposit"),
    "providers/answer_fraud_report": _report_accepted,
    "providers/fail_return": _return_refused,
    "providers/forget_debtor": lambda s: _event(UserErasureRequested(user_id=s.user, charge_ids=("0" * 32,))),
    "providers/poll_payments": _tick,
    "providers/request_charge": lambda s: s.events["lastro.deposit.created.v1"],
    "providers/refund_card": _refund_overdue,
    "providers/request_return": _return_held,
    "providers/settle_return": lambda s: _posted(s, "return"),
    "providers/settle_deposit": lambda s: _posted(s, "deposit"),
    "providers/submit_payment": _processing_overdue,
    "providers/void_card": _released,
    "statements/project_transfer": lambda s: _posted(s, "deposit"),
    "tenants/register_client": _overdue,
    "users/finish_user_closing": _tick,
    "providers/rewrap_payers": _tick,
    "users/rewrap_users": _tick,
    "webhooks/remove_deliveries": _tick,
    "webhooks/dispatch": lambda s: s.events["lastro.payment.created.v1"],
    "webhooks/send": _delivery_due,
    "webhooks/send_due": _tick,
}
