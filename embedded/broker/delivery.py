"""How a delivery goes on after an answer: retry, back-off, dead letter. The Kafka broker's data plane, line for line.

Source: eventing-kafka-broker, WebClientCloudEventSender (retryable codes, delays) and RecordDispatcherImpl (what the
dead letter carries).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Final, Literal, Protocol

from embedded.manifests.models import DeliverySpec, Destination
from shared.core.envelope import Envelope
from shared.messaging.attributes import MAX_CHARACTERS, InvalidEvent, check_attribute
from shared.messaging.http_binding import from_http

DEFAULT_TIMEOUT_SECONDS: Final = 600.0
_ERROR_DATA_BYTES: Final = 1024
_ERROR_PREFIX: Final = "kne-"
_RETRYABLE: Final = frozenset({404, 408, 409, 429})
_MAX_EXPONENT: Final = 40


class Answer(Protocol):
    """What a subscriber answered."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """An answer that was not brought by a server."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


ACCEPTED: Final = PlainAnswer(204)


class Outcome(Enum):
    """What an answer means for a delivery."""

    DONE = "done"
    REPLY = "reply"
    RETRY = "retry"
    DEAD = "dead"
    BAD_REPLY = "bad reply"
    """A success whose body is no event: not retried, and the dead letter says only where it happened."""


class DeliveryError(ValueError):
    """A delivery specification that cannot be understood; the text names the field."""


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How often and when a delivery is tried again, and where it goes when it is given up. Times in seconds."""

    retry: int = 0
    backoff: Literal["linear", "exponential"] = "exponential"
    delay: float = 0.0
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    dead_letter_sink: Destination | None = None

    def delay_before(self, retry: int) -> float:
        """Seconds before the `retry`-th retry (from 1): `delay * n` or `delay * 2^n`."""
        if self.backoff == "linear":
            return self.delay * retry
        return self.delay * float(2 ** min(retry, _MAX_EXPONENT))


KAFKA_SOURCE_DEFAULT: Final = DeliveryPolicy(retry=10, backoff="exponential", delay=0.3)
"""What a KafkaSource without `delivery` does."""
PING_SOURCE_POLICY: Final = DeliveryPolicy(retry=5, backoff="exponential", delay=0.05)
"""What the ping adapter does; it has no dead letter sink, and what it cannot deliver in time is dropped."""
BROKER_BACKOFF_SECONDS: Final = 1.0
"""The broker's back-off delay where none is written."""


def policy_of(*specs: DeliverySpec | None) -> DeliveryPolicy:
    """The policy of the first specification that is there; nothing is merged (a Trigger's replaces its Broker's).

    Raises DeliveryError.
    """
    for spec in specs:
        if spec is not None:
            return _policy(spec)
    return DeliveryPolicy()


def _policy(spec: DeliverySpec) -> DeliveryPolicy:
    if spec.format is not None and spec.format != "binary":
        raise DeliveryError(f"delivery.format: {spec.format!r} is not played here; events are binary")
    delay = _seconds(spec.backoff_delay, "backoffDelay")
    timeout = _seconds(spec.timeout, "timeout")
    return DeliveryPolicy(
        retry=spec.retry or 0,
        backoff=spec.backoff_policy or "exponential",
        delay=BROKER_BACKOFF_SECONDS if delay is None else delay,
        timeout=timeout or DEFAULT_TIMEOUT_SECONDS,
        dead_letter_sink=spec.dead_letter_sink,
    )


def _seconds(text: str | None, field: str) -> float | None:
    """Seconds of an ISO 8601 duration. Months and years have no fixed length and are refused."""
    if text is None:
        return None
    import isodate

    try:
        duration = isodate.parse_duration(text)
    except ValueError:
        raise DeliveryError(f"delivery.{field}: {text!r} is no ISO 8601 duration") from None
    # The library takes "PT" for no time at all; the standard wants at least one element.
    if not isinstance(duration, timedelta) or duration < timedelta(0) or text.endswith(("P", "T")):
        raise DeliveryError(f"delivery.{field}: {text!r} is no duration of fixed length")
    return duration.total_seconds()


def outcome_of(answer: Answer | None, *, replies: bool) -> Outcome:
    """What an answer (None: there was none, by a network error or a timeout) means.

    `replies` is a Trigger's way: a body is an event for the Broker. A source ignores bodies.
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
    """The event in an answer. Raises InvalidEvent."""
    return from_http(answer.headers.items(), answer.body)


def _is_event(answer: Answer) -> bool:
    try:
        reply_of(answer)
    except InvalidEvent:
        return False
    return True


def dead_letter(envelope: Envelope, destination: str, outcome: Outcome, answer: Answer | None) -> Envelope:
    """The event as its dead letter sink gets it: where it failed, with what status, and the answer's `Kne-` headers."""
    extensions = {"knativeerrordest": destination}
    if answer is not None and outcome is not Outcome.BAD_REPLY:
        extensions["knativeerrorcode"] = str(answer.status)
        extensions |= _error_extensions(answer.headers)
        if answer.body:
            extensions["knativeerrordata"] = base64.b64encode(answer.body[:_ERROR_DATA_BYTES]).decode()
    return envelope.with_extensions(extensions)


def _error_extensions(headers: Mapping[str, str]) -> dict[str, str]:
    """The `Kne-` headers as extensions. What would make the event invalid, or replace what it is, is left out."""
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
