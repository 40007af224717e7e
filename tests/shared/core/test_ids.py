"""Ids: ordered by time, and the same for the same cause."""

from __future__ import annotations

import re
from datetime import timedelta
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.core.clock import ManualClock
from shared.core.ids import IdSource, derived_id


def test_new_ids_increase() -> None:
    """New ids sort by the time of their creation."""
    clock = ManualClock()
    source = IdSource(clock, Random(1))
    made = [source.new("pay") for _ in range(5000)]
    clock.advance(timedelta(seconds=10))
    made.append(source.new("pay"))
    assert made == sorted(set(made))


def test_new_ids_increase_when_the_wall_clock_jumps() -> None:
    """A new id is greater than all earlier ones, also after the wall clock was set back or forwards and back."""
    clock = ManualClock()
    source = IdSource(clock, Random(1))
    made = []
    for step in (0, -3600, 7200, -3600, -86400):
        clock.jump(timedelta(seconds=step))
        made += [source.new("pay") for _ in range(5000)]
    assert made == sorted(set(made))


def test_a_new_id_is_a_uuid_of_version_7() -> None:
    """The digits of a new id are a UUID of version 7."""
    uuid = UUID(IdSource(ManualClock(), Random(1)).new("pay").removeprefix("pay_"))
    assert uuid.version == 7
    assert uuid.variant == "specified in RFC 4122"


@given(st.text(), st.text(), st.text())
def test_derived_ids_depend_on_tenant_cause_and_purpose_alone(tenant: str, cause: str, purpose: str) -> None:
    """A second run derives the same id; another tenant, cause or purpose gives a different one."""
    first = derived_id("ltr", tenant, cause, purpose)
    assert first == derived_id("ltr", tenant, cause, purpose)
    assert re.fullmatch("ltr_[0-9a-f]{32}", first)
    assert first != derived_id("ltr", tenant + "x", cause, purpose)
    assert first != derived_id("ltr", tenant, cause + "x", purpose)
    assert first != derived_id("ltr", tenant, cause, purpose + "x")


def test_a_derived_id_carries_the_time_of_its_cause() -> None:
    """A derived id begins with the time of its cause."""
    cause = IdSource(ManualClock(), Random(1)).new("pay")
    derived = derived_id("evt", "acme", cause, "settle")
    assert derived[4:16] == cause[4:16]
    assert UUID(derived.removeprefix("evt_")).version == 8
