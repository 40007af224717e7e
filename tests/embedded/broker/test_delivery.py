"""The delivery policy and the meaning of responses, as in the data plane of Knative's Kafka broker."""

from __future__ import annotations

import base64

import pytest

from embedded.broker.delivery import (
    DeliveryPolicy,
    Outcome,
    PlainAnswer,
    dead_letter,
    outcome_of,
    policy_of,
)
from embedded.manifests.eventing import DeliverySpec
from tests.embedded.broker.small_platform import event


def test_backoff_grows_as_knative_has_it() -> None:
    """The pause before the n-th retry is delay·n (linear) or delay·2^n (exponential)."""
    linear = DeliveryPolicy(retry=3, backoff="linear", delay=0.5)
    assert [linear.delay_before(n) for n in (1, 2, 3)] == [0.5, 1.0, 1.5]
    exponential = DeliveryPolicy(retry=3, backoff="exponential", delay=0.5)
    assert [exponential.delay_before(n) for n in (1, 2, 3)] == [1.0, 2.0, 4.0]


def test_a_policy_has_the_brokers_defaults() -> None:
    """The default policy has no retries, exponential back-off from one second, and Knative's timeout of ten minutes."""
    assert policy_of(DeliverySpec()) == DeliveryPolicy(retry=0, backoff="exponential", delay=1.0, timeout=600.0)
    spec = DeliverySpec(retry=5, backoff_policy="linear", backoff_delay="PT2S", timeout="PT9S")
    assert policy_of(spec) == DeliveryPolicy(retry=5, backoff="linear", delay=2.0, timeout=9.0)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, Outcome.DONE) for status in (200, 202, 204)),
        *((status, Outcome.RETRY) for status in (404, 408, 409, 429, 500, 502, 503, 599)),
        *((status, Outcome.DEAD) for status in (301, 400, 401, 403, 405, 410, 413, 418, 422)),
    ],
)
def test_statuses(status: int, outcome: Outcome) -> None:
    """The status of an empty response decides, for a Trigger and for a source."""
    assert outcome_of(PlainAnswer(status), replies=True) is outcome
    assert outcome_of(PlainAnswer(status), replies=False) is outcome


def test_bodies_of_successes() -> None:
    """For a Trigger, an event in a successful response is a reply and any other body is a failure; a source ignores
    bodies."""
    headers, body = event(1).to_binary()
    reply, chat = PlainAnswer(200, headers, body), PlainAnswer(200, {}, b"OK")
    assert outcome_of(reply, replies=True) is Outcome.REPLY
    assert outcome_of(chat, replies=True) is Outcome.BAD_REPLY
    assert outcome_of(reply, replies=False) is Outcome.DONE
    assert outcome_of(chat, replies=False) is Outcome.DONE
    assert outcome_of(None, replies=True) is Outcome.RETRY


def test_a_dead_letter_has_the_destination_the_cause_and_the_kne_headers() -> None:
    """A dead letter has the destination, the code, the first 1,024 bytes of the body in base64, and the `Kne-`
    headers without their prefix."""
    answer = PlainAnswer(422, {"Kne-Code": "validation_failed", "kne-tenant": "acme", "X-Other": "no"}, b"x" * 3000)
    letter = dead_letter(event(1), "http://pack", Outcome.DEAD, answer)
    assert letter.extensions["knativeerrordest"] == "http://pack"
    assert letter.extensions["knativeerrorcode"] == "422"
    assert base64.b64decode(letter.extensions["knativeerrordata"]) == b"x" * 1024
    assert (letter.extensions["code"], letter.extensions["tenant"]) == ("validation_failed", "acme")
    assert "x-other" not in letter.extensions
    assert (letter.id, letter.data) == (event(1).id, event(1).data)


@pytest.mark.parametrize(
    ("header", "value"), [("Kne-Id", "forged"), ("Kne-Type", "x"), ("Kne-With-Dash", "x"), ("Kne-Note", "a\x85b")]
)
def test_a_kne_header_does_not_spoil_the_event(header: str, value: str) -> None:
    """A Kne- header with the name of an attribute of the event, or with an invalid name, is ignored."""
    letter = dead_letter(event(1), "http://pack", Outcome.DEAD, PlainAnswer(422, {header: value}))
    assert letter.extensions.keys() - event(1).extensions.keys() == {"knativeerrordest", "knativeerrorcode"}


def test_a_dead_letter_without_an_answer_has_only_the_destination() -> None:
    """After a network error, and after a success with a body that is not an event, the dead letter has only the
    destination."""
    for outcome, answer in ((Outcome.RETRY, None), (Outcome.BAD_REPLY, PlainAnswer(200, {"Kne-Code": "x"}, b"OK"))):
        added = dead_letter(event(1), "http://pack", outcome, answer).extensions.keys() - event(1).extensions.keys()
        assert added == {"knativeerrordest"}
