"""The behaviour of every adapter of payments over a rail, at a simulated provider."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import pytest

from shared.core.problems import Problem
from shared.ports.rail import OutcomeUnknown, RailRefused
from shared.ports.rail_payments import PaymentRail, RailOrder, RailReport

AT = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
CALLBACK_URL = "http://platform.test/callbacks"


class Provider(Protocol):
    """An adapter and its simulated provider."""

    rail: PaymentRail
    receiver: dict[str, str]
    other_receiver: dict[str, str]

    async def fault(self, fault: str) -> None:
        """Order a fault of the next payment, or `500` or `cut` of the next request."""
        ...

    async def settle(self) -> None:
        """Let the provider make and report its payments."""
        ...

    def reports(self, *, forged: bool = False) -> Sequence[RailReport]:
        """Return what the adapter reads in the callbacks so far; with `forged`, signed with another secret."""
        ...


def order(provider: Provider, *, amount: int = 1050, payment: str = "pay_1", receiver: str = "receiver") -> RailOrder:
    """Return an order of a payment."""
    reference = provider.rail.reference("acme", payment, AT)
    return RailOrder(reference, amount, getattr(provider, receiver), "Rent of May", CALLBACK_URL)


class RailPaymentsSuite:
    """Inherited by the tests of each adapter, which have the fixture `provider`."""

    def test_a_reference_belongs_to_one_payment(self, provider: Provider) -> None:
        """The same payment has the same reference, and other payments and tenants have others."""
        made = [
            provider.rail.reference(tenant, payment, AT)
            for tenant, payment in (("acme", "pay_1"), ("acme", "pay_1"), ("acme", "pay_2"), ("other", "pay_1"))
        ]
        assert (made[0] == made[1], len(set(made))) == (True, 3)

    async def test_an_order_is_made_and_reported(self, provider: Provider) -> None:
        """An order is taken, made and reported once, with the amount that was moved; its state says the same."""
        wanted = order(provider)
        first = await provider.rail.send(wanted)
        assert (first.reference, first.amount) == (wanted.reference, 1050)
        assert first.status in ("processing", "settled")
        await provider.settle()
        known = await provider.rail.state(wanted.reference)
        assert known is not None
        assert (known.status, known.amount) == ("settled", 1050)
        assert [(one.reference, one.status, one.amount) for one in provider.reports()] == [
            (wanted.reference, "settled", 1050)
        ]

    async def test_a_repeated_order_is_made_once(self, provider: Provider) -> None:
        """The same order again returns the payment as it is, and is not made or reported again."""
        wanted = order(provider)
        for _ in range(3):
            assert (await provider.rail.send(wanted)).reference == wanted.reference
            await provider.settle()
        assert (await provider.rail.send(wanted)).status == "settled"
        assert len(provider.reports()) == 1

    async def test_an_unknown_payment_has_no_state(self, provider: Provider) -> None:
        """A payment that was not ordered is unknown, which is no error."""
        assert await provider.rail.state(order(provider).reference) is None

    async def test_a_refused_payment_is_reported_with_the_reason(self, provider: Provider) -> None:
        """A payment that the provider refuses later is reported with its code and its text."""
        await provider.fault("refused")
        wanted = order(provider)
        await provider.rail.send(wanted)
        await provider.settle()
        (report,) = provider.reports()
        assert report.status == "refused"
        assert report.code
        assert report.detail

    async def test_another_amount_is_reported_as_it_is(self, provider: Provider) -> None:
        """The amount of a report is the one that was moved, not the one that was ordered."""
        await provider.fault("wrong_amount")
        await provider.rail.send(order(provider))
        await provider.settle()
        assert provider.reports()[0].amount == 1051

    async def test_a_payment_that_is_never_reported_is_known(self, provider: Provider) -> None:
        """A payment without a report is found by its reference."""
        await provider.fault("never")
        wanted = order(provider)
        await provider.rail.send(wanted)
        await provider.settle()
        known = await provider.rail.state(wanted.reference)
        assert (known is not None and known.status, provider.reports()) == ("settled", [])

    async def test_a_lost_answer_is_looked_up(self, provider: Provider) -> None:
        """When the answer to an order is lost, the payment is looked up by its reference and is not ordered again."""
        first = order(provider, payment="pay_0")
        await provider.rail.send(first)
        await provider.fault("cut")
        wanted = order(provider)
        assert (await provider.rail.send(wanted)).reference == wanted.reference
        await provider.settle()
        assert len(provider.reports()) == 2

    async def test_an_error_of_the_provider_is_no_refusal(self, provider: Provider) -> None:
        """When the provider answers with an error of its own, the outcome is unknown, and the order can be repeated."""
        await provider.rail.send(order(provider, payment="pay_0"))
        await provider.fault("500")
        with pytest.raises(OutcomeUnknown):
            await provider.rail.send(order(provider))
        assert (await provider.rail.send(order(provider))).status in ("processing", "settled")

    async def test_another_order_of_a_reference_is_not_made(self, provider: Provider) -> None:
        """An order with another amount or receiver under a known reference is not made: the known payment is
        returned."""
        await provider.rail.send(order(provider))
        await provider.settle()
        for changed in (order(provider, amount=99), order(provider, receiver="other_receiver")):
            assert (await provider.rail.send(changed)).amount == 1050
        await provider.settle()
        assert len(provider.reports()) == 1

    async def test_a_forged_report_is_refused(self, provider: Provider) -> None:
        """A callback that another secret has signed is refused."""
        await provider.rail.send(order(provider))
        await provider.settle()
        with pytest.raises(Problem) as caught:
            provider.reports(forged=True)
        assert caught.value.code == "invalid_signature"

    async def test_a_receiver_that_the_provider_does_not_know_is_refused(self, provider: Provider) -> None:
        """An order that the provider refuses at once is a refusal with the provider's code."""
        wanted = order(provider)._replace(receiver=dict.fromkeys(provider.receiver, "?"))
        with pytest.raises(RailRefused):
            await provider.rail.send(wanted)
