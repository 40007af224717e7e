"""Payments over the three rails, compared with a reference model and with the providers' own books, in an order that
Hypothesis chooses: in one process, and in two processes whose stores and network fail.

LASTRO_INVARIANT_EXAMPLES sets the number of stories. A failing story is printed as a program.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.invariants.rails_machine import OverRails

EXAMPLES = int(os.environ.get("LASTRO_INVARIANT_EXAMPLES", "20"))
STEPS = int(os.environ.get("LASTRO_INVARIANT_STEPS", "30"))


class OverRailsOnHostileStores(OverRails):
    """The same stories in two processes, whose stores and whose network to the providers fail."""

    is_hostile = True


def run(machine: type[OverRails]) -> None:
    """Run stories of a machine."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.timeout(3000)  # a failing story is shortened before it is shown
def test_payments_over_rails_agree_with_the_reference_and_the_providers() -> None:
    """In every story each payment is what its commands and its provider's books say, each clearing account has what
    its provider has moved, and nothing stays held."""
    run(OverRails)


@pytest.mark.timeout(3000)
def test_two_processes_agree_with_the_providers_on_hostile_stores() -> None:
    """The same holds for two processes on stores that refuse, lose and delay writes, and whose requests to the
    providers are lost, late, or done without an answer."""
    run(OverRailsOnHostileStores)
