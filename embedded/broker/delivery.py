"""The result of a delivery: success, retry with back-off, or dead letter, as in Knative's Kafka data plane.

Source: eventing-kafka-broker, WebClientCloudEventSender (retryable codes, delays) and RecordDispatcherImpl (the
attributes of a dead letter).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from embedded.manifests.eventing import BackoffPolicy, DeliverySpec, delay_before
from embedded.manifests.serving import MAX_TIMEOUT_SECONDS
from shared.core.envelope import Envelope
from shared.messaging.attributes import MAX_CHARACTERS, InvalidEvent, check_attribute
from shared.messaging.http_binding import from_http

_ERROR_DATA_BYTES: Final = 1024
_ERROR_PREFIX: Final = "kne-"
_RETRYABLE: Final = frozenset({404, 408, 409, 429})


class Answer(Protocol):
    """A subscriber's response to a delivery."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields; names are in lower case."""
        ...

    @property
    def body(self) -> bytes:
        """The body, which may hold an event in reply."""
        ...


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """A response that was not received from a server."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


ACCEPTED: Final = PlainAnswer(204)


class Outcome(Enum):
    """The meaning of a response for its delivery."""

    DONE = "done"
    REPLY = "reply"
    RETRY = "retry"
    DEAD = "dead"
    BAD_REPLY = "bad reply"
    """A success with a body that is not an event. It is not retried, and the dead letter names only the destination."""


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """When a delivery is retried, and how often. Times are in seconds."""

    retry: int = 0
    backoff: BackoffPolicy = "exponential"
    delay: float = 0.0
    timeout: float = float(MAX_TIMEOUT_SECONDS)

    def delay_before(self, retry: int) -> float:
        """Return the seconds before the `retry`-th retry, counted from 1."""
        return delay_before(retry, self.backoff, self.delay)


PING_SOURCE_POLICY: Final = DeliveryPolicy(retry=5, backoff="exponential", delay=0.05)
"""The policy of the ping adapter. It has no dead letter sink: a tick that cannot be delivered in time is dropped."""


def policy_of(spec: DeliverySpec) -> DeliveryPolicy:
    """Return the policy of a `delivery`, with the Kafka broker's defaults for absent fields."""
    return DeliveryPolicy(
        retry=spec.retry or 0,
        backoff=spec.backoff,
        delay=spec.backoff_seconds,
        timeout=spec.timeout_seconds,
    )


def outcome_of(answer: Answer | None, *, replies: bool) -> Outcome:
    """Return the meaning of a response. None is a network error or a timeout.

    `replies` is true for a Trigger: a body is then read as an event for the Trigger's Broker. A source ignores bodies.
    """
    if answer is None:
        return Outcome.RETRY
    status = answer.status
    if 200 <= status < 300:
        if not replies or not answer.body:
            return Outcome.DONE
        return Outcome.REPLY if _is_event(answer) else Outcome.BAD_REPLY
    if status >= 500 or status in _RETRYABLE:
        return Outcome.RETRY
    return Outcome.DEAD


def reply_of(answer: Answer) -> Envelope:
    """Return the event in a response. Raises InvalidEvent."""
    return from_http(answer.headers.items(), answer.body)


def _is_event(answer: Answer) -> bool:
    try:
        reply_of(answer)
    except InvalidEvent:
        return False
    return True


def dead_letter(envelope: Envelope, destination: str, outcome: Outcome, answer: Answer | None) -> Envelope:
    """Return the event for its dead letter sink, with the destination, the status and the `Kne-` headers of the
    response."""
    extensions = {"knativeerrordest": destination}
    if answer is not None and outcome is not Outcome.BAD_REPLY:
        extensions["knativeerrorcode"] = str(answer.status)
        extensions |= _error_extensions(answer.headers)
        if answer.body:
            extensions["knativeerrordata"] = base64.b64encode(answer.body[:_ERROR_DATA_BYTES]).decode()
    return envelope.with_extensions(extensions)


def _error_extensions(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the `Kne-` headers as extensions, without those that would make the event invalid or replace its
    attributes."""
    found: dict[str, str] = {}
    for header, value in headers.items():
        if header[: len(_ERROR_PREFIX)].lower() != _ERROR_PREFIX:
            continue
        name = header[len(_ERROR_PREFIX) :].lower()
        try:
            check_attribute(name, value)
        except InvalidEvent:
            continue
        if name not in MAX_CHARACTERS:
            found[name] = value
    return found
